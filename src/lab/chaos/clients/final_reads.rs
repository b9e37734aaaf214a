//! When the cluster is whole again: what became of every open key, and every account at every node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::exchange::Ended;
use super::plan::LoadSummary;
use super::shared::Shared;
use super::step::key_state;
use super::workload::{every_account, linearizable};
use crate::history::{Ask, Subject};
use quorapay_client::KeyState;

/// How many of these reads are under way at once.
const AT_ONCE: usize = 16;

/// The rest before a read is tried again.
const REST: Duration = Duration::from_millis(50);

/// Reads until everything is answered or `end` has come, and says what was not.
pub(super) async fn read(shared: &Arc<Shared>, end: Instant) -> LoadSummary {
    let open = shared.memory().open().clone();
    let open_keys = open.len();
    let keys = open.into_iter().map(|key| (key.to_string(), None, Subject::Key(key)));
    let unsettled = read_all(shared, end, keys).await;
    let accounts = (0..shared.nodes.len())
        .flat_map(|node| every_account(shared.plan.accounts).map(move |account| (node, account)));
    let accounts = accounts.map(|(node, account)| {
        (format!("{account} at {}", shared.nodes[node].name), Some(node), Subject::Account(account))
    });
    let unread = read_all(shared, end, accounts).await;
    let count = |length: usize| u64::try_from(length).expect("a list in memory");
    LoadSummary {
        progress: shared.progress(),
        open_keys: count(open_keys),
        settled_keys: count(open_keys - unsettled.len()),
        unsettled,
        unread,
    }
}

/// Reads each subject, at the node given or at any, and returns the names of those that were not answered.
async fn read_all(
    shared: &Arc<Shared>,
    end: Instant,
    reads: impl Iterator<Item = (String, Option<usize>, Subject)>,
) -> Vec<String> {
    let mut unanswered = Vec::new();
    let mut under_way = JoinSet::new();
    for (name, node, subject) in reads {
        if under_way.len() == AT_ONCE {
            unanswered.extend(next(&mut under_way).await);
        }
        let shared = Arc::clone(shared);
        under_way.spawn(async move { (!read_one(&shared, end, node, subject).await).then_some(name) });
    }
    while !under_way.is_empty() {
        unanswered.extend(next(&mut under_way).await);
    }
    unanswered
}

async fn next(under_way: &mut JoinSet<Option<String>>) -> Option<String> {
    under_way.join_next().await?.expect("a read does not panic")
}

async fn read_one(shared: &Shared, end: Instant, node: Option<usize>, subject: Subject) -> bool {
    let is_key = matches!(subject, Subject::Key(_));
    let ask = Ask::Read(linearizable(subject));
    let process = shared.plan.processes;
    for attempt in 0.. {
        let at = node.unwrap_or(attempt % shared.nodes.len());
        let intended = shared.exchange.recorder().now();
        if let Ended::Ok(told) = shared.attempt(process, at, intended, &ask).await {
            // A key in flight is about to be one or the other.
            if !is_key || matches!(key_state(&told), Some(KeyState::Committed | KeyState::Unknown | KeyState::Fenced)) {
                return true;
            }
        }
        if Instant::now() + REST >= end {
            break;
        }
        tokio::time::sleep(REST).await;
    }
    false
}
