//! Carries out what the engine wants done: each effect becomes a task or a place in a queue, each result an event.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::ledger::{self, LedgerError, LedgerReader};
use crate::transport::{PeerClient, PeerError};
use crate::views::ViewsReader;
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::{Input, SearchId, Wanted};
use quorapay_core::replication::{
    CoordinationCommand, Entry, Event, NodeId, Outgoing, Persist, Position, Request, RequestId, Response,
};

use super::message::{Message, send_input};
use crate::query;

/// How long a follower may take to store a batch.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a source may take to read a batch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a question that needs no disk may take. A heartbeat that is lost holds up the next for so long.
const QUICK_TIMEOUT: Duration = Duration::from_millis(500);
/// How long entries that could not be read are left alone.
const READ_RETRY: Duration = Duration::from_millis(100);
/// Bytes of entries that are hashed before others get their turn.
const HASHED_AT_ONCE: usize = 1 << 20;
/// Most entries in one answer to a fetch.
const FETCH_ENTRIES: usize = 4_096;

/// What the entries of one message weigh together. One alone may weigh more: it travels by itself.
const MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// See the module. Every task that it starts ends by itself: each has its own time limit.
pub(super) struct Executor {
    pub(super) events: mpsc::Sender<Message>,
    pub(super) writes: mpsc::Sender<Persist>,
    pub(super) commands: mpsc::Sender<CoordinationCommand>,
    pub(super) peers: PeerClient,
    pub(super) ledger: LedgerReader,
    pub(super) data_dir: PathBuf,
    pub(super) views: ViewsReader,
}

impl Executor {
    pub(super) fn persist(&self, write: Persist) {
        // The core has one write on its way at a time, so there is always room. If the writer has ended, the node is
        // about to end too, and nothing more becomes durable.
        let _ = self.writes.try_send(write);
    }

    pub(super) fn coordinate(&self, command: CoordinationCommand) {
        tracing::debug!(?command, "asking ZooKeeper");
        // A command that finds no room is as good as one that ZooKeeper lost: the core asks again when it still matters.
        let _ = self.commands.try_send(command);
    }

    pub(super) fn send(&self, id: RequestId, to: NodeId, request: Outgoing) {
        let (peers, events) = (self.peers.clone(), self.events.clone());
        tokio::spawn(async move {
            let answer = peers.rpc(&to, &request, time_limit(&request)).await;
            let event = match answer {
                Ok(response) => Event::Response { id, from: to, response },
                Err(error) => {
                    if let PeerError::Refused { .. } | PeerError::Wire(_) = error {
                        tracing::warn!(%error, "a peer does not take this node's messages");
                    }
                    Event::Unanswered { id, to }
                }
            };
            send_input(&events, Input::Replication(event)).await;
        });
    }

    pub(super) fn respond_entries(&self, reply: oneshot::Sender<Response>, from: LogIndex, to: LogIndex) {
        let (ledger, events) = (self.ledger.clone(), self.events.clone());
        tokio::spawn(async move {
            let response = match read_for_peer(&ledger, from.previous(), to, FETCH_ENTRIES).await {
                Ok(Some((previous, entries))) => {
                    let entries = fitting(entries);
                    Response::Entries {
                        previous,
                        last_hash: entries.last().map_or(previous.hash, |entry| entry.hash),
                        entries: entries.iter().map(|entry| entry.unchained()).collect(),
                    }
                }
                Ok(None) => Response::Unable,
                Err(error) => {
                    report_read(&events, &error).await;
                    Response::Unable
                }
            };
            // A candidate that has given up asks again.
            let _ = reply.send(response);
        });
    }

