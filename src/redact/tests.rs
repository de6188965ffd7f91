//! The whole of redaction: by table, by conversation, and by property.

use proptest::prelude::*;

use super::*;
use crate::types::{Entity, LegId, Moment, Private, RedactionMode, SegmentId, SegmentKind, Transcript, Word};

fn policy(mode: RedactionMode) -> Policy {
    Policy { mode, ..Policy::default() }
}

fn hear(memory: &mut Memory, mode: RedactionMode, leg: &str, id: u64, at_s: u64, text: &str) -> String {
    let leg = LegId::parse(leg).unwrap();
    let heard = Heard { leg: &leg, id: SegmentId(id), kind: SegmentKind::Final, at: Moment::from_ms(at_s * 1_000) };
    let mut transcript = Transcript { text: Private(text.to_owned()), ..Transcript::default() };
    memory.redact(policy(mode), heard, &mut transcript);
    transcript.text.0
}

fn one(text: &str) -> String {
    hear(&mut Memory::default(), RedactionMode::Tags, "caller", 1, 0, text)
}

fn partial(text: &str) -> String {
    let leg = LegId::parse("caller").unwrap();
    let heard = Heard { leg: &leg, id: SegmentId(1), kind: SegmentKind::Partial, at: Moment::default() };
    tagged(text, &Memory::default().find(Policy::default(), heard, text))
}

#[test]
fn each_kind_and_what_looks_like_it() {
    for (said, published) in [
        ("It's 4111 1111 1111 1111, thanks.", "It's [CARD], thanks."),
        ("four one one one double one one one one one one one one one one one", "[CARD]"),
        ("The CVV is 123.", "The CVV is [CVV]."),
        ("expiry 12/27, CVV 123", "expiry [EXPIRY], CVV [CVV]"),
        ("john dot smith at example dot com", "[EMAIL]"),
        ("mail j.smith@example.co.uk now", "mail [EMAIL] now"),
        ("call me on 07700 900123", "call me on [PHONE]"),
        ("Sort code 12 34 56, 12345678", "Sort code [SORT_CODE], [ACCOUNT]"),
        ("It's GB29 NWBK 6016 1331 9268 19", "It's [IBAN]"),
        ("one moment please", "one moment please"),
        ("it costs $1,299.00", "it costs $1,299.00"),
        ("is 20 30 40 and so on", "is 20 30 40 and so on"),
    ] {
        assert_eq!(one(said), published, "{said}");
    }
}

#[test]
fn an_answer_is_known_by_what_was_asked_for() {
    let mut memory = Memory::default();
    let mut say = |leg: &str, id, at_s, text: &str| hear(&mut memory, RedactionMode::Tags, leg, id, at_s, text);
    assert_eq!(say("caller", 1, 0, "4111"), "4111", "nobody asked yet");
    assert_eq!(say("agent", 1, 2, "Your card number please."), "Your card number please.");
    assert_eq!(say("caller", 2, 4, "four one one one"), "[CARD]");
    assert_eq!(say("caller", 3, 6, "1111 1111"), "[CARD]");
    assert_eq!(say("caller", 4, 8, "1111"), "[CARD]");
    assert_eq!(say("agent", 2, 10, "And the security code?"), "And the security code?");
    assert_eq!(say("caller", 5, 12, "one"), "[DIGITS]", "a code in pieces");
    assert_eq!(say("caller", 6, 13, "two three"), "[DIGITS]");
    assert_eq!(say("agent", 3, 14, "Sorry, the security code again?"), "Sorry, the security code again?");
    assert_eq!(say("caller", 7, 16, "It's 123."), "It's [CVV].");
    assert_eq!(say("caller", 8, 60, "It was 2019"), "It was 2019", "long after");
}

