//! What redaction costs an utterance: to be compared with the decode of the same speech, of
//! which `pipeline` and `sidetone eval asr` tell.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use sidetone::redact::{Heard, Memory, Policy};
use sidetone::types::{LegId, Moment, Private, SegmentId, SegmentKind, Transcript, Word};

/// Ten words that name nothing private.
const PLAIN: &str = "I was charged twice for the same order last week, ";
/// Twenty words with a card's number in them.
const CARD: &str = "my card number is four one one one, double one double one, one one one one, one one one one, ";

/// Utterances, and what 60 s of speech have: a hundred and fifty words. Were they cut into
/// segments, each would cost less.
fn texts() -> [(&'static str, String); 5] {
    [
        ("20_words", PLAIN.repeat(2)),
        ("20_words_card", CARD.to_owned()),
        ("60_s", PLAIN.repeat(15)),
        ("60_s_card", PLAIN.repeat(7) + CARD + &PLAIN.repeat(6)),
        // Nothing but digits: the worst.
        ("60_s_digits", "four one one two five ".repeat(30)),
    ]
}

/// With words and their times, which are masked, too.
fn transcript(text: &str) -> Transcript {
    let word = |(n, word): (usize, &str)| Word {
        text: Private(word.to_owned()),
        start_ms: n as u64 * 400,
        end_ms: n as u64 * 400 + 300,
        confidence: None,
    };
    let words = text.split_whitespace().enumerate().map(word).collect();
    Transcript { text: Private(text.to_owned()), words, confidence: None, language: "en" }
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
        group.throughput(Throughput::Elements(text.split_whitespace().count() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &transcript(&text), |bench, transcript| {
            bench.iter_batched_ref(
                || (Memory::default(), transcript.clone()),
                |(memory, transcript)| memory.redact(Policy::default(), heard, black_box(transcript)).len(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
