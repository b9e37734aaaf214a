//! Processes of this machine: nodes, private ZooKeeper servers, their files and ports, and cleaning up after them.
//!
//! ```text
//! process    child processes
//! zookeeper  private ZooKeeper servers, alone or as an ensemble
//! reaper     cleans up even if this program is killed
//! node_file  a node's configuration file
//! ports      free ports
//! error      what can fail
//! ```

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
