//! A development cluster on this machine, and what `quorapay dev` and `quorapay demo` do with it.
//!
//! ```text
//! cluster  ZooKeeper and the nodes as processes: start, break, heal, stop
//! layout   ports, configuration files, dev.json
//! control  the socket at which other programs ask for faults
//! drill    payments under load, a killed leader, a comparison of all ledgers
//! error    what can fail
//! ```

mod cluster;
mod control;
mod drill;
mod error;
mod layout;

pub use cluster::DevCluster;
pub use control::{Control, Order, PendingOrder, order};
pub use drill::{
    CALLERS, LedgerEnd, LostLeader, Stress, StressCounts, compare_ledgers, count_lost_and_doubled, lose_the_leader,
    pay_once,
};
pub use error::DevError;
pub use layout::{DevNode, DevOptions};
