//! Invariant: any two logs are equal up to the lower of their commit indexes. Equal hashes there prove it for all
//! entries before.

use crate::node::Node;

pub(super) fn check(nodes: &[Node]) {
    for (number, one) in nodes.iter().enumerate() {
        for other in &nodes[number + 1..] {
            let common = one.disk.commit_index.min(other.disk.commit_index);
            let (mine, theirs) = (one.disk.position(common), other.disk.position(common));
            assert_eq!(mine, theirs, "{} and {} differ at {common}", one.id, other.id);
        }
    }
}