    pub(super) fn load(&self, peer: NodeId, from: LogIndex, to: LogIndex) {
        let (ledger, events) = (self.ledger.clone(), self.events.clone());
        tokio::spawn(async move {
            // Entries travel without their hashes: a rotten one must be found here, or the follower gets the blame.
            let entries = match read_message(&ledger, from, to).await {
                Ok(entries) => entries,
                Err(error) => {
                    report_read(&events, &error).await;
                    // The core asks again at once; a disk that cannot be read just now is given a moment.
                    tokio::time::sleep(READ_RETRY).await;
                    Vec::new()
                }
            };
            send_input(&events, Input::Replication(Event::Loaded { peer, entries })).await;
        });
    }

    /// A ledger that differs from the cluster's is not opened again: the next start begins a new one as a learner.
    pub(super) fn condemn(&self, reason: &str) {
        let (data_dir, reason) = (self.data_dir.clone(), reason.to_owned());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = ledger::condemn(&data_dir, &reason) {
                tracing::error!(%error, "the ledger could not be condemned; move the data directory away by hand");
            }
        });
    }

    pub(super) fn find(&self, search: SearchId, wanted: Wanted) {
        let (views, ledger, events) = (self.views.clone(), self.ledger.clone(), self.events.clone());
        tokio::spawn(async move {
            let found = query::find(&views, &ledger, &wanted).await;
            let found = found.inspect_err(|error| tracing::error!(%error, "what a write needs could not be looked up"));
            send_input(&events, Input::Found { search, found: found.ok() }).await;
        });
    }
}

fn time_limit(request: &Outgoing) -> Duration {
    match request {
        Outgoing::Append { .. } | Outgoing::Plain(Request::Fence { .. }) => APPEND_TIMEOUT,
        Outgoing::Plain(Request::Fetch { .. }) => FETCH_TIMEOUT,
        Outgoing::Plain(Request::Append(_) | Request::PreVote | Request::ReadIndex | Request::Transfer { .. }) => {
            QUICK_TIMEOUT
        }
    }
}

/// Reads the entry at `from` and as many of those that follow it as fit one message, at least one if there is one. The
/// first only gives the place that the others follow, and may weigh as much as they do. Empty if the log does not reach
/// that far any more.
async fn read_message(ledger: &LedgerReader, from: LogIndex, to: LogIndex) -> Result<Vec<Arc<Entry>>, LedgerError> {
    let Some((_, mut entries)) = read_for_peer(ledger, from.previous(), from, 1).await? else { return Ok(Vec::new()) };
    if from < to && !entries.is_empty() {
        let most = usize::try_from(to.0 - from.0).unwrap_or(usize::MAX);
        let following = read_for_peer(ledger, from, to, most).await?;
        entries.extend(following.map_or_else(Vec::new, |(_, following)| fitting(following)));
    }
    Ok(entries)
}

/// As many of the entries as fit one message, at least the first.
fn fitting(mut entries: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
    let mut bytes = 0;
    let fits = |entry: &&Arc<Entry>| {
        let first = bytes == 0;
        bytes += entry.encoded_len();
        first || bytes <= MESSAGE_BYTES
    };
    let fitting = entries.iter().take_while(fits).count();
    entries.truncate(fitting);
    entries
}

/// A ledger that cannot be trusted takes its node out of the cluster; one that cannot be read just now does not.
async fn report_read(events: &mpsc::Sender<Message>, error: &LedgerError) {
    tracing::error!(%error, "the ledger could not be read");
    if let LedgerError::Damaged(reason) = error {
        send_input(events, Input::Replication(Event::Quarantine(reason.clone()))).await;
    }
}

/// Reads what a peer lacks; `None` if the log does not reach that far any more.
///
/// # Errors
/// As [`read_chain`]. A new leader may truncate between two statements, which looks like damage; real damage is still
/// there a moment later.
pub(super) async fn read_for_peer(
    ledger: &LedgerReader,
    previous: LogIndex,
    to: LogIndex,
    most: usize,
) -> Result<Option<(Position, Vec<Arc<Entry>>)>, LedgerError> {
    match read_chain(ledger, previous, to, most).await {
        Err(LedgerError::Damaged(_)) => {
            tokio::time::sleep(READ_RETRY).await;
            match ledger.position(previous).await? {
                Some(_) => read_chain(ledger, previous, to, most).await.map(Some),
                None => Ok(None),
            }
        }
        read => read.map(Some),
    }
}