#[test]
fn digits_that_go_on_are_known_by_the_whole_without_a_question() {
    let say = |mode, pieces: &[(u64, &str)]| -> Vec<String> {
        let mut memory = Memory::default();
        pieces.iter().map(|(id, text)| hear(&mut memory, mode, "caller", *id, *id, text)).collect()
    };
    let tags = |pieces: &[(u64, &str)]| say(RedactionMode::Tags, pieces);
    assert_eq!(tags(&[(1, "so 4111 1111"), (2, "1111 1111")]), ["so 4111 1111", "[CARD]"], "eight digits are no card");
    assert_eq!(tags(&[(1, "4111"), (2, "1111"), (3, "1111"), (4, "1111")]), ["4111", "1111", "[DIGITS]", "[CARD]"]);
    assert_eq!(tags(&[(1, "4111 1111"), (2, "uh"), (3, "1111 1111")]), ["4111 1111", "uh", "[CARD]"]);
    assert_eq!(tags(&[(1, "4111 1111 1111"), (2, "1111")]), ["[DIGITS]", "[CARD]"]);
    let broken = tags(&[(1, "4111 1111 hang on 1111"), (2, "1111")]);
    assert_eq!(broken, ["[DIGITS] hang on [DIGITS]", "[CARD]"]);
    assert_eq!(tags(&[(1, "no"), (4, "1111 1111, okay?")]), ["no", "[DIGITS], okay?"], "what came before is not known");
    let strict = |pieces: &[(u64, &str)]| say(RedactionMode::Strict, pieces);
    let said = strict(&[(1, "My visa? 4111"), (2, "1111, and then"), (9, "no, 4512")]);
    assert_eq!(said, ["My visa? [DIGITS]", "[CARD], and then", "no, [DIGITS]"]);
}

#[test]
fn a_card_is_known_though_a_digit_was_misheard_or_words_stand_in_it() {
    for (said, published) in [
        ("4111 1111, hang on a second, 1111 1111.", "[CARD], hang on a second, [CARD]."),
        ("It's 4111 1111 1111 1112.", "It's [DIGITS]."),
        ("order number 4111 1111 1111 1112.", "order number 4111 1111 1111 1112."),
        ("we sold 4111 in 2019", "we sold 4111 in 2019"),
    ] {
        assert_eq!(one(said), published, "{said}");
    }
}

#[test]
fn a_partial_shows_nothing_that_may_become_an_entity() {
    assert_eq!(partial("it's four one one"), "it's [DIGITS]");
    assert_eq!(partial("my email is john dot"), "my email is [EMAIL]");
    assert_eq!(partial("it's four"), "it's four");
    assert_eq!(partial("it's 4111 1111, uh"), "it's [DIGITS], uh");
    assert_eq!(partial("it's 4111 1111 and then"), "it's [DIGITS] and then");
    assert_eq!(partial("and the cvv is one two"), "and the cvv is [DIGITS]");
}

#[test]
fn a_partial_shows_no_digit_of_what_was_asked_for_or_goes_on() {
    let mut memory = Memory::default();
    let mut say = |kind, leg: &str, id, text: &str| {
        let leg = LegId::parse(leg).unwrap();
        let heard = Heard { leg: &leg, id: SegmentId(id), kind, at: Moment::from_ms(id * 1_000) };
        tagged(text, &memory.find(Policy::default(), heard, text))
    };
    use SegmentKind::{Final, Partial};
    assert_eq!(say(Final, "caller", 1, "4111 1111"), "4111 1111");
    assert_eq!(say(Partial, "caller", 2, "one one"), "[DIGITS]", "it goes on");
    assert_eq!(say(Final, "agent", 1, "And your security code?"), "And your security code?");
    assert_eq!(say(Partial, "caller", 3, "one two"), "[DIGITS]");
    assert_eq!(say(Partial, "caller", 3, "one moment please"), "one moment please");
}

/// Whatever a card is made of, and wherever a partial is cut, no more of it is shown than
/// the issuer's own digits.
#[test]
fn no_partial_of_a_card_shows_more_than_two_digits_of_it() {
    for lead in ["", "so it's ", "my card number is "] {
        for way in ways(&[4, 1, 1, 1, 2, 0, 3, 5, 6, 7, 8, 9, 3, 1, 4, 4]) {
            let said = format!("{lead}{way}");
            for cut in (lead.len()..=said.len()).filter(|cut| *cut == said.len() || said[..*cut].ends_with([' ', ',']))
            {
                let shown = partial(&said[..cut]);
                let lower = shown.to_ascii_lowercase();
                let digits: usize = run::runs(&lex::tokens(&lower)).iter().map(run::Run::len).sum();
                assert!(digits <= 2, "{said}, cut at {cut}: {shown}");
            }
        }
    }
}

