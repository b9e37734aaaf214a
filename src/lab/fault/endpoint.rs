//! The ends of a link.

/// A process on the network, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Endpoint {
    Node(usize),
    ZooKeeper(usize),
}
