//! Carries out the engine's effects: each becomes a task or an item of a queue, each result an event.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::blocking::Blocking;
use crate::coordination::CoordinationCommands;
use crate::ledger::{self, LedgerError, LedgerReader};
use crate::query::{self, LookupError};
use crate::request_id::GivenId;
use crate::traces::Step;
use crate::transport::{PeerClient, PeerError};
use crate::views::{ViewsError, ViewsReader};
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::{Input, LookupId, LookupRequest};
use quorapay_core::replication::{CoordinationCommand, Event, NodeId, Outgoing, Persist, Request, RequestId, Response};

use super::message::{Message, send_input};
use super::metrics::{Metrics, Verified};
use super::peer_reads::{READ_RETRY, read_for_append, read_for_fetch};
use super::repair::Quarantines;
use super::traces::{Tracing, range_sent};

/// How long a follower may take to store a batch.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the source of a fetch may take to read entries.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request that needs no disk may take. A lost heartbeat delays the next one by so much.
const MEMORY_TIMEOUT: Duration = Duration::from_millis(500);

/// See the module. Every task that it starts has a time limit of its own.
pub(super) struct Executor {
    pub(super) events: mpsc::Sender<Message>,
    pub(super) writes: mpsc::Sender<Persist>,
    pub(super) commands: CoordinationCommands,
    pub(super) peers: PeerClient,
    pub(super) ledger: LedgerReader,
    pub(super) data_dir: PathBuf,
    pub(super) views: ViewsReader,
    /// Told once the ledger is condemned and the node may begin again by itself.
    pub(super) repair: mpsc::Sender<()>,
    pub(super) blocking: Blocking,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tracing: Option<Arc<Tracing>>,
}

impl Executor {
    pub(super) fn persist(&self, write: Persist) {
        // The core has one write in progress at a time, so there is always room. If the writer has ended, the node is
        // about to stop too, and nothing more becomes durable.
        let _ = self.writes.try_send(write);
    }

    pub(super) fn coordinate(&self, command: CoordinationCommand) {
        tracing::debug!(?command, "sending a command to ZooKeeper");
        self.commands.send(command);
    }

    pub(super) fn send(&self, id: RequestId, to: NodeId, request: Outgoing, names: Vec<GivenId>) {
        let (peers, events) = (self.peers.clone(), self.events.clone());
        let tracing = self.tracing.clone().map(|tracing| (tracing, range_sent(&request), Instant::now()));
        tokio::spawn(async move {
            let answer = peers.rpc(&to, &request, &names, time_limit(&request)).await;
            if let Some((tracing, entries, began)) = tracing.filter(|_| answer.is_ok()) {
                tracing.note(Step::Send(to.clone()), entries, began);
            }
            let event = match answer {
                Ok(response) => Event::Response { id, from: to, response },
                Err(error) => {
                    if let PeerError::Refused { .. } | PeerError::Wire(_) = error {
                        tracing::warn!(%error, "a peer rejects this node's messages");
                    }
                    Event::Unanswered { id, to }
                }
            };
            send_input(&events, Input::Replication(event)).await;
        });
    }

    pub(super) fn respond_entries(&self, reply: oneshot::Sender<Response>, from: LogIndex, to: LogIndex) {
        let (ledger, events, metrics) = (self.ledger.clone(), self.events.clone(), Arc::clone(&self.metrics));
        tokio::spawn(async move {
            let response = match read_for_fetch(&ledger, from, to).await {
                Ok(Some((previous, entries))) => Response::Entries {
                    previous,
                    last_hash: entries.last().map_or(previous.hash, |entry| entry.hash),
                    entries: entries.iter().map(|entry| entry.unchained()).collect(),
                },
                Ok(None) => Response::Unable,
                Err(error) => {
                    report_read(&events, &metrics, &error).await;
                    Response::Unable
                }
            };
            // A candidate that has given up sends another request.
            let _ = reply.send(response);
        });
    }

    pub(super) fn load(&self, peer: NodeId, from: LogIndex, to: LogIndex) {
        let (ledger, events, metrics) = (self.ledger.clone(), self.events.clone(), Arc::clone(&self.metrics));
        tokio::spawn(async move {
            // Entries are sent without their hashes: damage must be found here, or it would look like the follower's.
            let entries = match read_for_append(&ledger, from, to).await {
                Ok(entries) => entries,
                Err(error) => {
                    report_read(&events, &metrics, &error).await;
                    // The core loads again at once; a disk that cannot be read now gets a moment.
                    tokio::time::sleep(READ_RETRY).await;
                    Vec::new()
                }
            };
            send_input(&events, Input::Replication(Event::Loaded { peer, entries })).await;
        });
    }

    /// Marks the ledger as condemned, because it is damaged: the next start begins a new one, as a learner. Only a node
    /// whose ledger is marked, and which will remember this, begins again by itself.
    pub(super) fn condemn(&self, reason: &str, quarantines: Quarantines, begins_again: bool) {
        let (data_dir, reason, repair) = (self.data_dir.clone(), reason.to_owned(), self.repair.clone());
        let blocking = self.blocking.clone();
        let condemning = move || {
            if let Err(error) = ledger::condemn(&data_dir, &reason) {
                tracing::error!(%error, "the ledger could not be condemned; move the data directory away by hand");
            } else if let Err(error) = quarantines.store() {
                tracing::error!(%error, "the quarantine could not be recorded; restart this node to begin again");
            } else if begins_again {
                // The receiver is gone only if the node stops anyway.
                let _ = repair.try_send(());
            }
        };
        tokio::spawn(async move { blocking.run(condemning).await });
    }

    pub(super) fn look_up(&self, id: LookupId, request: LookupRequest) {
        let (views, ledger, events) = (self.views.clone(), self.ledger.clone(), self.events.clone());
        tokio::spawn(async move {
            let gate = views.gate();
            let Some(pass) = gate.enter() else {
                return send_input(&events, Input::LookupDone { id, result: None }).await;
            };
            let result = query::look_up(&views, &ledger, &request).await;
            if let Err(LookupError::Views(ViewsError::Damaged(reason))) = &result {
                gate.report(reason.clone());
            }
            // What was looked up in views that were made anew meanwhile may be incomplete, and a decision relies on it.
            let result = result.map(|found| gate.held_open(pass).then_some(found));
            let result =
                result.inspect_err(|error| tracing::error!(%error, "what a write needs could not be looked up"));
            send_input(&events, Input::LookupDone { id, result: result.ok().flatten() }).await;
        });
    }
}

fn time_limit(request: &Outgoing) -> Duration {
    match request {
        Outgoing::Append { .. } | Outgoing::Plain(Request::Fence { .. }) => APPEND_TIMEOUT,
        Outgoing::Plain(Request::Fetch { .. }) => FETCH_TIMEOUT,
        Outgoing::Plain(
            Request::Append(_) | Request::PreVote | Request::Clock | Request::ReadIndex | Request::Transfer { .. },
        ) => MEMORY_TIMEOUT,
    }
}

/// Quarantines the node if its ledger is damaged, but not if it only cannot be read now.
async fn report_read(events: &mpsc::Sender<Message>, metrics: &Metrics, error: &LedgerError) {
    tracing::error!(%error, "the ledger could not be read");
    if let LedgerError::Damaged(reason) = error {
        metrics.verification_failed(Verified::Ledger);
        send_input(events, Input::Replication(Event::Quarantine(reason.clone()))).await;
    }
}
