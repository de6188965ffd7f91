//! The platform's end of a media socket: dials, says hello, sends a frame each tick,
//! takes what comes back.
//!
//! Source: `vonage-voice.md` section 1. A message of the wrong size kills the socket, as
//! it does there.

use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::clock::Clock;
use super::fault::{FrameFate, Hello, SocketFaults};
use crate::audio::resample::Resampler;
use crate::call::wire;
use crate::types::Rate;
use crate::types::rate::{FRAME_SAMPLES, Frame};
use crate::vonage::wire::Map;

/// Longest wait for the application to take the socket. Real time: an application does
/// not run faster because the platform does.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest wait for the application to answer a close. Real time.
const CLOSE: Duration = Duration::from_secs(2);
/// Messages that may wait to be sent: ten seconds of audio. What comes then is lost.
pub(super) const QUEUE: usize = 512;
/// Longest message taken from the application.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Frames held back by a burst, at most.
const HELD_MAX: usize = 256;

/// Where and how to dial.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) uri: String,
    pub(super) rate: Rate,
    pub(super) headers: Map,
    /// The `Authorization` header's value.
    pub(super) authorization: Option<String>,
}

/// What is sent to the application.
pub(super) enum Outgoing {
    /// 20 ms at 16 kHz, and the platform time it is due at.
    Frame(Box<Frame>, Duration),
    Text(String),
}

impl Outgoing {
    /// A key was pressed.
    pub(super) fn dtmf(key: char, held_ms: u64) -> Self {
        Self::Text(json!({"event": "websocket:dtmf", "digit": key.to_string(), "duration": held_ms}).to_string())
    }

    /// Playback has come to a mark.
    pub(super) fn notify(payload: Value) -> Self {
        Self::Text(json!({"event": "websocket:notify", "payload": payload}).to_string())
    }

    /// Playback is cleared.
    pub(super) fn cleared() -> Self {
        Self::Text(json!({"event": "websocket:cleared"}).to_string())
    }
}

/// Whom the socket tells what the application sent. None of these may wait.
pub(super) trait Ears: Send {
    /// 20 ms to play, at 16 kHz.
    fn audio(&self, frame: &Frame);
    /// A mark behind the audio so far.
    fn notify(&self, payload: Value);
    /// Drop what waits to be played, and say so.
    fn clear(&self);
}

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The platform closed it.
    Platform,
    /// The application closed it, or the connection broke.
    Application,
    /// A message of the wrong size came: bytes, and how many there should have been.
    WrongSize(usize, usize),
    /// By fault.
    Fault,
}

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a socket could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// No answer in time.
    Timeout,
    /// What happened instead. Holds no URI: a token may be in it.
    Failed(String),
}

/// Dials.
pub(super) async fn connect(dial: &Dial) -> Result<Socket, Refused> {
    let failed = |problem: String| Refused::Failed(problem);
    let mut request =
        dial.uri.as_str().into_client_request().map_err(|_| failed("the URI cannot be dialled".into()))?;
    if let Some(value) = &dial.authorization {
        let value = HeaderValue::from_str(value).map_err(|_| failed("authorization.value is no header".into()))?;
        request.headers_mut().insert("authorization", value);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(4_096)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match timeout(HANDSHAKE, connect_async_with_config(request, Some(config), true)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(WsError::Http(response))) => Err(failed(format!("HTTP {}", response.status().as_u16()))),
        Ok(Err(WsError::Io(error))) => Err(failed(error.kind().to_string())),
        Ok(Err(WsError::Url(error))) => Err(failed(error.to_string())),
        Ok(Err(_)) => Err(failed("the handshake failed".into())),
        Err(_) => Err(Refused::Timeout),
    }
}

/// Runs a socket until it ends, or until all senders of `out` are gone: then it is closed.
pub(super) async fn run(
    socket: Socket,
    dial: &Dial,
    clock: Clock,
    faults: SocketFaults,
    out: mpsc::Receiver<Outgoing>,
    ears: impl Ears,
) -> Ended {
    let (sink, stream) = socket.split();
    let mut reading = pin!(read(stream, dial.rate, ears));
    let writer = Writer::new(sink, dial, clock, faults);
    tokio::select! {
        ended = &mut reading => ended,
        written = writer.run(out) => match written {
            Ended::Platform => {
                // An application that does not answer the close is not waited for.
                let _ = timeout(CLOSE, reading).await;
                Ended::Platform
            }
            ended => ended,
        },
    }
}

