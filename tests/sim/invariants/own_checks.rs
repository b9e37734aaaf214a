//! Invariant: no node finds one of the protocol's own invariants broken. The replica checks them after every step, in
//! every build, and halts if one is broken.

use crate::node::Node;

pub(super) fn halted(node: &Node, reason: &str) -> ! {
    panic!("{} halted: {reason}", node.id)
}
