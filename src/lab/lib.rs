//! The laboratory: everything that tries a cluster from outside and judges what it did.
//!
//! ```text
//! chaos     faults on real processes under load, and a verdict
//! check     histories held against ledgers
//! history   what clients asked and were told, as a file
//! local     processes of this machine: nodes, ZooKeeper servers, ports
//! ```

pub mod chaos;
pub mod check;
pub mod history;
pub mod local;
