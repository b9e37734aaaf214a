//! Peers talk HTTP on their own port: kept-alive connections, compact binary bodies, a shared secret.
//!
//! | path | body → answer | what |
//! |---|---|---|
//! | `POST /peer/rpc` | one request of the protocol → one response | replication, elections, read indexes |
//! | `POST /peer/propose` | a batch of proposals with their request ids → their outcomes, as they become known | client writes, one hop to the leader |
//! | `POST /peer/transfer` | the wanted successor → whether it has begun | a leadership transfer, requested of the leader |
//! | `POST /peer/timeline` | indexes of entries → what this node noted of them | traces |
//! | `GET /peer/status` | → JSON | the node's status |
//! | `GET /peer/presence` | → a body that never ends | its end shows that the process is gone |
//!
//! Every request carries the cluster's id, the sender's id and, where one is set, the cluster secret; anything else is
//! rejected. With certificates, connections are TLS, both sides show one, and a node's id is the name in it: a peer speaks
//! for itself alone ([decision 21](../../../docs/decisions/0021-a-peers-name-is-in-its-certificate.md)). This module does not know what the messages mean: a [`PeerService`] answers them.
//!
//! | file | what |
//! |---|---|
//! | `identity.rs` | who may talk to whom |
//! | `client.rs` | sends requests to peers |
//! | `server.rs` | the router of the peers' port and the [`PeerService`] behind it |
//! | `network.rs` | how requests and answers travel |
//! | `sealed.rs` | connections to peers that show who they are |
//! | `wire.rs` | messages as bytes |
//! | `forwarded.rs` | a client's write on its way to the leader |
//! | `outcome.rs` | the outcome of a write, also on the wire |
//! | `outcome_stream.rs` | the outcomes of a batch, as they become known |
//! | `presence.rs` | notices within a millisecond that a peer's process is gone, and that a peer cannot be reached |

mod client;
mod forwarded;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod identity;
mod network;
mod outcome;
mod outcome_stream;
mod presence;
mod sealed;
#[cfg(test)]
mod sealed_tests;
mod server;
mod wire;

pub use client::{PeerClient, PeerError};
pub use forwarded::ForwardedWrite;
pub use identity::PeerIdentity;
pub use network::{HttpNetwork, Network, SendError};
pub use outcome::{CommittedWrite, WriteOutcome};
pub use outcome_stream::{OutcomeStream, Outcomes};
pub use presence::{PeerNotice, watch_presence};
pub use sealed::PeerSealing;
pub use server::{PeerServer, PeerService, Stopped, peer_router};
