//! The leader: sends every follower what it lacks, commits what a quorum has made durable, and steps down when no quorum
//! answers.
//!
//! ```text
//! progress     what the leader knows about one follower
//! handler      the leader's state, and values that a quorum has reached
//! replicate    what to send to each follower, and when
//! responses    the followers' responses
//! commit       the commit rule, and the opening of the epoch
//! reads        read indexes, confirmed by a quorum round
//! membership   admission of replaced stores
//! transfer     transfer of the leadership
//! ```
//!
//! The handler's methods call each other downwards in this order: `responses` use `commit` and `reads`, `commit` uses
//! `transfer`, `replicate` uses `membership`; all use `handler` and `progress`.

mod commit;
mod handler;
mod membership;
mod progress;
mod reads;
mod replicate;
mod responses;
mod transfer;

pub use handler::FollowerView;
pub(super) use handler::{Leader, LeaderHandler};
pub(super) use responses::Answered;