/// Reads the place at `previous` and the entries after it up to `to`, and checks that they form an unbroken chain. At
/// most `most`; fewer, but at least one if there is one, where they are heavy.
///
/// # Errors
/// [`LedgerError::Damaged`] if they do not, and whatever reading gives.
pub(super) async fn read_chain(
    ledger: &LedgerReader,
    previous: LogIndex,
    to: LogIndex,
    most: usize,
) -> Result<(Position, Vec<Arc<Entry>>), LedgerError> {
    read_chain_within(ledger, previous, to, most, usize::MAX).await
}

/// The same with a bound of the caller's own on what the entries weigh together.
pub(super) async fn read_chain_within(
    ledger: &LedgerReader,
    previous: LogIndex,
    to: LogIndex,
    most: usize,
    most_bytes: usize,
) -> Result<(Position, Vec<Arc<Entry>>), LedgerError> {
    let place = if previous == LogIndex(0) { Some(Position::default()) } else { ledger.position(previous).await? };
    let place = place.ok_or_else(|| LedgerError::Damaged(format!("entry {previous} is missing")))?;
    let entries = ledger.entries_within(previous.next(), to, most, most_bytes).await?;
    let (mut end, mut hashed) = (place, 0);
    for entry in &entries {
        hashed += entry.encoded_len();
        if hashed >= HASHED_AT_ONCE {
            // The event loop shares this thread; a few batches take longer than it may be kept waiting.
            tokio::task::yield_now().await;
            hashed = 0;
        }
        if !entry.follows(&end) {
            return Err(LedgerError::Damaged(format!("the hash chain breaks at index {}", entry.index)));
        }
        end = entry.position();
    }
    Ok((place, entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Identity;
    use quorapay_core::domain::OperationRequest;
    use quorapay_core::replication::StoreId;
    use quorapay_core::replication::sample::{Chain, batch, item, node};

    fn heavy(bytes: usize) -> OperationRequest {
        let mut item = item("external:card", "a", 1, None);
        item.request.metadata = Some("x".repeat(bytes).into());
        batch(false, vec![item])
    }

    #[test]
    fn a_message_holds_what_fits_and_always_the_first_entry() {
        let mut chain = Chain::begun();
        for bytes in [MESSAGE_BYTES, 1, MESSAGE_BYTES / 2, MESSAGE_BYTES / 2] {
            chain.request(heavy(bytes));
        }
        let from = |index: usize| fitting(chain.entries[index..].to_vec()).len();
        assert_eq!((from(0), from(2), from(3), from(5)), (2, 1, 2, 1));
        assert_eq!(fitting(Vec::new()), []);
    }

    #[tokio::test]
    async fn entries_for_a_follower_follow_even_the_heaviest_one() {
        let mut chain = Chain::begun();
        chain.request(heavy(40 << 20));
        chain.request(heavy(40 << 20));
        chain.pay();
        let dir = tempfile::tempdir().expect("a folder");
        let identity = Identity { cluster_id: "test".to_owned(), node_id: node("node1") };
        let mut opened = ledger::open(dir.path(), &identity, || StoreId(1)).await.expect("opens");
        opened.writer.persist(&[chain.persist_after(LogIndex(0))]).await.expect("stored");
        let last = chain.last().index;
        for (from, upto) in [(1, 2), (2, 3), (3, 4), (4, 5), (5, 5)] {
            let read = read_message(&opened.reader, LogIndex(from), last).await.expect("readable");
            let index = |index: u64| usize::try_from(index).expect("small");
            assert_eq!(read, chain.entries[index(from) - 1..index(upto)], "from {from}");
        }
    }
}
