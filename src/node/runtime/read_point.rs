//! The index as of which a read may be answered.

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::query::ReadError;
use crate::request_id::{GivenId, RequestId};
use quorapay_core::domain::{Epoch, LogIndex};

use super::handle::NodeHandle;
use super::message::Message;
use super::progress::NodeProgress;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Shows every write that was answered before the read began.
    #[default]
    Linearizable,
    /// Shows what this node has applied.
    Local,
}

/// The state as of which a read may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPoint {
    /// Everything up to here is applied on this node; answer as of here.
    pub applied_index: LogIndex,
    /// The epoch that this node follows.
    pub epoch: Epoch,
    /// Milliseconds since a leader confirmed this node's commit index; 0 for a linearizable read.
    pub staleness_ms: u64,
}

impl NodeHandle {
    /// Waits until a read of the given consistency may be answered here.
    ///
    /// # Errors
    /// [`ReadError`] if it may not within the deadline.
    pub async fn read_point(
        &self,
        consistency: Consistency,
        min_index: Option<LogIndex>,
        deadline: Instant,
    ) -> Result<ReadPoint, ReadError> {
        self.find_read_point(consistency, min_index, None, deadline).await
    }

    /// The same for the request of a client. If the client named it, the leader's log names it too.
    ///
    /// # Errors
    /// [`ReadError`] if it may not within the deadline.
    pub async fn named_read_point(
        &self,
        consistency: Consistency,
        min_index: Option<LogIndex>,
        request_id: &RequestId,
        deadline: Instant,
    ) -> Result<ReadPoint, ReadError> {
        self.find_read_point(consistency, min_index, request_id.given(), deadline).await
    }

    async fn find_read_point(
        &self,
        consistency: Consistency,
        min_index: Option<LogIndex>,
        name: Option<&GivenId>,
        deadline: Instant,
    ) -> Result<ReadPoint, ReadError> {
        if self.shared.progress.borrow().quarantined {
            return Err(ReadError::Quarantined);
        }
        if consistency == Consistency::Linearizable {
            let index = self.read_index(name, deadline).await?;
            self.await_applied(index, deadline).await?;
        }
        if let Some(index) = min_index {
            self.await_applied(index, deadline).await?;
        }
        let progress = self.shared.progress.borrow();
        let staleness_ms = match consistency {
            Consistency::Linearizable => 0,
            Consistency::Local => self.staleness_ms(&progress),
        };
        Ok(ReadPoint { applied_index: progress.applied_index, epoch: progress.epoch, staleness_ms })
    }

    fn staleness_ms(&self, progress: &NodeProgress) -> u64 {
        if progress.leader.as_ref() == Some(&self.shared.node_id) {
            return 0;
        }
        self.shared.clock.now().monotonic_ms.saturating_sub(progress.confirmed_ms.unwrap_or(0))
    }

    /// Asks for a read index until there is a leader to give one.
    async fn read_index(&self, name: Option<&GivenId>, deadline: Instant) -> Result<LogIndex, ReadError> {
        loop {
            let asked = self.shared.progress.borrow().leader.clone();
            match timeout_at(deadline, self.shared.read_indexes.ask(name.cloned())).await {
                Err(_) => return Err(ReadError::NoLeader),
                Ok(Ok(Some(index))) => return Ok(index),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(None)) => {
                    let other = self.await_other_leader(asked.as_ref(), deadline).await;
                    other.map_err(|()| ReadError::NoLeader)?;
                }
            }
        }
    }

    async fn await_applied(&self, wanted: LogIndex, deadline: Instant) -> Result<(), ReadError> {
        if self.shared.progress.borrow().applied_index >= wanted {
            return Ok(());
        }
        let (reply, applied) = oneshot::channel();
        self.shared.engine.send(Message::AwaitApplied { index: wanted, reply })?;
        match timeout_at(deadline, applied).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                Err(ReadError::NotApplied { wanted, reached: self.shared.progress.borrow().applied_index })
            }
        }
    }
}
