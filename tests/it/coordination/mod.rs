//! The coordination against real ZooKeeper servers.
//!
//! ```text
//! claims  who runs under a node's id: processes that died, that are silent, that are copies, and records that are forged
//! ```

mod claims;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use quorapay_core::domain::Epoch;
use quorapay_core::replication::{CoordinationCommand, CoordinationEvent, NodeId, QueueRank, StoreId};
use quorapay_node::coordination::{
    self, Coordination, CoordinationConfig, CoordinationError, CoordinationNotice, Credential, Outside,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use quorapay_lab::local::free_port;

use crate::support::zookeeper::{ZooKeeperEnsemble, ZooKeeperServer};

/// Timeout of everything here.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The coordination task of one node, with the port that the node would listen on and the state that it has reported.
struct Member {
    coordination: Coordination,
    notices: mpsc::Receiver<CoordinationNotice>,
    rank: QueueRank,
    connected: bool,
    node: NodeId,
    _peer_port: Option<TcpListener>,
}

fn node_id(number: usize) -> NodeId {
    NodeId::parse(&format!("node{number}")).unwrap()
}

fn config(servers: &str, cluster: &str, number: usize, peer_url: &str) -> CoordinationConfig {
    CoordinationConfig {
        servers: servers.to_owned(),
        session_timeout: Duration::from_secs(2),
        cluster_id: cluster.to_owned(),
        node_id: node_id(number),
        nodes: (1..=9).map(node_id).collect(),
        store_id: StoreId(number as u128),
        peer_url: peer_url.to_owned(),
        client_url: format!("http://127.0.0.1:{}", 7100 + number),
        credential: None,
    }
}

impl Member {
    fn start(servers: &str, cluster: &str, number: usize) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", port.local_addr().unwrap());
        let mut member = Self::with(config(servers, cluster, number, &url));
        member._peer_port = Some(port);
        member
    }

    fn with(config: CoordinationConfig) -> Self {
        let (sender, notices) = mpsc::channel(64);
        let node = config.node_id.clone();
        let coordination = coordination::start(config, Outside::real(), sender);
        Self { coordination, notices, rank: QueueRank::Absent, connected: false, node, _peer_port: None }
    }

    async fn next(&mut self) -> CoordinationNotice {
        let notice = timeout(TIMEOUT, self.notices.recv()).await;
        let notice = notice.unwrap_or_else(|_| panic!("{} has nothing to tell", self.node));
        let notice = notice.expect("the coordination ended without a word");
        match &notice {
            CoordinationNotice::Event(CoordinationEvent::QueueRank(rank)) => self.rank = *rank,
            CoordinationNotice::Connected(connected) => self.connected = *connected,
            CoordinationNotice::Event(_) | CoordinationNotice::Fatal(_) => {}
        }
        notice
    }

    async fn until_rank(&mut self, rank: QueueRank) {
        while self.rank != rank {
            let notice = self.next().await;
            assert!(!matches!(notice, CoordinationNotice::Fatal(_)), "{}: {notice:?}", self.node);
        }
    }

    async fn until_queued(&mut self) {
        while self.rank == QueueRank::Absent {
            self.next().await;
        }
    }

    async fn until_connected(&mut self, connected: bool) {
        while self.connected != connected {
            self.next().await;
        }
    }

    async fn until_fatal(&mut self) -> CoordinationError {
        loop {
            if let CoordinationNotice::Fatal(error) = self.next().await {
                return error;
            }
        }
    }

    fn command(&self, command: CoordinationCommand) {
        self.coordination.commands.send(command);
    }

    async fn take_epoch(&mut self, at_least: u64) -> Option<Epoch> {
        self.command(CoordinationCommand::TakeEpoch { at_least: Epoch(at_least) });
        loop {
            match self.next().await {
                CoordinationNotice::Event(CoordinationEvent::EpochTaken(epoch)) => return Some(epoch),
                CoordinationNotice::Event(CoordinationEvent::EpochRefused) => return None,
                _ => {}
            }
        }
    }

    async fn shutdown(self) {
        self.coordination.shutdown(TIMEOUT).await;
    }
}

