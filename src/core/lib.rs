//! The pure core of a Quorapay node: no I/O, no clock, no randomness.
//!
//! ```text
//! engine        proposals become entries, entries change the bank, callers get answers
//! replication   the protocol as a state machine: events in, effects out
//! domain        money, accounts, payments and the bank that decides them
//! planted       bugs on purpose, for the simulation; nothing of them is in a normal build
//! ```
//!
//! Each module uses only those below it. Time and ids come in with every event and everything to be done comes out as an
//! effect, so a whole cluster runs deterministically in one thread under simulation (`tests/sim`).

pub mod domain;
pub mod engine;
pub mod planted;
pub mod replication;
