//! The candidate: takes an epoch, collects the promises of a majority, and copies the best log among them.
//!
//! ```text
//! handler      the candidate's state and its stages
//! recovery     from the epoch over the promises of a majority to the leadership
//! log_copy     copying the best log piece by piece
//! ```

mod handler;
mod log_copy;
mod recovery;
#[cfg(test)]
mod tests;

pub(super) use handler::{Candidate, CandidateHandler};
