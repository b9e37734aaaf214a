//! One fault of a run, as the report has it.

use serde::Serialize;

use super::kind::FaultKind;
use crate::history::Micros;

/// One fault, from its beginning until the cluster had recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultRecord {
    /// Its number in the history.
    pub number: u64,
    /// Its kind.
    pub kind: FaultKind,
    /// The affected processes.
    pub target: String,
    /// What the interruptions of several such faults are summed up under, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<&'static str>,
    /// The node, by its number from 0, with which no majority can exchange messages in both directions meanwhile, if the
    /// fault has a form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<usize>,
    /// When it began, in microseconds of the history's clock.
    #[serde(rename = "began_us")]
    pub began: Micros,
    /// When its cause was removed.
    #[serde(rename = "healed_us")]
    pub healed: Micros,
    /// When every node was ready, a voter and caught up.
    #[serde(rename = "whole_us")]
    pub recovered: Micros,
}