/// Starts nodes one after the other, so that their order in the queue is known: node 1 comes first.
async fn line_up(servers: &str, cluster: &str, count: usize) -> Vec<Member> {
    let mut members = Vec::new();
    for number in 1..=count {
        let mut member = Member::start(servers, cluster, number);
        member.until_rank(if number == 1 { QueueRank::First } else { QueueRank::Behind }).await;
        members.push(member);
    }
    members
}

async fn client(servers: &str) -> Client {
    Client::connector().with_session_timeout(Duration::from_secs(10)).connect(servers).await.unwrap()
}

async fn queue_of(client: &Client, cluster: &str) -> Vec<String> {
    let folder = format!("/quorapay/{cluster}/election");
    let mut names = client.list_children(&folder).await.unwrap();
    names.sort();
    let mut nodes = Vec::new();
    for name in names {
        let (data, _) = client.get_data(&format!("{folder}/{name}")).await.unwrap();
        let record: serde_json::Value = serde_json::from_slice(&data).unwrap();
        nodes.push(record["node"].as_str().unwrap().to_owned());
    }
    nodes
}

async fn json_at(client: &Client, path: &str) -> serde_json::Value {
    serde_json::from_slice(&client.get_data(path).await.unwrap().0).unwrap()
}

#[tokio::test]
async fn one_of_three_is_first_and_the_next_moves_up_when_it_leaves() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "leave", 3).await;
    let first = members.remove(0);
    let left = Instant::now();
    first.shutdown().await;
    members[0].until_rank(QueueRank::First).await;
    assert!(left.elapsed() < Duration::from_secs(1), "it took {:?}", left.elapsed());
    let observer = client(&servers).await;
    assert_eq!(queue_of(&observer, "leave").await, ["node2", "node3"]);
    assert_eq!(members[1].take_epoch(1).await, Some(Epoch(1)));
    assert_eq!(members[1].rank, QueueRank::Behind);
    assert_eq!(observer.list_children("/quorapay/leave/live").await.unwrap().len(), 2);
}

#[test]
fn a_killed_process_loses_its_place_when_its_session_expires() {
    let servers = ZooKeeperServer::shared().address();
    let start = |number| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", port.local_addr().unwrap());
        let mut settings = config(&servers, "killed", number, &url);
        settings.session_timeout = Duration::from_millis(600);
        Member::with(settings)
    };
    let victim_runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let victim = victim_runtime.block_on(async {
        let mut victim = start(1);
        victim.until_rank(QueueRank::First).await;
        victim
    });
    runtime.block_on(async {
        let mut heir = start(2);
        heir.until_rank(QueueRank::Behind).await;
        // Its sockets close without closing the session, as when a process is killed.
        victim_runtime.shutdown_background();
        drop(victim);
        heir.until_rank(QueueRank::First).await;
        heir.shutdown().await;
    });
}

#[tokio::test]
async fn a_removed_predecessor_goes_to_the_back_and_its_remover_is_first() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "remove", 3).await;
    let epoch = members[0].take_epoch(1).await.unwrap();
    let asked = Instant::now();
    members[1].command(CoordinationCommand::RemovePredecessor { node: node_id(1), epoch });
    members[1].until_rank(QueueRank::First).await;
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(250), "it took {took:?}");
    members[0].until_rank(QueueRank::Absent).await;
    members[0].until_rank(QueueRank::Behind).await;
    assert_eq!(queue_of(&client(&servers).await, "remove").await, ["node2", "node3", "node1"]);
}

