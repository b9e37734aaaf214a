//! A node: everything that runs in one process of a cluster.
//!
//! ```text
//! serve                                            a whole node: its ports, its start and its stop
//! client_port                                      the port for clients and the threads that serve it
//! http                                             HTTP for clients: parse, wait, answer
//! runtime                                          the event loop: effects become I/O
//! query, verify                                    reads of the past and for decisions; the offline audit of a ledger
//! recover, backup                                  a new cluster from one surviving ledger, and from backups
//! ledger, views, transport, coordination, clock    adapters; they never import each other
//! settings                                         typed settings
//! traces                                           traces of requests, for a collector
//! tls                                              certificates of the ports, read again when they change
//! process                                          what the system says of this process and its disk
//! port                                             connections: how many, how served, what is expected of the other side
//! sqlite, schema, durable_file, blocking,
//! published, read_gate, request_id, log_limit      what two of the modules above share
//! fuzzing                                          targets for the fuzzer, in no normal build
//! ```

pub mod backup;
pub mod blocking;
pub mod client_port;
pub mod clock;
pub mod coordination;
mod durable_file;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod ledger;
pub mod log_limit;
pub mod port;
pub mod process;
pub mod published;
pub mod query;
pub mod read_gate;
pub mod recover;
pub mod request_id;
pub mod runtime;
mod schema;
pub mod serve;
pub mod settings;
mod sqlite;
#[cfg(test)]
mod stored;
pub mod tls;
pub mod traces;
pub mod transport;
pub mod verify;
pub mod views;
