//! Linearizable reads without leases or clocks: the leader notes its commit index when a read arrives and confirms, by
//! a quorum round sent after that, that it still led then.

use super::handler::{LeaderHandler, PendingRead, ReadOrigin, refusal};
use crate::planted::{Bug, planted};
use crate::replication::config::MAX_WAITING_READS;
use crate::replication::effect::{Effect, ReadId, RpcId};
use crate::replication::message::Response;

impl LeaderHandler<'_> {
    /// A read at this node needs a read index.
    pub(in crate::replication) fn on_local_read(&mut self, read: ReadId) {
        if self.leader.reads.len() >= MAX_WAITING_READS {
            return self.state.emit(Effect::ReadRefused(read));
        }
        self.await_round(ReadOrigin::Local(read));
    }

    /// A follower needs a read index for its own reads.
    pub(in crate::replication) fn on_peer_read(&mut self, rpc: RpcId) {
        self.await_round(ReadOrigin::Peer(rpc));
    }

    fn await_round(&mut self, origin: ReadOrigin) {
        // Until its first entry commits, a leader does not know everything that is committed.
        if !self.leader.open && !planted(Bug::ReadsBeforeEpochStart) {
            return self.state.emit(refusal(origin));
        }
        let round = if planted(Bug::ReadsWithoutRound) {
            0
        } else if planted(Bug::ReadsByAnOldRound) {
            self.leader.round
        } else {
            self.leader.round + 1
        };
        self.leader.reads.push_back(PendingRead { origin, index: self.state.commit_index, round });
        self.answer_reads();
    }

    /// Answers every read whose round a quorum has confirmed. This node's own confirmation needs no message.
    pub(super) fn answer_reads(&mut self) {
        let confirmed = self.quorum_value(u64::MAX, |progress| progress.confirmed_round);
        let epoch = self.leader.epoch;
        while let Some(read) = self.leader.reads.pop_front_if(|read| read.round <= confirmed) {
            self.state.emit(match read.origin {
                ReadOrigin::Local(id) => Effect::ReadReady { read: id, index: read.index },
                ReadOrigin::Peer(rpc) => {
                    Effect::Respond { rpc, response: Response::ReadIndex { epoch, commit_index: read.index } }
                }
            });
        }
    }
}
