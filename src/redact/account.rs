//! Bank accounts by number: six to seventeen digits where one was announced.

use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Account;

impl Detector for Account {
    fn kind(&self) -> EntityKind {
        EntityKind::Account
    }

    fn cues(&self) -> &'static [&'static str] {
        &[
            "account number",
            "account no",
            "bank account",
            "account is",
            "account's",
            "acct",
            "my account",
            "your account",
            "account",
            "routing number",
            "routing",
            "checking account",
            "savings account",
            "account ending",
        ]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        for run in &scene.runs {
            // Its sort code may come before it in one breath.
            if run.len() == 14 && run.divides_at(6) && scene.announced(EntityKind::SortCode, run.first) {
                found.push(run.span(6, 14));
                continue;
            }
            let named =
                scene.announced(EntityKind::Account, run.first) || scene.explained(EntityKind::Account, run.last);
            if named && (6..=17).contains(&run.len()) && !run.amount {
                found.push((run.first, run.last));
            }
        }
    }
}
