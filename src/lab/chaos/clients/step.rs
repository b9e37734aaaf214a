//! What is done on one turn, and how a write is tried again.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::exchange::Ended;
use super::shared::Shared;
use crate::history::{Ask, Micros, Read, Subject, Told};
use quorapay_client::KeyState;
use quorapay_core::domain::{PaymentId, Proposal};

/// How often a write is tried under its key before it is left to the final look-ups.
const ATTEMPTS: u32 = 4;

/// The rest before another attempt, times the attempts made: a node that is gone refuses in microseconds.
const REST: Duration = Duration::from_millis(40);

/// What is done on one turn.
#[derive(Debug)]
pub(super) enum Step {
    /// A write at one node, and at others if that one cannot say what became of it.
    Write { proposal: Proposal, node: usize },
    /// Two writes under one key at two nodes at once, the second in the name of another process.
    Race { proposals: Box<[Proposal; 2]>, nodes: [usize; 2], rival: u32 },
    /// A read.
    Read { read: Read, node: usize },
}

impl Step {
    pub(super) async fn run(self, shared: Arc<Shared>, process: u32, intended: Micros) {
        match self {
            Self::Write { proposal, node } => write(&shared, process, node, intended, proposal).await,
            Self::Race { proposals, nodes, rival } => {
                let [first, second] = *proposals;
                let one = write(&shared, process, nodes[0], intended, first);
                let other = write(&shared, rival, nodes[1], intended, second);
                tokio::join!(one, other);
            }
            Self::Read { read, node } => {
                let key = if let Subject::Key(key) = &read.of { Some(key.clone()) } else { None };
                let ended = shared.attempt(process, node, intended, &Ask::Read(read)).await;
                if let (Some(key), Ended::Ok(told)) = (key, ended)
                    && matches!(key_state(&told), Some(KeyState::Committed | KeyState::Fenced))
                {
                    shared.memory().settled(&key);
                }
            }
        }
    }
}

/// What a look-up said of a key.
pub(super) fn key_state(told: &Told) -> Option<KeyState> {
    #[derive(Deserialize)]
    struct State {
        state: KeyState,
    }
    serde_json::from_str::<State>(told.body.as_str()).ok().map(|lookup| lookup.state)
}

/// Tries a write under its key, at one node after another, until its outcome is known or the attempts are used up.
async fn write(shared: &Shared, process: u32, node: usize, intended: Micros, proposal: Proposal) {
    let ask = Ask::Write(Box::new(proposal.clone()));
    let mut open = false;
    for attempt in 0..ATTEMPTS {
        let at = (node + usize::try_from(attempt).expect("a few")) % shared.nodes.len();
        match shared.attempt(process, at, intended, &ask).await {
            Ended::Ok(told) | Ended::Rejected(told) => {
                shared.memory().decided(&proposal, payment_id(&told));
                return;
            }
            Ended::Refused { retryable: false } => break,
            Ended::Refused { retryable: true } => {}
            Ended::Unknown => open = true,
        }
        if shared.is_over() {
            break;
        }
        tokio::time::sleep(REST * (attempt + 1)).await;
    }
    if open {
        shared.memory().left_open(&proposal.key);
    }
}

/// The id of the payment in an answer; the refusal of a payment names it as a member.
fn payment_id(told: &Told) -> Option<PaymentId> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    #[derive(Deserialize)]
    struct Refusal {
        payment: Named,
    }
    let body = told.body.as_str();
    let named = serde_json::from_str::<Named>(body).ok();
    let named = named.or_else(|| serde_json::from_str::<Refusal>(body).ok().map(|refusal| refusal.payment))?;
    // Accounts have ids too, but none that is a payment's.
    PaymentId::parse(&named.id).ok()
}