#[tokio::test]
async fn a_removal_that_comes_after_a_newer_epoch_only_reports_it() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "late", 2).await;
    let old = members[0].take_epoch(1).await.unwrap();
    let new = members[0].take_epoch(1).await.unwrap();
    assert!(new > old);
    members[1].command(CoordinationCommand::RemovePredecessor { node: node_id(1), epoch: old });
    let kept = CoordinationEvent::NotRemoved { node: node_id(1), newest: new, taker: node_id(1) };
    assert_eq!(members[1].next().await, CoordinationNotice::Event(kept), "it learns who took the newest epoch");
    // Commands are executed in order: the answer to the next one shows that the removal is done.
    members[1].take_epoch(1).await.unwrap();
    assert_eq!(members[1].rank, QueueRank::Behind);
    assert_eq!(queue_of(&client(&servers).await, "late").await, ["node1", "node2"]);
}

#[tokio::test]
async fn only_the_predecessor_that_was_named_is_removed() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "named", 3).await;
    members[2].command(CoordinationCommand::RemovePredecessor { node: node_id(1), epoch: Epoch(100) });
    members[2].take_epoch(1).await.unwrap();
    assert_eq!(queue_of(&client(&servers).await, "named").await, ["node1", "node2", "node3"]);
    members[2].command(CoordinationCommand::RemovePredecessor { node: node_id(2), epoch: Epoch(100) });
    members[1].until_rank(QueueRank::Absent).await;
    members[1].until_rank(QueueRank::Behind).await;
    assert_eq!(queue_of(&client(&servers).await, "named").await, ["node1", "node3", "node2"]);
}

#[tokio::test]
async fn going_to_the_back_lets_the_next_one_stand() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "back", 2).await;
    members[0].command(CoordinationCommand::GoToBack);
    members[1].until_rank(QueueRank::First).await;
    members[0].until_rank(QueueRank::Absent).await;
    members[0].until_rank(QueueRank::Behind).await;
    members.remove(1).shutdown().await;
    members[0].until_rank(QueueRank::First).await;
    members[0].command(CoordinationCommand::GoToBack);
    members[0].until_rank(QueueRank::Absent).await;
    members[0].until_rank(QueueRank::First).await;
}

#[tokio::test]
async fn epochs_taken_at_the_same_time_are_unique_and_above_what_was_asked() {
    let servers = ZooKeeperServer::shared().address();
    let members = line_up(&servers, "epochs", 3).await;
    let takers = members.into_iter().map(|mut member| {
        tokio::spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..10 {
                taken.extend(member.take_epoch(5).await);
            }
            taken
        })
    });
    let mut all = Vec::new();
    for taker in takers {
        let taken = taker.await.unwrap();
        assert!(taken.is_sorted() && taken[0] >= Epoch(5), "{taken:?}");
        all.extend(taken);
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "an epoch was given twice");
    let mut late = Member::start(&servers, "epochs", 4);
    late.until_connected(true).await;
    late.until_rank(QueueRank::First).await;
    assert_eq!(late.take_epoch(1_000).await, Some(Epoch(1_000)));
    assert_eq!(late.take_epoch(7).await, Some(Epoch(1_001)));
}

#[tokio::test]
async fn a_forged_epoch_counter_is_replaced() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "forged", 2).await;
    assert_eq!(members[0].take_epoch(1).await, Some(Epoch(1)));
    let forger = client(&servers).await;
    for forged in [u64::MAX, i64::MAX as u64, 1 << 50] {
        let record = format!(r#"{{"epoch":{forged},"node":"node9","nonce":"00000000-0000-0000-0000-000000000009"}}"#);
        forger.set_data("/quorapay/forged/epoch", record.as_bytes(), None).await.unwrap();
        assert_eq!(members[0].take_epoch(2).await, Some(Epoch(2)), "{forged} does not count");
    }
    assert_eq!(members[1].take_epoch(2).await, Some(Epoch(3)));
}

#[tokio::test]
async fn places_that_no_node_of_the_cluster_took_hold_nobody_up() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "places", 2).await;
    let forger = client(&servers).await;
    let lasting = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let stranger = format!(r#"{{"node":"stranger","store_id":"{:032x}"}}"#, 9);
    for (name, data) in [("n--1", stranger.as_str()), ("n--2", "no record at all")] {
        forger.create(&format!("/quorapay/places/election/{name}"), data.as_bytes(), &lasting).await.unwrap();
    }
    members[0].command(CoordinationCommand::GoToBack);
    members[1].until_rank(QueueRank::First).await;
    members[0].until_rank(QueueRank::Behind).await;
    members.pop().unwrap().shutdown().await;
    members[0].until_rank(QueueRank::First).await;
}

