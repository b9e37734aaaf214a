//! What can be seen of a connection from outside: the bytes that come and go, and where its requests begin and end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::pace::{Look, Owed};

/// Notes what happens on one connection. Clones note the same.
#[derive(Clone, Debug)]
pub(super) struct Seen(Arc<Mutex<Look>>);

impl Seen {
    /// A connection on which nothing has happened. Whoever opens one has a request.
    pub(super) fn new() -> Self {
        let new = Look { owed: Owed::Request, requests: 0, received: 0, sent: 0, blocked: false };
        Self(Arc::new(Mutex::new(new)))
    }

    /// How the connection looks now.
    pub(super) fn look(&self) -> Look {
        *self.note()
    }

    fn note(&self) -> MutexGuard<'_, Look> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has begun. Returns its body.
    pub(super) fn begin(&self, body: Incoming) -> Body {
        let whole = body.is_end_stream();
        {
            let mut look = self.note();
            look.requests += 1;
            look.owed = if whole { Owed::Patience } else { Owed::Request };
        }
        if whole { Body::empty() } else { Body::new(RequestBody { body, seen: self.clone() }) }
    }

    /// The body of the answer to the last request.
    pub(super) fn answer(&self, body: Body) -> AnswerBody {
        AnswerBody { body, seen: self.clone() }
    }
}

/// The body of a request. Its end is noted.
struct RequestBody {
    body: Incoming,
    seen: Seen,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            self.seen.note().owed = Owed::Patience;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. Its end is noted, also if the connection ends before.
pub(super) struct AnswerBody {
    body: Body,
    seen: Seen,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.seen.note().owed = Owed::Nothing;
    }
}

/// A connection whose bytes are noted.
pub(super) struct Observed {
    stream: TcpStream,
    seen: Seen,
}

impl Observed {
    pub(super) const fn new(stream: TcpStream, seen: Seen) -> Self {
        Self { stream, seen }
    }

    /// Notes how a write ended.
    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut look = self.seen.note();
        look.blocked = written.is_pending();
        if let Poll::Ready(Ok(bytes)) = written {
            look.sent += bytes as u64;
        }
        drop(look);
        written
    }
}

impl AsyncRead for Observed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            let mut look = self.seen.note();
            look.received += bytes as u64;
            if look.owed == Owed::Nothing {
                look.owed = Owed::Request;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Observed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.written(written)
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
