//! Comparing this node's decision with the ledger's.

/// Deciding the same request with this bank gives another outcome than the ledger's. The node's state or its ledger is
/// damaged, and the node must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bank differs from the ledger: {0}")]
pub struct Divergence(pub(super) String);

/// Checks that this node decides as the ledger says.
pub(super) fn check_outcome<T: PartialEq + std::fmt::Debug>(here: &T, written: &T) -> Result<(), String> {
    if here == written { Ok(()) } else { Err(format!("it was written as {written:?}, here it is {here:?}")) }
}