#[tokio::test]
async fn the_leader_znode_names_the_leader_of_the_newest_epoch() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "leader", 2).await;
    for (publisher, epoch) in [(0, 3), (1, 4), (0, 3)] {
        members[publisher].command(CoordinationCommand::PublishLeader { epoch: Epoch(epoch) });
        members[publisher].take_epoch(1).await.unwrap();
    }
    let named = json_at(&client(&servers).await, "/quorapay/leader/leader").await;
    assert_eq!(named, serde_json::json!({"epoch": 4, "node": "node2", "url": "http://127.0.0.1:7102"}));
}

#[tokio::test]
async fn the_leader_is_named_though_zookeeper_was_away_and_again_though_the_znode_was_lost() {
    let mut server = ZooKeeperServer::start();
    let mut leader = Member::start(&server.address(), "named-again", 1);
    leader.until_rank(QueueRank::First).await;
    server.stop();
    leader.until_connected(false).await;
    leader.command(CoordinationCommand::PublishLeader { epoch: Epoch(5) });
    server.restart();
    let observer = client(&server.address()).await;
    for _ in 0..2 {
        let named = async { while observer.get_data("/quorapay/named-again/leader").await.is_err() {} };
        timeout(TIMEOUT, named).await.expect("the leader is named");
        assert_eq!(json_at(&observer, "/quorapay/named-again/leader").await["epoch"], 5);
        observer.delete("/quorapay/named-again/leader", None).await.unwrap();
    }
}

#[tokio::test]
async fn znodes_that_somebody_deleted_are_made_again() {
    let servers = ZooKeeperServer::shared().address();
    let mut members = line_up(&servers, "deleted", 2).await;
    assert_eq!(members[0].take_epoch(6).await, Some(Epoch(6)));
    let vandal = client(&servers).await;
    for folder in ["election", "live"] {
        for child in vandal.list_children(&format!("/quorapay/deleted/{folder}")).await.unwrap() {
            vandal.delete(&format!("/quorapay/deleted/{folder}/{child}"), None).await.unwrap();
        }
    }
    for member in &mut members {
        member.until_rank(QueueRank::Absent).await;
        member.until_queued().await;
    }
    let mut nodes = queue_of(&vandal, "deleted").await;
    nodes.sort();
    assert_eq!(nodes, ["node1", "node2"]);
    vandal.delete("/quorapay/deleted/epoch", None).await.unwrap();
    assert_eq!(members[0].take_epoch(7).await, None, "there is nothing to count with");
    assert_eq!(members[0].take_epoch(7).await, Some(Epoch(7)), "the counter was made again");
}

