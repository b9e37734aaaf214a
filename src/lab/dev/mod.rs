//! A development cluster on this machine, and what `quorapay dev` and `quorapay demo` do with it.
//!
//! ```text
//! cluster  ZooKeeper and the nodes as processes: start, kill, restart, stop
//! layout   ports, configuration files, dev.json
//! drill    payments under load, a killed leader, a comparison of all ledgers
//! error    what can fail
//! ```

mod cluster;
mod drill;
mod error;
mod layout;

pub use cluster::DevCluster;
pub use drill::{CALLERS, LedgerEnd, StressCounts, compare_ledgers, kill_leader_under_stress, pay_once, stress};
pub use error::DevError;
pub use layout::{DevNode, DevOptions};
