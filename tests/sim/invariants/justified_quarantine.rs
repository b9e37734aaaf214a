//! Invariant: a node quarantines itself only if its ledger is damaged. Any other difference between two chains would be
//! a bug of the protocol, and a healthy node in quarantine can cost the quorum.

use crate::node::Node;

pub(super) fn check(node: &Node) {
    let reason = node.process.as_ref().and_then(|process| process.engine.replica().quarantine());
    assert!(node.disk.is_damaged(), "{} is quarantined without damage: {reason:?}", node.id);
}
