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
            "account number", "account no", "bank account", "account is", "account's", "acct", "my account", "your account",
            "account", "routing number", "routing", "checking account", "savings account", "account ending",
        ]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        for run in &scene.runs {
            let named =
                scene.announced(EntityKind::Account, run.first) || scene.explained(EntityKind::Account, run.last);
            if named && (6..=17).contains(&run.len()) && !run.amount {
                found.push((run.first, run.last));
            }
        }
    }
}
