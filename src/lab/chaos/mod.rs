//! Faults on real processes, and clients that record what they were told meanwhile.
//!
//! A cluster of real nodes and a real ZooKeeper ensemble is started ([`run`]); clients load it and write a history
//! ([`clients`]); a nemesis draws faults from the seed; in the end everything heals, and the checker judges the history and
//! the ledgers. The nodes are the product as it is shipped: nothing in them knows of this.
//!
//! ```text
//! nemesis (pure: what is done)  →  fault (done, and healed)  →  arena (processes, disks, clocks)
//!                                                             →  network (proxies or namespaces)
//! clients → history  →  check, report
//! ```

mod arena;
mod bit_flip;
pub mod clients;
mod error;
mod fault;
mod kind;
mod nemesis;
mod network;
mod report;
mod run;
mod tools;

pub use error::ChaosError;
pub use kind::FaultKind;
pub use network::NetworkKind;
pub use report::{Availability, FaultRecord, Report};
pub use run::{ChaosPlan, News, run};
pub use tools::{Skipped, enter_private_namespaces};
