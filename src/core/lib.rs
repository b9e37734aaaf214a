//! The pure core of a Quorapay node: no I/O, no clock, no randomness.
//!
//! ```text
//! engine        turns proposals into entries, applies entries to the bank, answers callers
//! replication   the protocol as a state machine: events in, effects out
//! domain        money, accounts, payments, and the bank that decides on them
//! time          what can be known of clocks: offsets, error bounds, and what a majority shows
//! planted       deliberate bugs that the simulation must find; not part of a normal build
//! ```
//!
//! Each module uses only those below it. Time and ids come in with every event, and everything to be done goes out as
//! an effect. So the simulation (`tests/sim`) runs a whole cluster deterministically in one thread.

pub mod domain;
pub mod engine;
pub mod planted;
pub mod replication;
pub mod time;
