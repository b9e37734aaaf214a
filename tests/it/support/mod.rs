//! Helpers of several tests.
//!
//! ```text
//! cluster    clusters of real nodes
//! shared     one cluster for several tests
//! http       requests over plain sockets
//! payers     clients that pay in the background
//! history    what they were answered, compared with the ledgers
//! ports      ports for servers
//! zookeeper  private ZooKeeper servers
//! reaper     cleans up after the tests
//! ```

pub(crate) mod cluster;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod payers;
pub(crate) mod ports;
pub(crate) mod reaper;
pub(crate) mod shared;
pub(crate) mod zookeeper;
