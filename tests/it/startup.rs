//! A node that cannot start says why in one line; a node that can start in spite of damage does.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::recovery::{store_in_force, wait_until_admitted};
use crate::support::cluster::{Cluster, Options, wait_until};
use crate::support::ports::listening_port;
use crate::support::zookeeper::ZooKeeperServer;

/// Starts a node that must refuse to start. Returns the line that says why.
#[track_caller]
fn refusal(cluster: &mut Cluster, node: usize) -> String {
    cluster.restart(node);
    let status = cluster.nodes[node].wait_for_end();
    let log = cluster.nodes[node].log();
    assert_eq!(status.code(), Some(1), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("quorapay: ")).collect();
    assert_eq!((lines.len(), log.lines().last()), (1, lines.last().copied()), "one line, the last, says why:\n{log}");
    lines[0].to_owned()
}

/// Replaces a part of a configuration file.
#[track_caller]
pub(crate) fn edit(config: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(config, text.replace(from, to)).unwrap();
}

/// Starts a node that must refuse its settings. Returns the line that says why.
#[track_caller]
fn refused_setting(settings: &str) -> String {
    let mut cluster = Cluster::prepare(1, &Options { settings: settings.to_owned(), ..Options::default() });
    let line = refusal(&mut cluster, 0);
    assert_eq!(cluster.nodes[0].log().lines().count(), 1, "{}", cluster.nodes[0].log());
    assert!(!cluster.nodes[0].data_dir.exists(), "a node with wrong settings touches no file");
    line
}

#[test]
fn a_wrong_setting_is_named_with_its_value_and_what_to_do() {
    let line = refused_setting("heartbeat_ms = \"soon\"");
    assert!(line.contains("heartbeat_ms = \"soon\" cannot be used: set it to a whole number"), "{line}");
    let line = refused_setting("heartbeat_ms = 500");
    assert!(line.contains("heartbeat"), "{line}");
    let line = refused_setting("log_format = \"xml\"");
    assert!(line.contains("log_format = \"xml\" cannot be used: set it to text or json"), "{line}");
}

#[test]
fn only_their_owner_can_read_the_files_of_a_node() {
    let mut cluster = Cluster::start(1);
    let data_dir = cluster.nodes[0].data_dir.clone();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let readable_by_others = || {
        let files = fs::read_dir(&data_dir).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| mode(file) & 0o077 != 0).collect::<Vec<_>>()
    };
    assert_eq!(mode(&data_dir), 0o700);
    assert_eq!(readable_by_others(), Vec::<PathBuf>::new());
    cluster.kill(0);
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).unwrap();
    cluster.restart(0);
    cluster.wait_ready();
    assert_eq!(mode(&data_dir), 0o700, "a start closes a directory that was open to others");
}

#[test]
fn an_unknown_setting_is_named() {
    let line = refused_setting("colour = \"red\"");
    assert!(line.contains("there is no setting colour"), "{line}");
}

#[test]
fn a_secret_that_is_too_short_is_not_repeated() {
    let line = refused_setting("cluster_secret = \"hush-hush\"");
    assert!(line.contains("cluster_secret cannot be used") && !line.contains("hush"), "{line}");
}

#[test]
fn a_node_that_others_can_reach_needs_a_secret() {
    let mut cluster = Cluster::prepare(1, &Options::default());
    let (config, port) = (&cluster.nodes[0].config, cluster.nodes[0].peer_port);
    edit(config, &format!("peer_listen = \"127.0.0.1:{port}\""), &format!("peer_listen = \"0.0.0.0:{port}\""));
    let line = refusal(&mut cluster, 0);
    assert!(line.contains("cluster_secret") && line.contains("loopback"), "{line}");
}

#[test]
fn a_configuration_file_that_is_not_there_is_named() {
    let mut cluster = Cluster::prepare(1, &Options::default());
    fs::remove_file(&cluster.nodes[0].config).unwrap();
    let line = refusal(&mut cluster, 0);
    assert!(line.contains("node1.toml cannot be read"), "{line}");
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let mut cluster = Cluster::prepare(2, &Options::default());
    let (clients, peers) = (cluster.nodes[0].port, cluster.nodes[1].peer_port);
    let _taken = [clients, peers].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let line = refusal(&mut cluster, 0);
    assert!(line.contains(&format!("quorapay: listen = 127.0.0.1:{clients} cannot be used")), "{line}");
    let line = refusal(&mut cluster, 1);
    assert!(line.contains(&format!("quorapay: peer_listen = 127.0.0.1:{peers} cannot be used")), "{line}");
}

#[test]
fn without_zookeeper_a_node_waits_and_says_so_and_is_ready_when_it_comes() {
    let mut zookeeper = ZooKeeperServer::start();
    zookeeper.stop();
    let options = Options { zookeeper: Some(zookeeper.address()), ..Options::default() };
    let mut cluster = Cluster::prepare(3, &options);
    (0..3).for_each(|node| cluster.restart(node));
    for node in &cluster.nodes {
        wait_until("the node answers", || node.try_get("/livez").is_some_and(|answer| answer.status == 200));
        let why = node.get("/readyz").expect(503);
        assert_eq!((&why["code"], &why["zookeeper"]), (&"not_ready".into(), &"disconnected".into()));
        assert!(why["detail"].as_str().unwrap().contains("no leader"), "{why}");
        wait_until("its log says what it waits for", || node.log().contains("ZooKeeper"));
    }
    zookeeper.restart();
    cluster.wait_ready();
    cluster.nodes[0].pay("k", "external:bank", "shop", 1).expect(201);
}

