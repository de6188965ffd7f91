//! Published events: following them live, reading them from a file, and what must
//! hold of any set of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;
use sidetone::event::schema;
use tokio::sync::mpsc;

use super::{PATIENCE, within};

/// The text at a JSON pointer.
pub fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} in {event}"))
}

/// The number at a JSON pointer.
pub fn number(event: &Value, pointer: &str) -> u64 {
    event.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer} in {event}"))
}

pub fn kind(event: &Value) -> &str {
    text(event, "/type")
}

pub fn is(event: &Value, kind_wanted: &str, conversation: &str) -> bool {
    kind(event) == kind_wanted && text(event, "/partitionkey") == conversation
}

/// The events of one conversation.
pub fn of<'a>(events: &'a [Value], conversation: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| text(event, "/partitionkey") == conversation).collect()
}

/// One event as `/v1/events` sent it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub kind: String,
    pub data: String,
}

impl Sent {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error} in {:?}", self.data))
    }
}

/// Reads `/v1/events`; from before [`Follower::connect`] returns, nothing is missed.
pub struct Follower {
    arriving: mpsc::UnboundedReceiver<Sent>,
    pub seen: Vec<Sent>,
}

impl Follower {
    pub async fn connect(address: SocketAddr, query: &str) -> Self {
        let url = format!("http://{address}/v1/events{query}");
        let mut response = within("the live stream's answer", reqwest::get(&url)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (send, arriving) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut received = Vec::new();
            // The stream ends with the gateway, in whatever way that ends.
            while let Ok(Some(part)) = response.chunk().await {
                received.extend_from_slice(&part);
                while let Some(end) = received.windows(2).position(|two| two == b"\n\n") {
                    let block: Vec<u8> = received.drain(..end + 2).collect();
                    if let Some(sent) = parse(std::str::from_utf8(&block).unwrap())
                        && send.send(sent).is_err()
                    {
                        return;
                    }
                }
            }
        });
        Self { arriving, seen: Vec::new() }
    }

    /// The next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Sent> {
        let sent = within("the next live event, or the end of them", self.arriving.recv()).await?;
        self.seen.push(sent.clone());
        Some(sent)
    }

    /// The first event of this type in this conversation, among those seen and those to come.
    pub async fn wait(&mut self, kind_wanted: &str, conversation: &str) -> Value {
        let wanted = |sent: &Sent| sent.kind == kind_wanted && is(&sent.json(), kind_wanted, conversation);
        if let Some(sent) = self.seen.iter().find(|sent| wanted(sent)) {
            return sent.json();
        }
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(sent) = self.arriving.recv().await {
                self.seen.push(sent.clone());
                if wanted(&sent) {
                    return Some(sent.json());
                }
            }
            None
        });
        let seen = |follower: &Self| follower.seen.iter().map(|sent| sent.kind.clone()).collect::<Vec<_>>();
        match found.await {
            Ok(Some(event)) => event,
            Ok(None) => panic!("the live stream ended without {kind_wanted} of {conversation}; saw {:?}", seen(self)),
            Err(_) => panic!("waited in vain for {kind_wanted} of {conversation}; saw {:?}", seen(self)),
        }
    }

    /// Everything up to the end of the stream.
    pub async fn rest(mut self) -> Vec<Sent> {
        while self.next().await.is_some() {}
        self.seen
    }
}

/// One block of the stream; `None` for a comment, as the keep-alives are.
fn parse(block: &str) -> Option<Sent> {
    let mut sent = Sent { id: String::new(), kind: String::new(), data: String::new() };
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", value)) => sent.id = value.to_owned(),
            Some(("event", value)) => sent.kind = value.to_owned(),
            Some(("data", value)) => sent.data.push_str(value),
            _ => {}
        }
    }
    (!sent.kind.is_empty()).then_some(sent)
}

/// Reads JSON lines. Every line must be whole.
pub fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.is_empty() || text.ends_with('\n'), "the last line of {} is cut off: {text:?}", path.display());
    parse_lines(&text)
}

/// One JSON object a line and nothing else.
pub fn parse_lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| match serde_json::from_str(line) {
        Ok(value @ Value::Object(_)) => value,
        other => panic!("this line is no JSON object: {line:?} ({other:?})"),
    };
    text.lines().map(parse).collect()
}

