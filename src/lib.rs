//! Quorapay: a payment ledger replicated by quorum.
//!
//! One append-only ledger is the truth; a leader, suggested by ZooKeeper and made safe by promised epochs, appends to
//! the ledgers of its followers; an entry on a majority of disks is committed. Everything else is derived from it.
//!
//! The layers, each a folder that may import only what stands under it (`tests/it/layers.rs` checks it):
//!
//! ```text
//! cli                                              the command line
//! api, client                                      HTTP for clients, and a client of it
//! chaos                                            faults on real processes, and a verdict
//! runtime                                          the event loop: effects become I/O
//! check                                            histories held against ledgers
//! history                                          what clients asked and were told, as a file
//! ledger, views, transport, coordination, clock    adapters; they never import each other
//! engine                                           pure: proposals become entries, callers get answers
//! replication                                      pure: the protocol as events and effects
//! domain                                           pure: money, accounts, payments, the bank
//! settings                                         typed settings; imports domain words only
//! planted                                          bugs on purpose, for the simulation; nothing in a normal build
//! local                                            processes of this machine; imports nothing
//! ```
//!
//! `docs/ARCHITECTURE.md` walks through a payment, an append, an election and a read.

pub mod api;
pub mod chaos;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod coordination;
pub mod domain;
pub mod engine;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod history;
pub mod ledger;
pub mod local;
pub mod planted;
pub mod replication;
pub mod runtime;
pub mod settings;
pub mod transport;
pub mod views;
