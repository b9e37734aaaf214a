//! Claims to a node's id, `live/<node_id>` in ZooKeeper.

use super::*;

#[tokio::test]
async fn a_second_process_with_the_same_id_is_refused_while_the_first_one_answers() {
    let servers = ZooKeeperServer::shared().address();
    let mut first = Member::start(&servers, "twins", 1);
    first.until_rank(QueueRank::First).await;
    let mut second = Member::start(&servers, "twins", 1);
    let error = second.until_fatal().await;
    assert!(matches!(&error, CoordinationError::DuplicateNode { node, .. } if *node == node_id(1)), "{error}");
    assert!(error.to_string().contains("choose another node_id"), "{error}");
    assert_eq!(first.take_epoch(1).await, Some(Epoch(1)));
    assert_eq!(first.rank, QueueRank::First);
}

/// Creates the member znode and the queue entry of a process of node 1, with a session that stays alive.
async fn leave_behind(servers: &str, cluster: &str, peer_url: &str) -> Client {
    let mut maker = Member::start(servers, cluster, 9);
    maker.until_rank(QueueRank::First).await;
    maker.shutdown().await;
    let ghost = client(servers).await;
    let live = serde_json::json!({
        "node": "node1", "instance": "00000000-0000-0000-0000-000000000001", "peer_url": peer_url, "pid": 1
    });
    let rank = serde_json::json!({"node": "node1", "store_id": format!("{:032x}", 1)});
    let open = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let path = format!("/quorapay/{cluster}/live/node1");
    ghost.create(&path, live.to_string().as_bytes(), &open).await.unwrap();
    let numbered = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let path = format!("/quorapay/{cluster}/election/n-");
    ghost.create(&path, rank.to_string().as_bytes(), &numbered).await.unwrap();
    ghost
}

#[tokio::test]
async fn a_process_takes_over_the_id_of_one_whose_address_refuses_connections() {
    let servers = ZooKeeperServer::shared().address();
    let ghost = leave_behind(&servers, "dead", &format!("http://127.0.0.1:{}", free_port().unwrap())).await;
    let mut heir = Member::start(&servers, "dead", 1);
    heir.until_rank(QueueRank::First).await;
    assert_eq!(queue_of(&ghost, "dead").await, ["node1"]);
}

#[tokio::test]
async fn a_restarted_process_takes_its_own_address_back_and_a_displaced_one_stands_aside() {
    let servers = ZooKeeperServer::shared().address();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", port.local_addr().unwrap());
    let mut before = Member::with(config(&servers, "again", 1, &url));
    before.until_rank(QueueRank::First).await;
    let mut after = Member::with(config(&servers, "again", 1, &url));
    after.until_rank(QueueRank::First).await;
    before.until_rank(QueueRank::Absent).await;
    assert_eq!(queue_of(&client(&servers).await, "again").await, ["node1"]);
    after.shutdown().await;
    before.until_rank(QueueRank::First).await;
}

#[tokio::test]
async fn a_claim_that_somebody_forges_stops_no_node_and_its_end_gives_the_place_back() {
    let servers = ZooKeeperServer::shared().address();
    let mut member = Member::start(&servers, "forged-claim", 1);
    member.until_rank(QueueRank::First).await;
    let forger = client(&servers).await;
    let path = "/quorapay/forged-claim/live/node1";
    // Somebody answers at its address.
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let record = serde_json::json!({
        "node": "node1", "instance": "00000000-0000-0000-0000-000000000001",
        "peer_url": format!("http://{}", port.local_addr().unwrap()), "pid": 1
    });
    let of_a_session = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    // The node may be quicker and take its id back.
    let forged = async {
        forger.delete(path, None).await.unwrap();
        while forger.create(path, record.to_string().as_bytes(), &of_a_session).await.is_err() {
            let _ = forger.delete(path, None).await;
        }
    };
    timeout(TIMEOUT, forged).await.expect("forged in the end");
    member.until_rank(QueueRank::Absent).await;
    forger.delete(path, None).await.unwrap();
    member.until_rank(QueueRank::First).await;
}

#[tokio::test]
async fn a_record_that_belongs_to_no_session_is_replaced() {
    let servers = ZooKeeperServer::shared().address();
    // At the address of the record somebody answers.
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let copier = leave_behind(&servers, "copied", &format!("http://{}", port.local_addr().unwrap())).await;
    let path = "/quorapay/copied/live/node1";
    let (record, _) = copier.get_data(path).await.unwrap();
    copier.delete(path, None).await.unwrap();
    let lasting = CreateMode::Persistent.with_acls(Acls::anyone_all());
    copier.create(path, &record, &lasting).await.unwrap();
    let mut member = Member::start(&servers, "copied", 1);
    member.until_queued().await;
}

#[tokio::test]
async fn a_silent_process_is_waited_for_and_then_keeps_its_id() {
    let servers = ZooKeeperServer::shared().address();
    let _ghost = leave_behind(&servers, "silent", "no address at all").await;
    let mut settings = config(&servers, "silent", 1, "http://127.0.0.1:1");
    settings.session_timeout = Duration::from_millis(400);
    let started = Instant::now();
    let mut heir = Member::with(settings);
    let error = heir.until_fatal().await;
    assert!(matches!(error, CoordinationError::DuplicateNode { .. }), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(800), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_silent_process_loses_its_id_with_its_session() {
    let servers = ZooKeeperServer::shared().address();
    let ghost = leave_behind(&servers, "expiring", "no address at all").await;
    let mut heir = Member::start(&servers, "expiring", 1);
    heir.until_connected(true).await;
    drop(ghost);
    heir.until_rank(QueueRank::First).await;
}
