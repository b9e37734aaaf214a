//! The laboratory: everything that tests a cluster from outside and judges the result.
//!
//! ```text
//! chaos     injects faults into real processes under load and checks the result
//! check     checks histories of clients against ledgers
//! history   files with the requests of clients and their answers
//! bench     a load generator that measures
//! backup    takes backups of a running cluster
//! import    sends payments from a file, each exactly once
//! fault     what can be broken in a cluster, and how it is broken and healed
//! certificates  a private authority, and certificates for nodes and clients
//! dev       a development cluster on this machine
//! local     processes of this machine: nodes, ZooKeeper servers, ports
//! random    the seeded random number generator
//! ```

pub mod backup;
pub mod bench;
pub mod certificates;
pub mod chaos;
pub mod check;
pub mod dev;
pub mod fault;
pub mod history;
pub mod import;
pub mod local;
pub mod random;
