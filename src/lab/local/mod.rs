//! Clusters on this machine: processes of this very program, private ZooKeeper servers, their files and ports, and an end
//! that leaves nothing behind.
//!
//! It starts and ends; it knows nothing of what a cluster is started for.

mod error;
mod node_file;
mod ports;
mod process;
mod reaper;
mod zookeeper;

pub use error::LocalError;
pub use node_file::NodeFile;
pub use ports::{Ports, free_port, require_free};
pub use process::{Process, Signal, node_command, run, send_signal};
pub use reaper::Reaper;
pub use zookeeper::{Ensemble, Member, ZooKeeperServer, install_script};
