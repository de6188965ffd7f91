//! What redaction costs a segment: to be compared with the decode of the same speech, of
//! which `pipeline` and `sidetone eval asr` tell.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use sidetone::redact::{Heard, Memory, Policy};
use sidetone::types::{LegId, Moment, SegmentId, SegmentKind};

/// Ten words, forty, and the longest segment's worth with a card's number in it.
fn texts() -> [(&'static str, String); 4] {
    let plain = "I was charged twice for the same order last week, ";
    let card = "my card number is four one one one, double one double one, one one one one, one one one one, ";
    [
        ("10_words", plain.to_owned()),
        ("40_words", plain.repeat(4)),
        ("card", card.to_owned()),
        ("60_words_and_card", plain.repeat(3) + card + &plain.repeat(2)),
    ]
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let leg = LegId::parse("bench").expect("letters are a valid id");
    let heard = Heard { leg: &leg, id: SegmentId(1), kind: SegmentKind::Final, at: Moment::default() };
    let mut group = criterion.benchmark_group("redaction");
    for (name, text) in texts() {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &text, |bench, text| {
            let mut memory = Memory::default();
            bench.iter(|| memory.find(Policy::default(), heard, black_box(text)).len());
        });
    }
    group.finish();
    criterion.final_summary();
}
