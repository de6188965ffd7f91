//! The whole of redaction, by table.

use super::*;
use crate::types::{LegId, Moment, Private, RedactionMode, SegmentId, SegmentKind, Transcript};

pub(super) fn one(text: &str) -> String {
    redacted(&mut Memory::default(), RedactionMode::Tags, "a", 1, text)
}

fn redacted(memory: &mut Memory, mode: RedactionMode, leg: &str, id: u64, text: &str) -> String {
    let mut transcript = Transcript { text: Private(text.to_owned()), ..Transcript::default() };
    let leg = LegId::parse(leg).unwrap();
    let heard = Heard { leg: &leg, id: SegmentId(id), kind: SegmentKind::Final, at: Moment::from_ms(id * 2_000) };
    memory.redact(Policy { mode, ..Policy::default() }, heard, &mut transcript);
    transcript.text.0
}

#[test]
fn each_kind_and_what_looks_like_it() {
    for (said, published) in [
        ("It's 4111 1111 1111 1111, thanks.", "It's [CARD], thanks."),
        ("four one one one double one one one one one one one one one one one", "[CARD]"),
        ("The CVV is 123.", "The CVV is [CVV]."),
        ("john dot smith at example dot com", "[EMAIL]"),
        ("mail j.smith@example.co.uk now", "mail [EMAIL] now"),
        ("call me on 07700 900123", "call me on [PHONE]"),
        ("one moment please", "one moment please"),
        ("it costs $1,299.00", "it costs $1,299.00"),
    ] {
        assert_eq!(one(said), published, "{said}");
    }
}