#[test]
fn a_second_process_with_the_same_id_is_refused() {
    let mut cluster = Cluster::start(3);
    let second = cluster.nodes.len() - 1;
    // The third node is configured as another instance of the first.
    cluster.kill(second);
    cluster.wipe(second);
    let (first_url, second_url) = (url(&cluster, 0), url(&cluster, second));
    let config = cluster.nodes[second].config.clone();
    edit(&config, "node_id = \"node3\"", "node_id = \"node1\"");
    edit(&config, &first_url, "http://127.0.0.1:swap");
    edit(&config, &second_url, &first_url);
    edit(&config, "http://127.0.0.1:swap", &second_url);
    let before = cluster.nodes[second].log().lines().count();
    cluster.restart(second);
    let status = cluster.nodes[second].wait_for_end();
    let log: Vec<String> = cluster.nodes[second].log().lines().skip(before).map(str::to_owned).collect();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    let line = log.last().unwrap();
    assert!(line.starts_with("quorapay: ") && line.contains("another process runs as node1"), "{line}");
    cluster.wait_ready();
    cluster.nodes[0].pay("k", "external:bank", "shop", 1).expect(201);
}

fn url(cluster: &Cluster, node: usize) -> String {
    format!("http://127.0.0.1:{}", cluster.nodes[node].peer_port)
}

#[test]
fn a_second_process_on_the_same_data_directory_is_refused() {
    let mut cluster = Cluster::prepare(2, &Options::default());
    cluster.restart(0);
    wait_until("the first process runs", || cluster.nodes[0].try_get("/livez").is_some());
    let theirs = cluster.nodes[0].data_dir.display().to_string();
    edit(&cluster.nodes[1].config, &cluster.nodes[1].data_dir.display().to_string(), &theirs);
    let line = refusal(&mut cluster, 1);
    assert!(line.contains("another process uses the data directory") && line.contains(&theirs), "{line}");
}

#[test]
fn a_ledger_of_another_cluster_or_node_is_refused() {
    let mut cluster = Cluster::start(1);
    cluster.terminate(0);
    let config = cluster.nodes[0].config.clone();
    let ours = cluster.id.clone();
    edit(&config, &format!("cluster_id = \"{ours}\""), "cluster_id = \"theirs\"");
    let line = refusal(&mut cluster, 0);
    assert!(line.contains(&format!("belongs to cluster \"{ours}\"")) && line.contains("\"theirs\""), "{line}");

    let mut cluster = Cluster::start(2);
    (0..2).for_each(|node| cluster.kill(node));
    let [first, second] = [0, 1].map(|node| cluster.nodes[node].data_dir.clone());
    fs::remove_dir_all(&second).unwrap();
    fs::rename(first, second).unwrap();
    let line = refusal(&mut cluster, 1);
    assert!(line.contains("belongs to node \"node1\", but this node is \"node2\""), "{line}");
}

/// A follower whose files were changed while it did not run comes back as a learner and votes again by itself.
fn comes_back_after(damage: impl Fn(&Path)) {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let damaged = cluster.followers()[0];
    for number in 0..20 {
        let made = cluster.nodes[leader].pay(&format!("payment-{number}"), "external:bank", "shop", 1);
        made.expect(201);
    }
    cluster.wait_caught_up(damaged, leader);
    let old_store = store_in_force(&cluster, leader, damaged);
    cluster.terminate(damaged);
    damage(&cluster.nodes[damaged].data_dir);
    cluster.restart(damaged);
    wait_until_admitted(&cluster, leader, damaged, &old_store);
    cluster.wait_ready();
    let log = cluster.nodes[damaged].log();
    assert!(log.contains("the ledger is damaged and was moved aside; this node begins again as a learner"), "{log}");
    cluster.nodes[damaged].pay("afterwards", "external:bank", "shop", 1).expect(201);
    let payments = cluster.ledger().iter().filter(|entry: &&Value| entry["kind"] == "payment").count();
    assert_eq!(payments, 21);
}

/// Flips one bit of each occurrence of a text in a file. Returns their number.
pub(crate) fn flip(file: &Path, text: &str) -> usize {
    let Ok(mut bytes) = fs::read(file) else { return 0 };
    let found: Vec<usize> = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, window)| *window == text.as_bytes())
        .map(|(at, _)| at)
        .collect();
    found.iter().for_each(|at| bytes[*at] ^= 1);
    fs::write(file, bytes).unwrap();
    found.len()
}

#[test]
fn a_node_whose_ledger_has_a_flipped_bit_comes_back_as_a_learner() {
    comes_back_after(|data_dir| {
        let flipped = ["ledger.db", "ledger.db-wal"].map(|file| flip(&data_dir.join(file), "payment-7"));
        assert!(flipped.iter().sum::<usize>() > 0, "the payment is somewhere in the files");
    });
}

#[test]
fn a_node_whose_ledger_is_no_database_comes_back_as_a_learner() {
    comes_back_after(|data_dir| {
        fs::write(data_dir.join("ledger.db"), "not a database at all").unwrap();
        // SQLite would restore the file from a WAL that has every page.
        let _ = fs::remove_file(data_dir.join("ledger.db-wal"));
    });
}

#[test]
fn a_node_whose_ledger_is_gone_but_for_its_watermark_comes_back_as_a_learner() {
    comes_back_after(|data_dir| {
        for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            let _ = fs::remove_file(data_dir.join(file));
        }
    });
}

#[test]
fn settings_of_the_environment_win() {
    let cluster = Cluster::prepare(1, &Options::default());
    let port = listening_port();
    let mut command = crate::support::cluster::node_command(&cluster.nodes[0].config);
    let output = command.env("QUORAPAY_LISTEN", format!("127.0.0.1:{port}")).env("QUORAPAY_LOG_FORMAT", "xml").output();
    let line = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(line.starts_with("quorapay: log_format = \"xml\""), "{line}");
}