#[tokio::test]
async fn queue_ranks_are_restored_after_a_server_was_away() {
    let mut server = ZooKeeperServer::start();
    let mut members = line_up(&server.address(), "away", 2).await;
    server.stop();
    for member in &mut members {
        member.until_connected(false).await;
        assert_eq!(member.rank, QueueRank::Absent);
        assert_eq!(member.take_epoch(1).await, None, "no epoch can be had without ZooKeeper");
    }
    server.restart();
    for member in &mut members {
        member.until_connected(true).await;
    }
    members[0].until_rank(QueueRank::First).await;
    members[1].until_rank(QueueRank::Behind).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_and_found_again() {
    let server = ZooKeeperServer::start();
    let mut member = Member::start(&server.address(), "hangs", 1);
    member.until_rank(QueueRank::First).await;
    server.pause();
    member.until_connected(false).await;
    assert_eq!(member.rank, QueueRank::Absent);
    server.resume();
    member.until_rank(QueueRank::First).await;
    assert!(member.connected);
}

#[tokio::test]
async fn znodes_are_created_again_after_zookeeper_lost_its_data() {
    let mut server = ZooKeeperServer::start();
    let mut members = line_up(&server.address(), "wiped", 2).await;
    assert_eq!(members[0].take_epoch(41).await, Some(Epoch(41)));
    server.restart_empty();
    for member in &mut members {
        member.until_rank(QueueRank::Absent).await;
        member.until_queued().await;
    }
    assert_eq!(queue_of(&client(&server.address()).await, "wiped").await.len(), 2);
    assert_eq!(members[0].take_epoch(42).await, Some(Epoch(42)));
    assert_eq!(members[1].take_epoch(42).await, Some(Epoch(43)));
}

#[tokio::test]
async fn a_node_that_starts_before_zookeeper_waits_for_it() {
    let mut server = ZooKeeperServer::start();
    server.stop();
    let mut member = Member::start(&server.address(), "early", 1);
    assert_eq!(member.next().await, CoordinationNotice::Connected(false));
    assert_eq!(member.take_epoch(1).await, None);
    server.restart();
    member.until_rank(QueueRank::First).await;
    member.shutdown().await;
}

#[tokio::test]
async fn an_ensemble_may_lose_its_leading_server() {
    let mut ensemble = ZooKeeperEnsemble::start(3);
    let mut members = line_up(&ensemble.addresses(), "ensemble", 3).await;
    let epoch = members[0].take_epoch(1).await.unwrap();
    let leader = ensemble.leader();
    ensemble.servers[leader].stop();
    for member in &mut members {
        member.until_connected(false).await;
    }
    for member in &mut members {
        member.until_queued().await;
    }
    let next = loop {
        if let Some(next) = members[2].take_epoch(1).await {
            break next;
        }
        members[2].until_connected(true).await;
    };
    assert!(next > epoch);
}

#[tokio::test]
async fn without_the_credential_protected_znodes_can_be_neither_read_nor_changed() {
    // The parent znode of all clusters belongs to its creator, so this test needs its own server.
    let server = ZooKeeperServer::start();
    let mut settings = config(&server.address(), "locked", 1, "http://127.0.0.1:1");
    settings.credential = Some(Credential { user: "quorapay".to_owned(), password: "s3cret".to_owned() });
    assert!(!format!("{settings:?}").contains("s3cret"));
    let mut member = Member::with(settings);
    member.until_rank(QueueRank::First).await;
    assert_eq!(member.take_epoch(1).await, Some(Epoch(1)));

    let owner = client(&server.address()).await;
    owner.auth("digest", b"quorapay:s3cret").await.unwrap();
    assert_eq!(queue_of(&owner, "locked").await, ["node1"]);
    let rank = owner.list_children("/quorapay/locked/election").await.unwrap().remove(0);
    let rank = format!("/quorapay/locked/election/{rank}");
    let stranger = client(&server.address()).await;
    assert_eq!(stranger.list_children("/quorapay/locked/election").await, Err(Error::NoAuth));
    assert_eq!(stranger.get_data("/quorapay/locked/epoch").await.unwrap_err(), Error::NoAuth);
    assert_eq!(stranger.delete(&rank, None).await, Err(Error::NoAuth));
    assert_eq!(stranger.delete("/quorapay/locked/live/node1", None).await, Err(Error::NoAuth));
    assert_eq!(stranger.set_data("/quorapay/locked/epoch", b"{}", None).await, Err(Error::NoAuth));

    let mut unknown = Member::start(&server.address(), "locked", 2);
    let error = unknown.until_fatal().await;
    assert!(matches!(error, CoordinationError::AccessRefused { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_list_of_servers_is_reported_at_once() {
    let server = ZooKeeperServer::shared().address();
    let mut member = Member::with(config("zookeeper:port", "wrong", 1, "http://127.0.0.1:1"));
    assert!(matches!(member.until_fatal().await, CoordinationError::BadServers { .. }));
    let chroot = format!("{server}/nowhere");
    let mut member = Member::with(config(&chroot, "wrong", 1, "http://127.0.0.1:1"));
    assert!(matches!(member.until_fatal().await, CoordinationError::NoChroot { .. }));
}