#[test]
fn words_keep_their_times_and_lose_their_text() {
    let text = "My number's 4111 1111 1111 1111, okay?";
    let word = |(n, text): (usize, &str)| Word {
        text: Private(text.to_owned()),
        start_ms: n as u64 * 100,
        end_ms: n as u64 * 100 + 90,
        confidence: None,
    };
    let leg = LegId::parse("caller").unwrap();
    let heard = Heard { leg: &leg, id: SegmentId(1), kind: SegmentKind::Final, at: Moment::default() };
    let words: Vec<_> = text.split(' ').enumerate().map(word).collect();
    let mut transcript = Transcript { text: Private(text.to_owned()), words, ..Transcript::default() };
    let entities = Memory::default().redact(Policy::default(), heard, &mut transcript);
    let expected = Entity { kind: EntityKind::Card, span_ms: Some((200, 590)), first_word: 2, words: 4 };
    assert_eq!((entities, transcript.text.0.as_str()), (vec![expected], "My number's [CARD], okay?"));
    let shown: Vec<_> = transcript.words.iter().map(|word| word.text.0.as_str()).collect();
    assert_eq!(shown, ["My", "number's", "[CARD]", "[CARD]", "[CARD]", "[CARD]", "okay?"]);
    // Words that are not the text's keep nothing.
    let words = ["four", "one"].into_iter().enumerate().map(word).collect();
    let mut transcript = Transcript { text: Private(text.to_owned()), words, ..Transcript::default() };
    let entities = Memory::default().redact(Policy::default(), heard, &mut transcript);
    assert_eq!((entities[0].span_ms, entities[0].first_word, entities[0].words), (None, 2, 4));
    assert!(transcript.words.iter().all(|word| word.text.0 == "[DIGITS]"));
}

#[test]
fn nothing_is_done_when_off_and_only_the_kinds_asked_for() {
    let text = "4111 1111 1111 1111, cvv 123";
    assert_eq!(hear(&mut Memory::default(), RedactionMode::Off, "a", 1, 0, text), text);
    let leg = LegId::parse("a").unwrap();
    let heard = Heard { leg: &leg, id: SegmentId(1), kind: SegmentKind::Final, at: Moment::default() };
    let only = Policy { kinds: [EntityKind::Cvv].into_iter().collect(), ..Policy::default() };
    let found = Memory::default().find(only, heard, text);
    assert_eq!(tagged(text, &found), "4111 1111 1111 1111, cvv [CVV]");
}

/// Words that texts for the properties are made of: cues, digits, marks and the rest.
fn texts() -> impl Strategy<Value = String> {
    let cues = DETECTORS.iter().flat_map(|detector| detector.cues().iter().copied());
    let words = "one two oh zero double triple hundred thousand twenty forty-one eleven nine 4 41 411 4111 12345678 \
                 at dot com @ . , - / : is the and my march first 1985 [CARD] [cvv] [ é ’ it's a b gb q z € 12/27 %";
    let words: Vec<&str> = cues.chain(words.split(' ')).collect();
    let piece = (prop::sample::select(words), prop::sample::select(vec![" ", "", ", ", ". "]));
    let made = prop::collection::vec(piece, 0..40)
        .prop_map(|pieces| pieces.iter().map(|(word, gap)| format!("{word}{gap}")).collect::<String>());
    prop_oneof![3 => made, 1 => any::<String>()]
}

fn find_in(mode: RedactionMode, kind: SegmentKind, text: &str) -> Vec<Found> {
    let leg = LegId::parse("a").unwrap();
    let heard = Heard { leg: &leg, id: SegmentId(1), kind, at: Moment::default() };
    Memory::default().find(policy(mode), heard, text)
}

/// Digits whose last is made right.
fn pan() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..10_u8, 12..19).prop_map(|mut digits| {
        let check = (0..10).find(|check| card::luhn(&[&digits[..], &[*check]].concat())).unwrap();
        digits.push(check);
        digits
    })
}

const NAMES: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const TEENS: [&str; 10] =
    ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

fn pair(tens: u8, unit: u8) -> String {
    match (tens, unit) {
        (0, unit) => format!("oh {}", NAMES[unit as usize]),
        (1, unit) => TEENS[unit as usize].to_owned(),
        (tens, 0) => TENS[tens as usize - 2].to_owned(),
        (tens, unit) => format!("{} {}", TENS[tens as usize - 2], NAMES[unit as usize]),
    }
}

