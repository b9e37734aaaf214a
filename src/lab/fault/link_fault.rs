//! What happens to the traffic between two processes.

use std::time::Duration;

use super::endpoint::Endpoint;

/// A change of the state of some links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkFault {
    /// The links, each in one direction: from, to.
    pub(crate) links: Vec<(Endpoint, Endpoint)>,
    pub(crate) state: LinkState,
    /// Nodes that a majority cannot count on meanwhile.
    pub(crate) isolated: Vec<usize>,
    /// The affected processes, for people.
    pub(crate) target: String,
    /// What the interruptions of several such faults are summed up under.
    pub(crate) form: Option<&'static str>,
    /// A node that no majority can exchange messages with in both directions: it cannot lead, and its own clients are
    /// served by nobody while another node leads.
    pub(crate) cut_off: Option<usize>,
}

/// What happens to the traffic on a link, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// Everything arrives.
    #[default]
    Healthy,
    /// Nothing arrives until the link recovers.
    Cut,
    /// Nothing arrives on connections that are opened in this direction, old or new. Replies on connections in the other
    /// direction do.
    Unconnectable,
    /// Everything arrives later, by this duration up to twice as much.
    Delayed(Duration),
    /// This many of a thousand packets are lost.
    Lossy(u16),
}
