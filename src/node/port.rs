//! What the ports for clients and for peers have in common.

use axum::serve::{Listener, ListenerExt};
use tokio::net::TcpListener;

/// Turns Nagle's algorithm off on every connection: it would delay small answers.
pub(crate) fn without_delay(
    listener: TcpListener,
) -> impl Listener<Io = <TcpListener as Listener>::Io, Addr = <TcpListener as Listener>::Addr> {
    listener.tap_io(|stream| {
        // A connection that cannot be set is slow, not wrong.
        let _ = stream.set_nodelay(true);
    })
}