/// The same digits in each way of saying and writing them.
fn ways(digits: &[u8]) -> Vec<String> {
    let text: String = digits.iter().map(ToString::to_string).collect();
    let grouped =
        |sep: &str| text.as_bytes().chunks(4).map(|g| String::from_utf8_lossy(g)).collect::<Vec<_>>().join(sep);
    let name = |digit: &u8| NAMES[*digit as usize];
    let spoken: Vec<_> = digits.iter().map(name).collect();
    let paired: Vec<_> = digits
        .chunks(2)
        .map(|two| if let [a, b] = two { pair(*a, *b) } else { format!("and then {}", name(&two[0])) })
        .collect();
    let repeated: Vec<_> = digits
        .chunk_by(|a, b| a == b)
        .flat_map(|same| same.chunks(3))
        .map(|same| ["", "double ", "triple "][same.len() - 1].to_owned() + name(&same[0]))
        .collect();
    let mixed: Vec<_> = digits
        .chunks(4)
        .enumerate()
        .map(|(n, four)| match n % 2 {
            0 => four.iter().map(ToString::to_string).collect::<String>(),
            _ => four.iter().map(name).collect::<Vec<_>>().join(" "),
        })
        .collect();
    let sighing = spoken.iter().map(|word| if *word == "zero" { "oh" } else { word }).collect::<Vec<_>>().join(", ");
    vec![
        text.clone(),
        grouped(" "),
        grouped("-"),
        grouped(". "),
        spoken.join(" "),
        sighing,
        paired.join(" "),
        repeated.join(" "),
        mixed.join(" "),
    ]
}

proptest! {
    #[test]
    fn tags_are_within_the_text_in_order_and_final(text in texts(), strict: bool, whole: bool) {
        let mode = if strict { RedactionMode::Strict } else { RedactionMode::Tags };
        let kind = if whole { SegmentKind::Final } else { SegmentKind::Partial };
        let found = find_in(mode, kind, &text);
        let mut end = 0;
        for Found { bytes, .. } in &found {
            prop_assert!(end <= bytes.0 && bytes.0 < bytes.1 && bytes.1 <= text.len());
            end = bytes.1;
        }
        let once = tagged(&text, &found);
        prop_assert!(once.len() <= text.len() + found.len() * "[BIRTH_DATE]".len());
        let again = tagged(&once, &find_in(mode, kind, &once));
        prop_assert_eq!(&again, &once, "{}", text);
    }

    #[test]
    fn words_are_as_many_as_before(text in texts(), other in texts(), strict: bool) {
        let mode = if strict { RedactionMode::Strict } else { RedactionMode::Tags };
        for of in [&text, &other] {
            let words: Vec<_> = of.split_whitespace().enumerate().map(|(n, word)| Word {
                text: Private(word.to_owned()),
                start_ms: n as u64,
                end_ms: n as u64 + 1,
                confidence: None,
            }).collect();
            let count = words.len();
            let leg = LegId::parse("a").unwrap();
            let heard = Heard { leg: &leg, id: SegmentId(1), kind: SegmentKind::Final, at: Moment::default() };
            let mut transcript = Transcript { text: Private(text.clone()), words, ..Transcript::default() };
            let entities = Memory::default().redact(policy(mode), heard, &mut transcript);
            prop_assert_eq!(transcript.words.len(), count);
            for (n, word) in transcript.words.iter().enumerate() {
                prop_assert_eq!((word.start_ms, word.end_ms), (n as u64, n as u64 + 1));
            }
            prop_assert!(entities.iter().all(|e| e.span_ms.is_none_or(|(from, to)| from < to && e.words > 0)));
        }
    }

    #[test]
    fn every_number_that_luhn_confirms_is_found(digits in pan(), lead in prop::sample::select(vec!["", "it's ", "Okay, "])) {
        for way in ways(&digits) {
            let said = format!("{lead}{way}");
            let found = find_in(RedactionMode::Tags, SegmentKind::Final, &said);
            prop_assert!(
                matches!(&found[..], [Found { kind: EntityKind::Card, bytes }] if bytes.0 == lead.len() && bytes.1 == said.len())
                    || tagged(&said, &found).trim_end_matches("and then ") == format!("{lead}[CARD]"),
                "{said}: {found:?}"
            );
        }
    }
}
