//! US social security numbers: nine digits in their grouping or announced; the last four
//! of one where that is what was asked for.

use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Ssn;

impl Detector for Ssn {
    fn kind(&self) -> EntityKind {
        EntityKind::Ssn
    }

    fn cues(&self) -> &'static [&'static str] {
        &[
            "social security",
            "social security number",
            "ssn",
            "s s n",
            "social",
            "my social",
            "your social",
            "tax id",
            "taxpayer id",
            "itin",
        ]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        for run in &scene.runs {
            let announced = scene.announced(EntityKind::Ssn, run.first) || scene.explained(EntityKind::Ssn, run.last);
            let grouped = run.groups == [3, 2, 4] && !run.spoken && {
                let digits = run.values();
                digits[0] != 9 && digits[..3] != [0, 0, 0] && digits[..3] != [6, 6, 6]
            };
            if run.len() == 9 && (announced || grouped) || announced && matches!(run.len(), 4 | 8 | 10) && !run.amount {
                found.push((run.first, run.last));
            }
        }
    }
}
