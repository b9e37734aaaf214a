//! One connection: HTTP/1.1 with bounded buffers, closed when the other side does not do its part.

use std::pin::pin;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tower::Service;

use super::observed::{Observed, Seen};
use super::pace::{Judge, LOOK_INTERVAL, Pace};
use super::server::stop;
use crate::published::Watched;

/// Largest head of a request: its first line and its headers. A larger one gets 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Bytes that are read, or written, at a time. An unfinished head takes no more.
const BUFFER_BYTES: usize = 64 * 1024;

/// Serves a connection until one side ends it. When the node stops, the request in hand is answered.
pub(super) async fn serve_connection(stream: TcpStream, router: Router, pace: Pace, stopping: Watched<bool>) {
    let seen = Seen::new();
    let stream = TokioIo::new(Observed::new(stream, seen.clone()));
    let mut judge = Judge::new(pace, seen.look());
    let requests = seen.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let request: Request = request.map(|body| requests.begin(body));
        // A clone of a router only increments a counter, and it is always ready.
        let answer = router.clone().call(request);
        let seen = requests.clone();
        async move { answer.await.map(|answer| answer.map(|body| seen.answer(body))) }
    });
    let mut protocol = http1::Builder::new();
    protocol.header_read_timeout(None).max_header_size(MAX_HEAD_BYTES).max_buf_size(BUFFER_BYTES);
    let mut connection = pin!(protocol.serve_connection(stream, service));
    let mut looks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
    // Bytes are counted from one look to the next.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = pin!(stop(stopping));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            biased;
            // An error of a connection is an end as any other.
            _ = connection.as_mut() => return,
            () = stop.as_mut(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => if let Some(reason) = judge.look(seen.look()) {
                tracing::debug!(?reason, "a connection is closed");
                return;
            }
        }
    }
}
