//! A node: everything that runs in one process of a cluster.
//!
//! ```text
//! serve                                            a whole node: its ports, its start and its stop
//! http                                             HTTP for clients: parse, wait, answer
//! runtime, verify                                  the event loop: effects become I/O; the offline check of a ledger
//! ledger, views, transport, coordination, clock    adapters; they never import each other
//! settings                                         typed settings
//! ```

pub mod clock;
pub mod coordination;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod ledger;
mod port;
pub mod query;
pub mod runtime;
mod schema;
pub mod serve;
pub mod settings;
mod sqlite;
#[cfg(test)]
mod stored;
pub mod transport;
pub mod verify;
pub mod views;
