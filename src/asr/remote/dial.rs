//! Opening a connection to a streaming vendor, and looking whether one can be had.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error as WsError, UrlError};
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::dialogue::Dialogue;
use super::http;
use crate::tls;
use crate::types::Fault;

/// Longest wait for a vendor's answer to our farewell.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a connection.
pub(super) async fn dial(request: Request, bytes_max: usize) -> Result<Socket, Fault> {
    let limits = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max))
        .max_write_buffer_size(1 << 20);
    match timeout(http::CONNECT, connect_async_with_config(request, Some(limits), true)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(of(&error)),
        Err(_) => Err(Fault::Unreachable),
    }
}

/// What an error of the WebSocket means.
pub(super) fn of(error: &WsError) -> Fault {
    match error {
        WsError::Http(response) => match http::status(response.status().as_u16(), response.headers()) {
            Err(fault) => fault,
            // It answered, and will not upgrade.
            Ok(()) => Fault::Refused(response.status().as_u16()),
        },
        WsError::Capacity(_) => Fault::Oversized,
        WsError::Utf8(_) => Fault::Garbage("text that is not UTF-8"),
        WsError::Protocol(_) => Fault::Disconnected,
        WsError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Fault::Disconnected,
        error if tls::is_distrust(error) => Fault::Untrusted,
        WsError::Io(_) | WsError::Tls(_) | WsError::Url(UrlError::UnableToConnect(_)) => Fault::Unreachable,
        _ => Fault::Disconnected,
    }
}

/// Says hello and takes leave, and hears whether the vendor has anything against us: some
/// take a connection from anybody and say so afterwards.
pub(super) async fn look(
    socket: &mut Socket,
    hello: Option<String>,
    mut dialogue: Box<dyn Dialogue>,
    farewell: Option<&'static str>,
) -> Result<(), Fault> {
    let deadline = Instant::now() + FAREWELL;
    for text in hello.into_iter().chain(farewell.map(str::to_owned)) {
        match timeout_at(deadline, socket.send(Message::text(text))).await {
            Ok(Ok(())) => {}
            _ => return Err(Fault::Disconnected),
        }
    }
    loop {
        match timeout_at(deadline, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => drop(dialogue.hear(&text)?),
            Ok(Some(Ok(Message::Close(Some(frame))))) if u16::from(frame.code) != 1000 => {
                return Err(dialogue.closed(frame.code.into(), &frame.reason));
            }
            Ok(Some(Ok(Message::Close(_)))) | Ok(None) | Err(_) => return Ok(()),
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_))) => return Err(Fault::Disconnected),
        }
    }
}
