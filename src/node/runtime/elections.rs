//! Why this node was elected, as far as it saw: for the log and the metrics.

use quorapay_core::replication::NodeId;

/// Why there was an election that this node won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ElectionReason {
    /// No leader was known since this node started.
    NoLeader,
    /// The leader before handed over.
    Transfer,
    /// The process of the leader before was gone.
    LeaderGone,
    /// The leader before was silent, or had stepped down.
    LeaderSilent,
}

impl ElectionReason {
    pub(super) const ALL: [Self; 4] = [Self::NoLeader, Self::Transfer, Self::LeaderGone, Self::LeaderSilent];

    /// Its name in metrics and in the log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NoLeader => "no_leader",
            Self::Transfer => "transfer",
            Self::LeaderGone => "leader_gone",
            Self::LeaderSilent => "leader_silent",
        }
    }
}

/// What this node has seen since the last leader was known.
#[derive(Debug, Default)]
pub(super) struct Elections {
    won: u64,
    led_by: Option<NodeId>,
    transferred: bool,
    gone: bool,
}

impl Elections {
    /// The leader asked this node to take over.
    pub(super) fn transferred(&mut self) {
        self.transferred = true;
    }

    /// The process of a peer is gone.
    pub(super) fn gone(&mut self, node: &NodeId) {
        self.gone |= self.led_by.as_ref() == Some(node);
    }

    /// Takes the leader that is known now and how many elections this node has won. Returns why it won another one.
    pub(super) fn follow(&mut self, me: &NodeId, leader: Option<&NodeId>, won: u64) -> Option<ElectionReason> {
        let another = std::mem::replace(&mut self.won, won) < won;
        let reason = match &self.led_by {
            _ if self.transferred => ElectionReason::Transfer,
            None => ElectionReason::NoLeader,
            Some(_) if self.gone => ElectionReason::LeaderGone,
            Some(_) => ElectionReason::LeaderSilent,
        };
        // This node may be called the leader before its epoch is open.
        let followed = leader.filter(|leader| another || *leader != me);
        if let Some(leader) = followed
            && (another || self.led_by.as_ref() != Some(leader))
        {
            *self = Self { won, led_by: Some(leader.clone()), transferred: false, gone: false };
        }
        another.then_some(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorapay_core::replication::sample::node;

    #[test]
    fn an_election_has_the_reason_that_this_node_saw() {
        let (me, other) = (node("node1"), node("node2"));
        let mut elections = Elections::default();
        assert_eq!(elections.follow(&me, None, 0), None);
        assert_eq!(elections.follow(&me, Some(&me), 0), None, "not open yet");
        assert_eq!(elections.follow(&me, Some(&me), 1), Some(ElectionReason::NoLeader));
        assert_eq!(elections.follow(&me, Some(&other), 1), None);
        elections.gone(&node("node3"));
        assert_eq!(elections.follow(&me, Some(&me), 2), Some(ElectionReason::LeaderSilent));
        elections.follow(&me, Some(&other), 2);
        elections.gone(&other);
        elections.follow(&me, None, 2);
        assert_eq!(elections.follow(&me, Some(&me), 3), Some(ElectionReason::LeaderGone));
        elections.follow(&me, Some(&other), 3);
        elections.transferred();
        assert_eq!(elections.follow(&me, Some(&me), 4), Some(ElectionReason::Transfer));
        assert_eq!(elections.follow(&me, Some(&me), 5), Some(ElectionReason::LeaderSilent), "its own leadership ended");
    }
}
