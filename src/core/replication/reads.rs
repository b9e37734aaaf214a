//! Linearizable reads without leases or clocks: the leader notes its commit index when the read arrives and confirms,
//! by a quorum round sent after that, that nobody deposed it before.

use super::effect::{Effect, Outgoing, ReadId, RequestId, RpcId};
use super::leader::Leader;
use super::message::{Request, Response};
use super::replica::{Replica, Role};
use super::types::NodeId;
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};

/// Most reads that may wait for one read index.
const MAX_WAITING_READS: usize = 65_536;

/// A read that waits at the leader for a round to be confirmed.
#[derive(Debug)]
pub(super) struct PendingRead {
    origin: Origin,
    /// The commit index when it arrived.
    index: LogIndex,
    /// The round, sent after it arrived, that must be confirmed.
    pub(super) round: u64,
}

#[derive(Clone, Copy, Debug)]
enum Origin {
    Local(ReadId),
    Peer(RpcId),
}

/// Reads at a follower: those that the question on its way covers, and those that came after it was sent.
#[derive(Debug, Default)]
pub(super) struct FollowerReads {
    asked: Option<(RequestId, Vec<ReadId>)>,
    waiting: Vec<ReadId>,
}

impl Replica {
    pub(super) fn start_read(&mut self, read: ReadId) {
        let refused = self.quarantine.is_some()
            || match &self.role {
                Role::Leader(leader) => !self.serves_reads() || leader.reads.len() >= MAX_WAITING_READS,
                Role::Follower(follower) => follower.leader.is_none() || self.reads.waiting.len() >= MAX_WAITING_READS,
                Role::Candidate(_) => true,
            };
        if refused {
            self.effects.push(Effect::ReadRefused(read));
        } else if self.is_leader() {
            self.await_round(Origin::Local(read));
        } else {
            self.reads.waiting.push(read);
        }
    }

    /// A follower asks on behalf of its readers.
    pub(super) fn on_read_index(&mut self, rpc: RpcId) {
        if self.serves_reads() {
            self.await_round(Origin::Peer(rpc));
        } else {
            self.effects.push(Effect::Respond { rpc, response: Response::Unable });
        }
    }

    /// Before its first entry is committed a leader does not know what else is.
    fn serves_reads(&self) -> bool {
        self.is_open() || (self.is_leader() && planted(Bug::ReadsBeforeEpochStart))
    }

    fn await_round(&mut self, origin: Origin) {
        let index = self.commit_index;
        let Role::Leader(leader) = &mut self.role else { return };
        let round = if planted(Bug::ReadsWithoutRound) {
            0
        } else if planted(Bug::ReadsByAnOldRound) {
            leader.round
        } else {
            leader.round + 1
        };
        leader.reads.push_back(PendingRead { origin, index, round });
        self.answer_reads();
    }

    /// Answers every read whose round a quorum has confirmed. The own confirmation needs no message.
    pub(super) fn answer_reads(&mut self) {
        let confirmed = self.quorum_value(u64::MAX, |progress| progress.confirmed_round);
        let Role::Leader(leader) = &mut self.role else { return };
        let epoch = leader.epoch;
        while let Some(read) = leader.reads.pop_front_if(|read| read.round <= confirmed) {
            self.effects.push(match read.origin {
                Origin::Local(id) => Effect::ReadReady { read: id, index: read.index },
                Origin::Peer(rpc) => {
                    Effect::Respond { rpc, response: Response::ReadIndex { epoch, commit_index: read.index } }
                }
            });
        }
    }

    pub(super) fn refuse_reads_of(&mut self, leader: Leader) {
        for read in leader.reads {
            self.effects.push(match read.origin {
                Origin::Local(id) => Effect::ReadRefused(id),
                Origin::Peer(rpc) => Effect::Respond { rpc, response: Response::Unable },
            });
        }
    }

    /// Sends one question for all reads that have gathered, if none is on its way.
    pub(super) fn ask_read_index(&mut self) {
        if self.reads.asked.is_some() || self.reads.waiting.is_empty() {
            return;
        }
        let covered = std::mem::take(&mut self.reads.waiting);
        match self.followed_leader() {
            Some(leader) => {
                let id = self.send(&leader, Outgoing::Plain(Request::ReadIndex));
                self.reads.asked = Some((id, covered));
            }
            None => self.refuse(covered),
        }
    }

    fn followed_leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader.clone(),
            Role::Candidate(_) | Role::Leader(_) => None,
        }
    }

    /// The leader has named an index. It also says what is committed, so that a read need not wait for the next append.
    pub(super) fn on_read_index_answer(&mut self, id: RequestId, epoch: Epoch, commit_index: LogIndex) {
        let Some((_, reads)) = self.reads.asked.take_if(|(asked, _)| *asked == id) else { return };
        if epoch == self.promised_epoch()
            && let Role::Follower(follower) = &self.role
        {
            self.commit_up_to(commit_index.min(follower.matched));
        }
        for read in reads {
            self.effects.push(Effect::ReadReady { read, index: commit_index });
        }
    }

    pub(super) fn on_read_index_unanswered(&mut self, id: RequestId) {
        if let Some((_, reads)) = self.reads.asked.take_if(|(asked, _)| *asked == id) {
            self.refuse(reads);
        }
    }

    fn refuse(&mut self, reads: Vec<ReadId>) {
        self.effects.extend(reads.into_iter().map(Effect::ReadRefused));
    }
}
