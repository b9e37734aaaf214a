//! `quorapay events`: what happens in a cluster, one line each, from the differences between what the nodes say of themselves
//! every moment. It remembers one view of the cluster, however long it runs.
//!
//! What comes and goes between two looks is not seen, except that epochs are counted. A journal that nodes keep could
//! produce the same [`Event`]s without that gap.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::CliError;
use super::connection::{Connection, block_on, print_line};
use super::exit;
use super::signals::Signals;
use super::status::off_by;
use quorapay_client::{ClusterView, NodeReport, NodeView, Rfc3339};
use quorapay_core::domain::{Epoch, Timestamp};
use quorapay_core::replication::NodeId;

const EXAMPLES: &str = "\
Examples:
  quorapay events
  quorapay events --url http://127.0.0.1:7101,http://127.0.0.1:7102 --json";

/// How often the cluster is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A follower that is so many entries behind catches up …
const BEHIND_ENTRIES: u64 = 1_000;
/// … until it is no more than so many behind.
const CAUGHT_UP_ENTRIES: u64 = 50;

/// Follow elections, nodes that come and go, quarantines and catch-ups, until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Events {
    #[command(flatten)]
    connection: Connection,
}

impl Events {
    pub(super) fn run(&self) -> Result<(), CliError> {
        block_on(self.follow())?
    }

