//! The ports of a node: how many connections there may be, how they are served, what is expected of the other side, and
//! attempts to reach another node's port.
//!
//! A stranger can open connections, say nothing, say half of a request, or read no answer. Each of these is bounded here,
//! in number, bytes and time, for both ports, before any request is looked at, whether connections are plain or sealed
//! with TLS. This module knows HTTP as a protocol; it does not know what is asked.
//!
//! | file | what |
//! |---|---|
//! | `budget.rs` | how many connections the limit of open files allows |
//! | `places.rs` | the places for connections at a port, in total and for one address |
//! | `server.rs` | accepts connections and serves each in a task of its own |
//! | `connection.rs` | one connection |
//! | `handshake.rs` | the beginning of a sealed connection, bounded in time |
//! | `observed.rs` | what can be seen of a connection from outside: bytes, requests, answers |
//! | `pace.rs` | when a connection is closed because the other side does not do its part |
//! | `metrics.rs` | shows how many connections there are |
//! | `connect.rs` | opens a connection to a URL |

mod budget;
mod connect;
mod connection;
mod handshake;
mod metrics;
mod observed;
mod pace;
mod places;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use budget::places;
pub(crate) use connect::connect;
pub(crate) use metrics::PortMetrics;
pub(crate) use pace::Pace;
#[cfg(test)]
pub(crate) use places::Places;
pub(crate) use places::{ConnectionLimits, Place};
pub(crate) use server::{Accepted, Connections, Port, Terms, serve, stop};