static VALIDATORS: LazyLock<BTreeMap<&str, jsonschema::Validator>> = LazyLock::new(|| {
    let all = schema::all();
    assert!(!all.is_empty(), "the contract names no event");
    all.into_iter().map(|event| (event.kind, jsonschema::validator_for(&event.schema).unwrap())).collect()
});

/// Whether an event is of the controller's record of a call, as opposed to a media leg's.
pub fn is_call(event: &Value) -> bool {
    kind(event).starts_with("call.")
}

/// Holds one event, in structured mode, against the contract.
pub fn check_contract(event: &Value) {
    for (name, expected) in [("specversion", "1.0"), ("datacontenttype", "application/json")] {
        assert_eq!(event[name], expected, "{event}");
    }
    let validator = VALIDATORS.get(kind(event)).unwrap_or_else(|| panic!("{} is not in the contract", kind(event)));
    let wrong: Vec<_> = validator.iter_errors(&event["data"]).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(wrong.is_empty(), "an event breaks its schema: {wrong:?} in {event}");
    let (leg, seq) = (text(event, "/subject"), number(event, "/seq"));
    let sub = event.get("sub").map_or(String::new(), |sub| format!(".{sub}"));
    assert_eq!(text(event, "/id"), format!("{leg}:{seq}{sub}"), "{event}");
    let subject = if is_call(event) { "/data/call" } else { "/data/leg" };
    for (envelope, data) in [("/subject", subject), ("/partitionkey", "/data/conversation"), ("/seq", "/data/seq")] {
        assert_eq!(event.pointer(envelope), event.pointer(data), "{envelope} and {data} differ in {event}");
    }
    assert!(chrono::DateTime::parse_from_rfc3339(text(event, "/time")).is_ok(), "the time is not RFC 3339 in {event}");
}

/// Holds a complete set of events, in order of arrival, against every promise:
/// each to its schema, ids that differ, `seq` from 1 without a gap on each leg, one
/// start, one end with a ledger that balances, one terminal event a segment.
pub fn check_all(events: &[Value]) {
    let mut ids = BTreeSet::new();
    let mut legs: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in events {
        check_contract(event);
        assert!(ids.insert(text(event, "/id")), "two events have the id {}", event["id"]);
        if event.get("sub").is_none() {
            legs.entry(text(event, "/subject")).or_default().push(event);
        }
    }
    for (leg, durable) in legs {
        let seqs: Vec<_> = durable.iter().map(|event| number(event, "/seq")).collect();
        let expected: Vec<_> = (1..=durable.len() as u64).collect();
        assert_eq!(seqs, expected, "seq of leg {leg} has gaps or is out of order");
        let kinds: Vec<_> = durable.iter().map(|event| kind(event)).collect();
        if is_call(durable[0]) {
            assert_eq!(kinds.first(), Some(&"call.started.v1"), "call {leg}: {kinds:?}");
            assert_eq!(kinds.iter().filter(|kind| **kind == "call.record.v1").count(), 1, "call {leg}: {kinds:?}");
            continue;
        }
        assert_eq!(kinds.first(), Some(&"leg.started.v1"), "leg {leg}: {kinds:?}");
        assert_eq!(kinds.last(), Some(&"leg.ended.v1"), "leg {leg}: {kinds:?}");
        for once in ["leg.started.v1", "leg.ended.v1"] {
            assert_eq!(kinds.iter().filter(|kind| **kind == once).count(), 1, "leg {leg}: {kinds:?}");
        }
        let ended = durable.last().unwrap();
        check_ledger(ended);
        let is_terminal = |e: &&&Value| ["transcript.final.v1", "transcript.dropped.v1"].contains(&kind(e));
        let segments: Vec<_> = durable.iter().filter(is_terminal).map(|e| number(e, "/data/segment")).collect();
        let opened = number(ended, "/data/characteristics/segments");
        assert_eq!(segments, (1..=opened).collect::<Vec<_>>(), "leg {leg}: a terminal event each, in speech order");
    }
}

/// `received = transcribed + silent + paused + Σ dropped`, to the sample.
pub fn check_ledger(ended: &Value) {
    let ledger = &ended["data"]["ledger"];
    let dropped: u64 = ledger["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    let page = |name: &str| number(ledger, &format!("/{name}"));
    let booked = page("transcribed") + page("silent") + page("paused") + dropped;
    assert_eq!(page("received"), booked, "the ledger does not balance: {ledger}");
}

/// Reads the whole lines of a file that is still being written.
pub fn read_so_far(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    parse_lines(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
}