    async fn follow(&self) -> Result<(), CliError> {
        let (mut signals, client) = (Signals::listen()?, self.connection.client()?);
        let (mut due, mut watch) = (tokio::time::interval(LOOK_EVERY), Watch::default());
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let seen = tokio::select! {
                () = signals.received() => return Ok(()),
                seen = async { due.tick().await; client.cluster().await } => seen,
            };
            // A cluster of which no node answers may do so later.
            for event in watch.look(seen.ok()) {
                let line = if self.connection.json { event.to_line() } else { event.to_string() };
                if print_line(&line).is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Event {
    /// By the wall clock of the node that was asked; absent if none answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Rfc3339>,
    /// For programs.
    kind: &'static str,
    /// The node to which it happened, if it did to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeId>,
    /// For people.
    text: String,
}

impl Event {
    /// As JSON on one line, for programs that read line by line.
    fn to_line(&self) -> String {
        serde_json::to_string(self).expect("an event is made of plain values")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let node = self.node.as_ref().map_or("-", NodeId::as_str);
        write!(f, "{at:<24}  {node:<10} {:<18} {}", self.kind, self.text)
    }
}

/// What was seen last.
#[derive(Debug, Default)]
struct Watch {
    last: Option<ClusterView>,
    answered: Option<bool>,
    behind: BTreeSet<NodeId>,
}

impl Watch {
    /// Takes what is seen now, or that no node answers. Returns what has happened since the last look.
    fn look(&mut self, seen: Option<ClusterView>) -> Vec<Event> {
        let answered = self.answered.replace(seen.is_some());
        let Some(now) = seen else {
            let lost = answered != Some(false);
            let text = "no node answers".to_owned();
            return lost.then_some(Event { at: None, kind: "silence", node: None, text }).into_iter().collect();
        };
        let at = now.nodes.iter().find(|node| node.node_id == now.node_id).and_then(|node| node.status.as_ref());
        let mut log = Log { at: at.map(|report| report.wall_clock), events: Vec::new() };
        match &self.last {
            None => log.add("watching", None, describe_leader(now.leader.as_ref(), now.epoch)),
            Some(before) => {
                if answered == Some(false) {
                    log.add("answers", None, format!("{} answers again", now.node_id));
                }
                log.leader(before, &now);
                for node in &now.nodes {
                    if let Some(earlier) = before.nodes.iter().find(|earlier| earlier.node_id == node.node_id) {
                        log.node(earlier, node);
                    }
                }
            }
        }
        self.follow_lags(&now, &mut log);
        self.last = Some(keep_reports(now, self.last.take()));
        log.events
    }

    fn follow_lags(&mut self, now: &ClusterView, log: &mut Log) {
        let leader = now.nodes.iter().find(|node| Some(&node.node_id) == now.leader.as_ref());
        let followers = leader.and_then(|leader| leader.status.as_ref()).map(|report| &report.followers);
        for (node, progress) in followers.into_iter().flatten() {
            if progress.lag >= BEHIND_ENTRIES && self.behind.insert(node.clone()) {
                log.add("behind", Some(node), format!("{} entries behind the leader", progress.lag));
            } else if progress.lag <= CAUGHT_UP_ENTRIES && self.behind.remove(node) {
                log.add("caught_up", Some(node), "has caught up with the leader".to_owned());
            }
        }
    }
}

/// What a node said last is kept while it does not answer: what it is when it comes back is compared with that.
fn keep_reports(mut now: ClusterView, before: Option<ClusterView>) -> ClusterView {
    for earlier in before.into_iter().flat_map(|before| before.nodes) {
        if let Some(node) = now.nodes.iter_mut().find(|node| node.node_id == earlier.node_id) {
            node.status = node.status.take().or(earlier.status);
        }
    }
    now
}

fn describe_leader(leader: Option<&NodeId>, epoch: Epoch) -> String {
    leader.map_or_else(|| "no leader is known".to_owned(), |leader| format!("{leader} leads in epoch {epoch}"))
}

struct Log {
    at: Option<Timestamp>,
    events: Vec<Event>,
}

impl Log {
    fn add(&mut self, kind: &'static str, node: Option<&NodeId>, text: String) {
        self.events.push(Event { at: self.at.map(Rfc3339), kind, node: node.cloned(), text });
    }

    fn leader(&mut self, before: &ClusterView, now: &ClusterView) {
        if let Some(leader) = &now.leader
            && (before.leader.as_ref() != Some(leader) || before.epoch != now.epoch)
        {
            let passed = now.epoch.0.saturating_sub(before.epoch.0);
            let missed = if passed > 1 { format!(", {passed} epochs after the last look") } else { String::new() };
            self.add("elected", Some(leader), describe_leader(Some(leader), now.epoch) + &missed);
        } else if now.leader.is_none() && before.leader.is_some() {
            self.add("no_leader", None, describe_leader(None, now.epoch));
        }
    }

    fn node(&mut self, before: &NodeView, now: &NodeView) {
        let node = Some(&now.node_id);
        match (before.reachable, now.reachable) {
            (true, false) => self.add("unreachable", node, "does not answer".to_owned()),
            (false, true) => self.add("reachable", node, "answers again".to_owned()),
            _ => {}
        }
        if let (Some(before), Some(now)) = (&before.status, &now.status) {
            self.report(before, now);
        }
    }

    fn report(&mut self, before: &NodeReport, now: &NodeReport) {
        let node = Some(&now.node_id);
        if before.store_id != now.store_id {
            self.add("new_ledger", node, "began again with an empty ledger".to_owned());
        }
        if before.role != now.role {
            self.add("role", node, format!("{}, was {}", now.role, before.role));
        }
        if let Some(reason) = now.quarantine.as_ref().filter(|_| before.quarantine.is_none()) {
            self.add("quarantined", node, reason.clone());
        }
        let own_clock = |report: &NodeReport| report.clocks.get(&report.node_id).copied();
        if let (Some(earlier), Some(clock)) = (own_clock(before), own_clock(now))
            && earlier.falseticker != clock.falseticker
        {
            let off = clock.offset_us.map_or_else(String::new, |offset_us| format!(": {}", off_by(offset_us)));
            let (kind, text) = match clock.falseticker {
                true => ("clock_false", format!("its clock is false{off}")),
                false => ("clock_right", "its clock is right again".to_owned()),
            };
            self.add(kind, node, text);
        }
        if before.zookeeper_connected != now.zookeeper_connected {
            let (kind, text) = match now.zookeeper_connected {
                true => ("zookeeper", "is connected to ZooKeeper again"),
                false => ("zookeeper_lost", "has no connection to ZooKeeper"),
            };
            self.add(kind, node, text.to_owned());
        }
        if before.rule_version != now.rule_version {
            self.add(
                "rules",
                node,
                format!("decides by rules {}, before by {}", now.rule_version, before.rule_version),
            );
        }
        if before.version != now.version {
            self.add("version", node, format!("runs {}, before {}", now.version, before.version));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    /// A cluster of two as `node1` sees it, with changes of its parts.
    fn seen(change: impl FnOnce(&mut Value)) -> Option<ClusterView> {
        let report = |id: &str, role: &str| {
            json!({
                "node_id": id, "store_id": "07".repeat(16), "cluster_id": "c", "role": role, "epoch": 3, "promised_epoch": 3,
                "leader": "node1", "last_index": 9, "commit_index": 9, "applied_index": 9, "applied_timestamp": 1,
                "projected_index": 9, "staleness_ms": 0, "zookeeper_connected": true, "elections_won": 1,
                "quarantine": null, "followers": {}, "configuration": null, "clocks": {}, "corrected_clock": null,
                "corrected_clock_error_ms": null, "time_error_ms": null, "wall_clock": 1_700_000_000_000_u64,
                "rule_version": 1, "newest_rule_version": 1, "client_url": "u", "peer_url": "p", "version": "0.1.0",
            })
        };
        let mut view = json!({"node_id": "node1", "leader": "node1", "epoch": 3, "nodes": [
            {"node_id": "node1", "peer_url": "p", "reachable": true, "status": report("node1", "leader")},
            {"node_id": "node2", "peer_url": "p", "reachable": true, "status": report("node2", "follower")},
        ]});
        change(&mut view);
        Some(serde_json::from_value(view).unwrap())
    }

    fn kinds(watch: &mut Watch, seen: Option<ClusterView>) -> Vec<&'static str> {
        watch.look(seen).into_iter().map(|event| event.kind).collect()
    }

    #[test]
    fn what_differs_from_the_last_look_is_an_event_and_what_does_not_is_none() {
        let mut watch = Watch::default();
        assert_eq!(kinds(&mut watch, seen(|_| {})), ["watching"]);
        assert!(kinds(&mut watch, seen(|_| {})).is_empty());
        let gone = |view: &mut Value| {
            view["nodes"][1] = json!({"node_id": "node2", "peer_url": "p", "reachable": false, "status": null});
        };
        assert_eq!(kinds(&mut watch, seen(gone)), ["unreachable"]);
        let anew = |view: &mut Value| {
            view["nodes"][1]["status"]["store_id"] = json!("08".repeat(16));
            view["nodes"][1]["status"]["role"] = json!("learner");
            view["nodes"][0]["status"]["followers"] =
                json!({"node2": {"matched_index": 0, "lag": 5_000, "reachable": true, "voter": false}});
        };
        assert_eq!(kinds(&mut watch, seen(anew)), ["reachable", "new_ledger", "role", "behind"]);
        let caught_up = |view: &mut Value| {
            view["nodes"][1]["status"]["store_id"] = json!("08".repeat(16));
            view["nodes"][0]["status"]["followers"] =
                json!({"node2": {"matched_index": 9, "lag": 0, "reachable": true, "voter": true}});
        };
        assert_eq!(kinds(&mut watch, seen(caught_up)), ["role", "caught_up"]);
    }

    #[test]
    fn elections_are_told_with_the_epochs_that_passed_and_silence_once() {
        let mut watch = Watch::default();
        watch.look(seen(|_| {}));
        let events = watch.look(seen(|view| (view["leader"], view["epoch"]) = (json!("node2"), json!(5))));
        assert_eq!(events[0].text, "node2 leads in epoch 5, 2 epochs after the last look");
        assert!(events[0].to_string().starts_with("2023-11-14T22:13:20.000Z  node2      elected"), "{}", events[0]);
        assert_eq!(kinds(&mut watch, None), ["silence"]);
        assert!(kinds(&mut watch, None).is_empty());
        let back = seen(|view| (view["leader"], view["epoch"]) = (Value::Null, json!(5)));
        assert_eq!(kinds(&mut watch, back), ["answers", "no_leader"]);
    }
}
