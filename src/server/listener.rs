//! Accepts connections, and gives up those that ask for nothing.
//!
//! Invariant: a connection that got no answer within its time is closed, so that
//! peers which open connections and fall silent cannot use up the file descriptors.
//!
//! A connection's user may say how many bytes it wants to be woken for ([`Appetite`]); the
//! kernel then keeps what comes until there are so many. It learns how many more were there
//! when it read.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// A listener whose connections must ask for something within `patience`.
pub struct Impatient {
    listener: TcpListener,
    patience: Duration,
}

impl Impatient {
    /// Wraps a listener.
    #[must_use]
    pub fn new(listener: TcpListener, patience: Duration) -> Self {
        Self { listener, patience }
    }
}

impl Listener for Impatient {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // Everything we send is small and wanted now. A socket that cannot be told is used as it is.
        let _ = stream.set_nodelay(true);
        let silence = Some(Box::pin(sleep(self.patience)));
        (Connection { stream, silence, appetite: Appetite::default(), told: 1, unread: false }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// How many bytes a connection's reader wants to be woken for: one, if it says nothing.
/// Heeded when it reads next.
#[derive(Debug, Clone)]
pub struct Appetite(Arc<Wishes>);

#[derive(Debug)]
struct Wishes {
    wanted: AtomicU32,
    left: AtomicU32,
}

impl Default for Appetite {
    fn default() -> Self {
        Self(Arc::new(Wishes { wanted: AtomicU32::new(1), left: AtomicU32::new(0) }))
    }
}

impl Appetite {
    /// Says so; the end of the connection wakes the reader all the same. With 0, what is there
    /// is read whether or not anybody was told of it yet.
    pub(super) fn set(&self, bytes: u32) {
        self.0.wanted.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that were there beyond those of the last read, as far as the kernel holds them.
    pub(super) fn left(&self) -> u32 {
        self.0.left.load(Ordering::Relaxed)
    }
}

/// Where a request comes from. Serve with
/// `router.into_make_service_with_connect_info::<Peer>()`; without, no peer counts as this
/// machine.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// How its connection is read.
    pub appetite: Appetite,
}

impl Connected<IncomingStream<'_, Impatient>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Impatient>) -> Self {
        Self { address: *stream.remote_addr(), appetite: stream.io().appetite.clone() }
    }
}

/// A connection, with the time it has left until we answer it for the first time.
pub struct Connection {
    stream: TcpStream,
    silence: Option<Pin<Box<Sleep>>>,
    appetite: Appetite,
    /// What the kernel was told of it.
    told: u32,
    /// Whether something may be there that nobody was woken for.
    unread: bool,
}

impl Connection {
    /// Tells the kernel how much the reader waits for, if that has changed. Gives what is there
    /// already, where less is enough now: nobody was woken for it.
    fn heed(&mut self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let wanted = self.appetite.0.wanted.load(Ordering::Relaxed);
        self.unread |= wanted == 0;
        let wanted = wanted.max(1);
        if wanted != self.told {
            // A system that does not know this wakes us for every byte, as it would anyway.
            let _ = wake_at(self.stream.as_raw_fd(), wanted);
            self.unread |= wanted < self.told;
            self.told = wanted;
        }
        if !self.unread {
            return None;
        }
        let room = buf.initialize_unfilled();
        let size = room.len();
        match rustix::net::recv(&self.stream, room, RecvFlags::DONTWAIT) {
            Ok((read, _)) => {
                self.unread = read == size;
                buf.advance(read);
                Some(Ok(()))
            }
            Err(Errno::INTR) => None,
            Err(Errno::WOULDBLOCK) => {
                self.unread = false;
                None
            }
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Notes how much is there beyond what was read; a read that was not filled took all.
    fn note_left(&self, buf: &ReadBuf<'_>) {
        let full = buf.remaining() == 0;
        let left = if full { rustix::io::ioctl_fionread(&self.stream).unwrap_or(0) } else { 0 };
        self.appetite.0.left.store(u32::try_from(left).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

/// Makes a socket readable only when it holds so many bytes, or its end.
#[expect(unsafe_code, reason = "no safe wrapper has this option")]
fn wake_at(socket: RawFd, bytes: u32) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let size = size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes at the pointer during the call, and an int lives there.
    let done =
        unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const bytes).cast(), size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = match self.heed(buf) {
            Some(read) => Poll::Ready(read),
            None => Pin::new(&mut self.stream).poll_read(cx, buf),
        };
        if read.is_ready() {
            self.note_left(buf);
        }
        if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.silence = None;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.silence = None;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
