//! The reads after the recovery: every key with an unknown outcome, and every account at every node.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::exchange::AttemptOutcome;
use super::plan::LoadSummary;
use super::state::LoadState;
use super::step::key_state;
use super::workload::{every_account, linearizable};
use crate::history::{Request, Subject};
use quorapay_client::KeyState;

/// Maximum number of concurrent reads.
const MAX_CONCURRENT: usize = 16;

/// Pause before a read is retried.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Reads until everything is answered or `end` is reached. The summary names what was not answered.
pub(super) async fn read(state: &Arc<LoadState>, end: Instant) -> LoadSummary {
    let open = state.memory().open().clone();
    let open_keys = open.len();
    let keys = open.into_iter().map(|key| (key.to_string(), None, Subject::Key(key)));
    let unsettled = read_all(state, end, keys).await;
    let accounts =
        (0..state.nodes.len()).flat_map(|node| every_account(state.plan.accounts).map(move |account| (node, account)));
    let accounts = accounts.map(|(node, account)| {
        (format!("{account} at {}", state.nodes[node].name), Some(node), Subject::Account(account))
    });
    let unread = read_all(state, end, accounts).await;
    let count = |length: usize| u64::try_from(length).expect("a list in memory");
    LoadSummary {
        progress: state.progress(),
        open_keys: count(open_keys),
        settled_keys: count(open_keys - unsettled.len()),
        unsettled,
        unread,
    }
}

/// Reads each subject at the given node or at any, and returns the names of those that were not answered.
async fn read_all(
    state: &Arc<LoadState>,
    end: Instant,
    reads: impl Iterator<Item = (String, Option<usize>, Subject)>,
) -> Vec<String> {
    let mut unanswered = Vec::new();
    let mut in_flight = JoinSet::new();
    for (name, node, subject) in reads {
        if in_flight.len() == MAX_CONCURRENT {
            unanswered.extend(next(&mut in_flight).await);
        }
        let state = Arc::clone(state);
        in_flight.spawn(async move { (!read_one(&state, end, node, subject).await).then_some(name) });
    }
    while !in_flight.is_empty() {
        unanswered.extend(next(&mut in_flight).await);
    }
    unanswered
}

async fn next(in_flight: &mut JoinSet<Option<String>>) -> Option<String> {
    in_flight.join_next().await?.expect("a read does not panic")
}

async fn read_one(state: &LoadState, end: Instant, node: Option<usize>, subject: Subject) -> bool {
    let is_key = matches!(subject, Subject::Key(_));
    let request = Request::Read(linearizable(subject));
    let process = state.plan.processes;
    for attempt in 0.. {
        let at = node.unwrap_or(attempt % state.nodes.len());
        let intended = state.exchange.recorder().now();
        if let AttemptOutcome::Ok(response) = state.attempt(process, at, intended, &request).await {
            // A key in flight is about to be decided: it is read again.
            if !is_key
                || matches!(key_state(&response), Some(KeyState::Committed | KeyState::Unknown | KeyState::Fenced))
            {
                return true;
            }
        }
        if Instant::now() + RETRY_PAUSE >= end {
            break;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    false
}
