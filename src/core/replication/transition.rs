//! Changes of role that a handler asks for. Only the replica performs them.

use super::types::Configuration;
use crate::domain::RuleVersion;

/// The role that a node takes next. A node also becomes a follower when it accepts a leader's or candidate's epoch; the
/// replica does that by itself.
#[derive(Debug)]
#[must_use]
pub(super) enum Transition {
    /// Follower to candidate.
    BecomeCandidate,
    /// Candidate to leader of the promised epoch, by these rules. The founder of a cluster brings its first
    /// configuration.
    BecomeLeader { rules: RuleVersion, founding: Option<Configuration> },
    /// Leader or candidate to follower of nobody, at the back of the election queue.
    StepDown,
    /// Leader to follower, after it has named its successor to all nodes.
    HandOver,
}
