//! Invariant: no node finds one of the protocol's own invariants broken. They are checked after every step in every
//! build; a node that finds one broken stops.

use crate::node::Node;

pub(super) fn halted(node: &Node, reason: &str) -> ! {
    panic!("{} halted: {reason}", node.id)
}
