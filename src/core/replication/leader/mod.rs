//! The leader: sends every follower what it lacks, commits what a quorum has made durable, and steps down when no
//! quorum answers.
//!
//! Each file uses only files above it in this list, by import or by call.
//! ```text
//! progress     what the leader knows about one follower
//! handler      the leader's state, and values that a quorum has reached
//! reads        read indexes, confirmed by a quorum round
//! transfer     transfer of the leadership
//! reach        moving the leadership to the node with the best links
//! rules        the rules that all nodes know
//! commit       the commit rule, the opening of the epoch, stepping down
//! membership   admission of replaced stores
//! replicate    what to send to each follower, and when
//! responses    the followers' responses
//! ```

mod commit;
mod handler;
mod membership;
mod progress;
mod reach;
mod reads;
mod replicate;
mod responses;
mod rules;
mod transfer;

pub use handler::FollowerView;
pub(super) use handler::{Leader, LeaderHandler};
pub(super) use responses::Answered;
