//! UK sort codes: six digits where one was announced.

use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct SortCode;

impl Detector for SortCode {
    fn kind(&self) -> EntityKind {
        EntityKind::SortCode
    }

    fn cues(&self) -> &'static [&'static str] {
        &["sort code", "sortcode", "sort codes", "branch code"]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        for run in &scene.runs {
            let named =
                scene.announced(EntityKind::SortCode, run.first) || scene.explained(EntityKind::SortCode, run.last);
            // The account's number may follow in one breath.
            if named && matches!(run.len(), 6 | 14) && run.divides_at(6) {
                found.push(run.span(0, 6));
            }
        }
    }
}
