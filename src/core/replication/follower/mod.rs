//! The follower: stores what its leader sends, and campaigns when there is no leader and it is first in the queue.
//!
//! ```text
//! handler      the follower's state
//! append       matching and storing a leader's batches
//! campaign     when to become a candidate: pre-vote, queue rank, named successors
//! ```

mod append;
mod campaign;
mod handler;
#[cfg(test)]
mod tests;

pub(super) use handler::{Follower, FollowerHandler, Vote};
