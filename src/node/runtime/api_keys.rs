//! The API keys by which this node judges its callers, and the first key of a new ledger.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::request_id::RequestId;
use quorapay_core::domain::{
    ApiKey, ApiKeyChangeKind, ApiKeyGrant, ApiKeyId, ApiKeyName, ApiKeyState, IdempotencyKey, Operation,
    OperationRequest, Proposal, Timestamp,
};

use super::handle::NodeHandle;
use super::read_point::Consistency;
use super::submit::SubmitError;

/// All API keys as of one index.
pub type ApiKeys = BTreeMap<ApiKeyId, Arc<ApiKeyState>>;

/// The one idempotency key under which every leader writes the first API key, so that it is written once.
const FIRST_KEY: &str = "quorapay-first-api-key";
/// How long one attempt to write it may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The number that its lines in the log name it by: no request of a caller has it.
const REQUEST: RequestId = RequestId::Made(0);

impl NodeHandle {
    /// An API key as of the applied index or later.
    #[must_use]
    pub fn api_key(&self, id: ApiKeyId) -> Option<Arc<ApiKeyState>> {
        self.shared.api_keys.borrow().get(&id).map(Arc::clone)
    }

    /// All API keys as of the applied index or later.
    #[must_use]
    pub fn api_keys(&self) -> Arc<ApiKeys> {
        Arc::clone(&self.shared.api_keys.borrow())
    }

    /// The time by which this node judges what is not decided in the ledger: its own clock, but never earlier than what
    /// the ledger has reached here.
    #[must_use]
    pub fn time_for_reads(&self) -> Timestamp {
        self.wall_clock().max(self.status().applied_timestamp)
    }
}

/// As the leader of a ledger without API keys, writes the first one, which allows everything. Ends when the ledger has
/// one, and with the node.
pub(super) async fn write_first_api_key(node: NodeHandle, key: ApiKey) {
    let me = node.node_id().clone();
    loop {
        let led = node.shared.progress.wait_for(|progress| progress.leader.as_ref() == Some(&me)).await;
        if led.is_err() {
            return;
        }
        let deadline = Instant::now() + ATTEMPT;
        if attempt(&node, &key, deadline).await.is_break() {
            return;
        }
        // A moment, or until another node leads.
        if node.await_other_leader(Some(&me), deadline).await.is_err() && Instant::now() < deadline {
            return;
        }
    }
}

async fn attempt(node: &NodeHandle, key: &ApiKey, deadline: Instant) -> ControlFlow<()> {
    if node.read_point(Consistency::Linearizable, None, deadline).await.is_err() {
        return ControlFlow::Continue(());
    }
    let keys = node.api_keys();
    if !keys.is_empty() {
        let known = keys.contains_key(&key.id());
        tracing::info!(api_key = %key.id(), known, "the ledger has API keys, so the first one is not written");
        return ControlFlow::Break(());
    }
    let grant = ApiKeyGrant::everything(ApiKeyName::parse("first API key").expect("a short text"));
    let change = ApiKeyChangeKind::Create { grant: Box::new(grant), secret: key.digest() };
    let proposal = Proposal {
        key: IdempotencyKey::parse(FIRST_KEY).expect("printable"),
        request: OperationRequest::ApiKey { id: key.id(), change },
    };
    match node.submit(None, &proposal, &REQUEST, deadline).await {
        Ok(committed) => {
            match committed.entry.operation().and_then(Operation::rejection) {
                None => tracing::info!(api_key = %key.id(), index = %committed.entry.index, "wrote the first API key"),
                Some(rejection) => tracing::warn!(api_key = %key.id(), ?rejection, "the first API key was refused"),
            }
            ControlFlow::Break(())
        }
        Err(SubmitError::KeyReused | SubmitError::Fenced | SubmitError::Denied(_)) => {
            tracing::warn!(api_key = %key.id(), "another first API key was written before, or none may be");
            ControlFlow::Break(())
        }
        Err(SubmitError::Overloaded | SubmitError::NoLeader | SubmitError::Unknown) => ControlFlow::Continue(()),
    }
}
