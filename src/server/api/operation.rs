//! Every route of our API, in one table: it mounts them and documents them, so that there
//! is none without a document, a scope or a bound.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{Schema, SchemaGenerator};

use super::token::Scope;
use super::types::{
    Asked, CallDetail, CallList, CallSummary, HangUp, ListCalls, Mute, NccoReport, Outbound, Pause, Play, PlayQuery,
    PressKeys, Resume, Say, Stop, Transcript, Transfer,
};

/// Longest body of a request, in bytes, where nothing else is said.
pub const BODY_BYTES_MAX: usize = 65_536;
/// Longest NCCO, in bytes.
pub const NCCO_BYTES_MAX: usize = 1 << 20;
/// Longest WAV file to play, in bytes: over five minutes at 16 kHz.
pub const AUDIO_BYTES_MAX: usize = 10 << 20;

/// JSON, of requests and answers.
const JSON: &str = "application/json";

/// HTTP method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `GET`, and `HEAD`.
    Get,
    /// `POST`.
    Post,
}

impl Verb {
    /// As OpenAPI writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }
}

/// Makes a type's schema.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a request holds.
#[derive(Clone, Copy)]
pub(super) struct Takes {
    /// Its media type.
    pub(super) media_type: &'static str,
    /// Its schema; bytes where there is none.
    pub(super) schema: Option<SchemaOf>,
    /// Whether it may be left out.
    pub(super) optional: bool,
}

/// What a success holds.
#[derive(Clone, Copy)]
pub(super) struct Gives {
    /// The status.
    pub(super) status: u16,
    /// One line about it.
    pub(super) about: &'static str,
    /// Media type and, where it is JSON of ours, schema.
    pub(super) body: Option<(&'static str, Option<SchemaOf>)>,
}

/// Everything there is to say of a route.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    /// What the token must allow; none where anyone may ask.
    pub(super) scope: Option<Scope>,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: Option<SchemaOf>,
    pub(super) takes: Vec<Takes>,
    pub(super) body_bytes_max: usize,
    pub(super) gives: Gives,
    /// Errors besides those that follow from the rest.
    pub(super) errors: &'static [u16],
}

fn json<T: Asked>() -> Vec<Takes> {
    vec![Takes { media_type: JSON, schema: Some(SchemaGenerator::subschema_for::<T>), optional: T::OPTIONAL }]
}

fn query<T: Asked>() -> Option<SchemaOf> {
    Some(SchemaGenerator::subschema_for::<T>)
}

fn gives<T: schemars::JsonSchema>(status: u16, about: &'static str) -> Gives {
    Gives { status, about, body: Some((JSON, Some(SchemaGenerator::subschema_for::<T>))) }
}

/// A route that reads.
fn get(path: &'static str, scope: Option<Scope>, tag: &'static str, summary: &'static str, gives: Gives) -> Route {
    Route {
        verb: Verb::Get,
        path,
        scope,
        tag,
        summary,
        query: None,
        takes: Vec::new(),
        body_bytes_max: BODY_BYTES_MAX,
        gives,
        errors: &[],
    }
}

/// A route that does something to a call, by way of Vonage.
fn command<T: Asked>(path: &'static str, scope: Scope, summary: &'static str) -> Route {
    Route {
        verb: Verb::Post,
        takes: json::<T>(),
        errors: &[409, 502, 503],
        ..get(path, Some(scope), "calls", summary, Gives { status: 204, about: "Done.", body: None })
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident => $id:literal, $route:expr;)+) => {
        /// A route of our API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)+
        }

        impl Operation {
            /// Every route, in the order of the document.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// `operationId` in the document.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }

            pub(super) fn route(self) -> Route {
                match self {
                    $(Self::$name => $route,)+
                }
            }
        }
    };
}

