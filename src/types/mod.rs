//! Words every other module speaks: ids, time, rates, segments, results, faults.
//!
//! Invariant: nothing here does anything. No I/O, no clock, no behaviour beyond
//! parsing, arithmetic and display; every other module may look here, and this
//! one looks at nobody.

pub mod entity;
pub mod fault;
pub mod host;
pub mod id;
pub mod private;
pub mod rate;
pub mod redaction;
pub mod segment;
pub mod sentiment;
pub mod settings;
pub mod speaker;
pub mod time;
pub mod transcript;

pub use entity::{Entity, EntityKind};
pub use fault::{BuildError, DropReason, Fault, PeerFault};
pub use host::is_this_machine;
pub use id::{BadId, ConversationId, LegId, SegmentId};
pub use private::Private;
pub use rate::Rate;
pub use redaction::{KeyRule, RedactionMode, RedactionTerms};
pub use segment::{Disagreement, Reply, Segment, SegmentKind, Shadow};
pub use sentiment::{Sentiment, SentimentLabel};
pub use settings::settings;
pub use speaker::Speaker;
pub use time::{MediaTime, Moment, WallTime};
pub use transcript::{Transcript, Word};
