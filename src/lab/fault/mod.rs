//! Faults: what can be broken in a cluster, one description for all who break one. `quorapay chaos` draws them from a seed,
//! `quorapay fault` and the keys of `quorapay dev` make them for a person.
//!
//! ```text
//! request       a fault as a person asks for it, and as an action (pure)
//! action        what a fault does to which process or link (pure)
//! active        makes an action on a target, maintains it, heals it
//! board         the faults that last, by the request for each
//! target        what a cluster must be able to do so that it can be broken
//! hold          what a fault holds while it lasts
//! error         why a fault could not be made
//!
//! processes     a target: processes of this program
//! compose       a target: a stack of docker-compose.yml that somebody else runs
//! node          one node's process and files
//! network       links between processes: proxies or network namespaces
//! network_kind  which of the two
//! link_fault    cut, delayed and lossy links
//! endpoint      the ends of a link
//! injection     tampers with system calls, by strace
//! clocks        sets wall clocks off, by faketime
//! ballast       fills a disk
//! bit_flip      flips a bit of a ledger
//! disks         a file system for every node, which can lose its power
//! ```

mod action;
mod active;
mod ballast;
mod bit_flip;
mod board;
mod clocks;
mod compose;
mod disks;
mod endpoint;
mod error;
mod hold;
mod injection;
mod link_fault;
mod network;
mod network_kind;
mod node;
mod processes;
mod request;
mod target;

pub(crate) use action::{FailedSyncs, FaultAction, SyncToDieAt, Topology, describe_all};
pub(crate) use active::{ActiveFault, Tolerated, UPKEEP_INTERVAL};
pub(crate) use bit_flip::count_damaged_ledgers;
pub use bit_flip::flip as flip_bit_of_stopped_node;
pub(crate) use board::Board;
pub(crate) use clocks::Clocks;
pub use compose::ComposeStack;
pub(crate) use disks::{Disks, PRIVATE_VARIABLE};
pub(crate) use endpoint::Endpoint;
pub use error::FaultError;
pub(crate) use injection::detect_strace;
pub(crate) use link_fault::{LinkFault, LinkState};
pub(crate) use network::{Addresses, Network};
pub use network_kind::NetworkKind;
pub(crate) use node::Node;
pub(crate) use processes::Processes;
pub(crate) use request::Names;
pub use request::{Amount, Direction, Ends, FaultName, FaultReply, FaultRequest, HealRequest};
pub(crate) use target::Target;
