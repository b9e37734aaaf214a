//! Helpers of several tests.
//!
//! ```text
//! cluster    clusters of real nodes
//! permit     how many clusters run at the same time
//! shared     one cluster for several tests
//! http       requests over plain sockets
//! payers     clients that pay in the background
//! history    what they were answered, compared with the ledgers
//! ports      ports for servers
//! links      connections that can be cut
//! clocks     wall clocks that can be wrong
//! small_disk a disk that can become full
//! zookeeper  private ZooKeeper servers
//! reaper     cleans up after the tests
//! ```

pub(crate) mod clocks;
pub(crate) mod cluster;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod links;
pub(crate) mod payers;
pub(crate) mod permit;
pub(crate) mod ports;
pub(crate) mod reaper;
pub(crate) mod shared;
pub(crate) mod small_disk;
pub(crate) mod zookeeper;