operations! {
    /// `GET /v1/calls`: [`CheckedQuery`](super::CheckedQuery)`<`[`ListCalls`]`>` to [`CallList`].
    ListCalls => "listCalls", Route {
        query: query::<ListCalls>(),
        ..get("/v1/calls", Some(Scope::CallsRead), "calls", "Lists calls, newest first.", gives::<CallList>(200, "A page of calls."))
    };
    /// `POST /v1/calls`: [`Outbound`] to [`CallSummary`], 201.
    CreateCall => "createCall", Route {
        gives: gives::<CallSummary>(201, "The call was placed."),
        ..command::<Outbound>("/v1/calls", Scope::CallsControl, "Calls someone.")
    };
    /// `GET /v1/calls/{id}`: to [`CallDetail`].
    GetCall => "getCall", get("/v1/calls/{id}", Some(Scope::CallsRead), "calls", "Tells what is known of a call.", gives::<CallDetail>(200, "The call."));
    /// `GET /v1/calls/{id}/transcript`: to [`Transcript`].
    GetTranscript => "getTranscript", get("/v1/calls/{id}/transcript", Some(Scope::TranscriptsRead), "transcripts", "Tells what was said so far.", gives::<Transcript>(200, "The transcript."));
    /// `POST /v1/calls/{id}/hangup`: [`HangUp`], 204.
    HangUp => "hangUp", command::<HangUp>("/v1/calls/{id}/hangup", Scope::CallsControl, "Ends a call, or one leg of it.");
    /// `POST /v1/calls/{id}/transfer`: [`Transfer`], 204.
    Transfer => "transfer", Route {
        body_bytes_max: NCCO_BYTES_MAX,
        ..command::<Transfer>("/v1/calls/{id}/transfer", Scope::CallsControl, "Lets a leg go on with another NCCO.")
    };
    /// `POST /v1/calls/{id}/mute`: [`Mute`], 204.
    Mute => "mute", command::<Mute>("/v1/calls/{id}/mute", Scope::CallsControl, "Keeps others from hearing a participant.");
    /// `POST /v1/calls/{id}/unmute`: [`Mute`], 204.
    Unmute => "unmute", command::<Mute>("/v1/calls/{id}/unmute", Scope::CallsControl, "Lets others hear a participant again.");
    /// `POST /v1/calls/{id}/play`: [`Play`], or a WAV file with [`PlayQuery`], 204.
    Play => "play", Route {
        query: query::<PlayQuery>(),
        takes: [Takes { media_type: "audio/wav", schema: None, optional: false }].into_iter().chain(json::<Play>()).collect(),
        body_bytes_max: AUDIO_BYTES_MAX,
        ..command::<Play>("/v1/calls/{id}/play", Scope::CallsAudio, "Plays a file into a call.")
    };
    /// `POST /v1/calls/{id}/stop`: [`Stop`], 204.
    Stop => "stop", command::<Stop>("/v1/calls/{id}/stop", Scope::CallsAudio, "Stops what is played or said.");
    /// `POST /v1/calls/{id}/say`: [`Say`], 204.
    Say => "say", command::<Say>("/v1/calls/{id}/say", Scope::CallsAudio, "Says a text into a call.");
    /// `POST /v1/calls/{id}/dtmf`: [`PressKeys`], 204.
    PressKeys => "pressKeys", command::<PressKeys>("/v1/calls/{id}/dtmf", Scope::CallsControl, "Presses keys in a call.");
    /// `POST /v1/calls/{id}/pause`: [`Pause`], 204.
    Pause => "pause", command::<Pause>("/v1/calls/{id}/pause", Scope::CaptureControl, "Pauses capture: nothing said or pressed is kept.");
    /// `POST /v1/calls/{id}/resume`: [`Resume`], 204.
    Resume => "resume", command::<Resume>("/v1/calls/{id}/resume", Scope::CaptureControl, "Lets capture go on.");
    /// `POST /v1/ncco/validate`: an NCCO to [`NccoReport`]; [`super::ncco::validate`].
    ValidateNcco => "validateNcco", Route {
        verb: Verb::Post,
        takes: vec![Takes { media_type: JSON, schema: Some(SchemaGenerator::subschema_for::<Vec<serde_json::Map<String, serde_json::Value>>>), optional: false }],
        body_bytes_max: NCCO_BYTES_MAX,
        ..get("/v1/ncco/validate", Some(Scope::CallsRead), "ncco", "Says what is wrong with an NCCO.", gives::<NccoReport>(200, "What was found."))
    };
    /// `GET /v1/events`: every event from now on, as server-sent events.
    FollowEvents => "followEvents", get("/v1/events", Some(Scope::EventsRead), "events", "Follows every event from now on; see the AsyncAPI document.", Gives {
        status: 200,
        about: "Server-sent events, each a CloudEvent in structured mode.",
        body: Some(("text/event-stream", None)),
    });
    /// `GET /v1/asyncapi.json`: the events' contract.
    AsyncApi => "getAsyncApi", get("/v1/asyncapi.json", None, "contract", "The AsyncAPI document of the events.", Gives {
        status: 200,
        about: "The document.",
        body: Some((JSON, None)),
    });
    /// `GET /v1/schemas`: JSON Schema of each event.
    Schemas => "getSchemas", get("/v1/schemas", None, "contract", "JSON Schema of each kind of event.", Gives {
        status: 200,
        about: "Schemas by the type of event.",
        body: Some((JSON, None)),
    });
    /// `GET /v1/openapi.json`: this API's contract; [`super::openapi::serve`].
    OpenApi => "getOpenApi", get("/v1/openapi.json", None, "contract", "This document.", Gives {
        status: 200,
        about: "The document.",
        body: Some((JSON, None)),
    });
}

impl Operation {
    /// HTTP method.
    #[must_use]
    pub fn verb(self) -> Verb {
        self.route().verb
    }

    /// Path, parameters in braces.
    #[must_use]
    pub fn path(self) -> &'static str {
        self.route().path
    }

    /// What the token must allow; none where anyone may ask.
    #[must_use]
    pub fn scope(self) -> Option<Scope> {
        self.route().scope
    }

    /// The route's method with this handler: what [`router`](super::router) wants for it.
    pub fn on<H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(self, handler: H) -> MethodRouter<S> {
        let method = match self.verb() {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
        };
        on(method, handler)
    }
}