async fn read(mut stream: SplitStream<Socket>, rate: Rate, ears: impl Ears) -> Ended {
    let mut resampler = Resampler::new(rate);
    let mut samples = vec![0; rate.frame_samples()];
    let mut frame = [0; FRAME_SAMPLES];
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Binary(bytes) if bytes.len() == rate.frame_bytes() => {
                for (sample, pair) in samples.iter_mut().zip(bytes.chunks_exact(2)) {
                    *sample = i16::from_le_bytes([pair[0], pair[1]]);
                }
                match &mut resampler {
                    Some(resampler) => resampler.process(&samples, &mut frame),
                    None => frame.copy_from_slice(&samples),
                }
                ears.audio(&frame);
            }
            Message::Binary(bytes) => return Ended::WrongSize(bytes.len(), rate.frame_bytes()),
            Message::Text(text) => action(text.as_str(), &ears),
            Message::Close(_) => return Ended::Application,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Ended::Application
}

/// What is no action that we know is left alone.
fn action(text: &str, ears: &impl Ears) {
    let Ok(Value::Object(mut message)) = serde_json::from_str(text) else { return };
    match message.get("action").and_then(Value::as_str) {
        Some("clear") => ears.clear(),
        Some("notify") => ears.notify(message.remove("payload").unwrap_or_else(|| json!({}))),
        _ => {}
    }
}

struct Writer {
    sink: SplitSink<Socket, Message>,
    clock: Clock,
    faults: SocketFaults,
    rate: Rate,
    /// The first text message, until it is sent.
    hello: Option<String>,
    resampler: Option<Resampler>,
    samples: Vec<i16>,
    held: Vec<Message>,
    /// When the first frame was due.
    first: Option<Duration>,
}

impl Writer {
    fn new(sink: SplitSink<Socket, Message>, dial: &Dial, clock: Clock, faults: SocketFaults) -> Self {
        Self {
            sink,
            clock,
            faults,
            rate: dial.rate,
            hello: Some(wire::connected(dial.rate, &dial.headers)),
            resampler: Resampler::between(Rate::Hz16000, dial.rate),
            samples: vec![0; dial.rate.frame_samples()],
            held: Vec::new(),
            first: None,
        }
    }

    async fn run(mut self, mut out: mpsc::Receiver<Outgoing>) -> Ended {
        let hello_at = match self.faults.hello {
            Hello::AtOnce => Some(self.clock.now()),
            Hello::Late(span) => Some(self.clock.now() + span),
            Hello::Never => None,
        };
        if self.faults.hello == Hello::AtOnce && self.say_hello().await.is_err() {
            return Ended::Application;
        }
        loop {
            let due = hello_at.filter(|_| self.hello.is_some());
            let message = tokio::select! {
                biased;
                () = self.clock.sleep_until(due.unwrap_or_default()), if due.is_some() => {
                    if self.say_hello().await.is_err() {
                        return Ended::Application;
                    }
                    continue;
                }
                message = out.recv() => message,
            };
            let sent = match message {
                Some(Outgoing::Text(text)) => self.sink.send(Message::text(text)).await,
                Some(Outgoing::Frame(frame, at)) => {
                    let first = *self.first.get_or_insert(at);
                    if self.faults.abrupt_close_after.is_some_and(|after| at >= first + after) {
                        return Ended::Fault;
                    }
                    self.frame(&frame, at).await
                }
                None => {
                    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                    let _ = self.sink.send(Message::Close(Some(close))).await;
                    return Ended::Platform;
                }
            };
            if sent.is_err() {
                return Ended::Application;
            }
        }
    }

    async fn say_hello(&mut self) -> Result<(), WsError> {
        match self.hello.take() {
            Some(hello) => self.sink.send(Message::text(hello)).await,
            None => Ok(()),
        }
    }

    async fn frame(&mut self, frame: &Frame, at: Duration) -> Result<(), WsError> {
        // The filter has a memory: it sees the frames that are not sent, too.
        match &mut self.resampler {
            Some(resampler) => resampler.process(frame, &mut self.samples),
            None => self.samples.copy_from_slice(frame),
        }
        let mut bytes: Vec<u8> = self.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        match self.faults.frame(self.rate.frame_bytes()) {
            FrameFate::Skip => {}
            FrameFate::Hold if self.held.len() < HELD_MAX => self.held.push(Message::binary(bytes)),
            fate => {
                if let FrameFate::Send { late, bytes: length } = fate {
                    if !late.is_zero() {
                        self.clock.sleep_until(at + late).await;
                    }
                    bytes.resize(length.unwrap_or(bytes.len()), 0);
                }
                for held in self.held.drain(..) {
                    self.sink.feed(held).await?;
                }
                self.sink.send(Message::binary(bytes)).await?;
            }
        }
        Ok(())
    }
}
