//! Hands the leadership over.

use tokio::time::{Instant, timeout_at};

use quorapay_core::engine::Input;
use quorapay_core::replication::NodeId;

use super::handle::NodeHandle;
use super::message::Message;

/// Why the leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// There is no leader.
    #[error("there is no leader")]
    NoLeader,
    /// The named node does not belong to the cluster.
    #[error("{0} is no node of this cluster")]
    NoSuchSuccessor(NodeId),
    /// No voter, or not the named one, can take over now.
    #[error("no voter to hand over to is reachable just now")]
    NoSuccessor,
    /// There was no new leader within the deadline; the old one continues, or another is elected later.
    #[error("the hand-over did not come to pass within the deadline")]
    TimedOut,
}

impl NodeHandle {
    /// Hands the leadership over to a named node, or to the best follower. Returns the new leader.
    ///
    /// # Errors
    /// [`TransferError`] says why there is no new leader.
    pub async fn transfer_leadership(&self, to: Option<NodeId>, deadline: Instant) -> Result<NodeId, TransferError> {
        let leader = self.shared.progress.borrow().leader.clone().ok_or(TransferError::NoLeader)?;
        if to.as_ref() == Some(&leader) {
            return Ok(leader);
        }
        let known = |node: &NodeId| self.shared.others.iter().any(|(other, _)| other == node);
        if let Some(node) = to.as_ref().filter(|node| **node != self.shared.node_id && !known(node)) {
            return Err(TransferError::NoSuchSuccessor(node.clone()));
        }
        let within = deadline.saturating_duration_since(Instant::now());
        let begun = if leader == self.shared.node_id {
            self.begin_transfer(to.clone()).await
        } else {
            let (peers, leader) = (self.shared.peers.clone(), leader.clone());
            let asked = self.at_home(async move { peers.transfer(&leader, to.as_ref(), within).await });
            asked.await.map_err(|_| TransferError::NoLeader)?
        };
        if !begun {
            return Err(TransferError::NoSuccessor);
        }
        let progress = &self.shared.progress;
        let other = progress.wait_for(|progress| progress.leader.as_ref().is_some_and(|now| *now != leader));
        match timeout_at(deadline, other).await {
            Ok(Ok(progress)) => progress.leader.ok_or(TransferError::NoLeader),
            Ok(Err(_)) | Err(_) => Err(TransferError::TimedOut),
        }
    }

    /// Begins to hand over, if this node leads and a successor is there.
    pub(super) async fn begin_transfer(&self, to: Option<NodeId>) -> bool {
        let wanted = to.clone();
        let can = self.shared.engine.ask(move |engine, now| {
            let fits = |node: &NodeId| wanted.as_ref().is_none_or(|wanted| wanted == node);
            let followers = engine.replica().followers(now);
            engine.replica().is_open()
                && followers.iter().any(|peer| fits(&peer.node) && peer.reachable && peer.can_succeed)
        });
        can.await.unwrap_or(false) && self.shared.engine.send(Message::Input(Input::Transfer(to))).is_ok()
    }
}
