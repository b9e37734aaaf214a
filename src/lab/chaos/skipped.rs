//! Kinds of faults that cannot be injected on a machine.

use serde::Serialize;

use super::kind::FaultKind;

/// A kind of fault that is not injected in this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedKind {
    /// The kind.
    pub kind: FaultKind,
    /// Why it cannot be injected.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}
