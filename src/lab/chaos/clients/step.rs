//! Carries out one operation, with retries.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::exchange::AttemptOutcome;
use super::state::LoadState;
use crate::history::{Micros, Read, Request, Response, Subject};
use quorapay_client::KeyState;
use quorapay_core::domain::{PaymentId, Proposal};

/// Maximum number of attempts of a write. After that its key is left to the final lookups.
const MAX_ATTEMPTS: u32 = 4;

/// Pause before a retry, multiplied by the number of attempts: a dead node refuses connections within microseconds.
const RETRY_PAUSE: Duration = Duration::from_millis(40);

/// One operation of the schedule.
#[derive(Debug)]
pub(super) enum Step {
    /// A write at one node, retried at others if its outcome is unknown.
    Write { proposal: Proposal, node: usize },
    /// Two concurrent writes under one key at two nodes, the second for another process.
    Race { proposals: Box<[Proposal; 2]>, nodes: [usize; 2], rival: u32 },
    /// A read.
    Read { read: Read, node: usize },
}

impl Step {
    pub(super) async fn run(self, state: Arc<LoadState>, process: u32, intended: Micros) {
        match self {
            Self::Write { proposal, node } => write(&state, process, node, intended, proposal).await,
            Self::Race { proposals, nodes, rival } => {
                let [first, second] = *proposals;
                let one = write(&state, process, nodes[0], intended, first);
                let other = write(&state, rival, nodes[1], intended, second);
                tokio::join!(one, other);
            }
            Self::Read { read, node } => {
                let key = if let Subject::Key(key) = &read.subject { Some(key.clone()) } else { None };
                let ended = state.attempt(process, node, intended, &Request::Read(read)).await;
                if let (Some(key), AttemptOutcome::Ok(response)) = (key, ended)
                    && matches!(key_state(&response), Some(KeyState::Committed | KeyState::Fenced))
                {
                    state.memory().settled(&key);
                }
            }
        }
    }
}

/// The state of a key in the answer to a lookup.
pub(super) fn key_state(response: &Response) -> Option<KeyState> {
    #[derive(Deserialize)]
    struct State {
        state: KeyState,
    }
    serde_json::from_str::<State>(response.body.as_str()).ok().map(|lookup| lookup.state)
}

/// Attempts a write under its key at one node after another until its outcome is known or the attempts are used up.
async fn write(state: &LoadState, process: u32, node: usize, intended: Micros, proposal: Proposal) {
    let request = Request::Write(Box::new(proposal.clone()));
    let mut open = false;
    for attempt in 0..MAX_ATTEMPTS {
        let at = (node + usize::try_from(attempt).expect("a few")) % state.nodes.len();
        match state.attempt(process, at, intended, &request).await {
            AttemptOutcome::Ok(response) | AttemptOutcome::Rejected(response) => {
                state.memory().decided(&proposal, payment_id(&response));
                return;
            }
            AttemptOutcome::Refused { retryable: false } => break,
            AttemptOutcome::Refused { retryable: true } => {}
            AttemptOutcome::Unknown => open = true,
        }
        if state.is_stopping() {
            break;
        }
        tokio::time::sleep(RETRY_PAUSE * (attempt + 1)).await;
    }
    if open {
        state.memory().outcome_unknown(&proposal.key);
    }
}

/// The id of the payment in an answer. The refusal of a payment has it in a member.
fn payment_id(response: &Response) -> Option<PaymentId> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    #[derive(Deserialize)]
    struct Refusal {
        payment: Named,
    }
    let body = response.body.as_str();
    let named = serde_json::from_str::<Named>(body).ok();
    let named = named.or_else(|| serde_json::from_str::<Refusal>(body).ok().map(|refusal| refusal.payment))?;
    // Accounts have ids too, but they are no payment ids.
    PaymentId::parse(&named.id).ok()
}
