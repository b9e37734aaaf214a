//! A node's answers to a candidate, in all roles: its promise, and the entries of its log.

use super::effect::{Effect, RpcId};
use super::message::{FenceAnswer, Response};
use super::state::State;
use super::types::Now;
use crate::domain::{Epoch, LogIndex, Timestamp};

impl State {
    /// Answers a candidate that was promised `epoch`, once the promise and everything in the log are durable.
    ///
    /// A learner promises too. It may already be a voter by an entry that it does not have yet, and then the candidate
    /// needs its promise. The candidate decides whether the promise counts, by the store named in it.
    pub(super) fn respond_promised(&mut self, now: Now, rpc: RpcId, epoch: Epoch, their_commit: LogIndex) {
        let answer = self.fence_answer(now, epoch, their_commit);
        let last = answer.last.index;
        self.respond_when_durable(now, rpc, Response::Promised(Box::new(answer)), epoch, last);
    }

    pub(super) fn fence_answer(&self, now: Now, epoch: Epoch, their_commit: LogIndex) -> FenceAnswer {
        FenceAnswer {
            epoch,
            store_id: self.store_id,
            last: self.log.last(),
            commit_index: self.commit_index,
            spans: self.log.spans_above(self.commit_index.min(their_commit)),
            clock: Timestamp(now.unix_ms),
            newest_rules: self.config.newest_rules,
        }
    }

    /// A candidate copies this node's log, or the end of it.
    pub(super) fn on_fetch(&mut self, rpc: RpcId, epoch: Epoch, from_index: LogIndex, to_index: LogIndex) {
        let to_index = to_index.min(self.storage.durable_index());
        if epoch < self.promised_epoch() {
            self.respond_fenced(rpc);
        } else if from_index > to_index || from_index == LogIndex(0) {
            self.respond(rpc, Response::Unable);
        } else {
            self.emit(Effect::RespondEntries { rpc, from_index, to_index });
        }
    }
}
