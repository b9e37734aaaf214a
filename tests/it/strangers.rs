//! Strangers at a node's ports who pay nothing and stop nobody.

use std::io::Write;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use crate::support::cluster::{Cluster, Options};
use crate::support::http::Request;
use crate::support::payers::Payers;

/// Open files that a node may have in these tests.
const OPEN_FILES: u32 = 512;

/// More connections than the node may have files, and fewer than this process may have.
const CONNECTIONS: usize = 700;

/// How many payments show that payments continue.
const SOME: usize = 60;

/// More uploads than batches that a node works on at a time.
const SLOW_UPLOADS: usize = 20;

/// An address that is not the one of the payers.
const STRANGER: &str = "127.0.0.2:0";

async fn connect(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(STRANGER.parse().unwrap()).unwrap();
    socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap()
}

#[test]
fn idle_connections_take_no_node_its_files_and_no_payer_its_place() {
    let cluster = Cluster::start_with(3, &Options { open_files: Some(OPEN_FILES), ..Options::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let leader = &cluster.nodes[cluster.leader()];
    for port in [leader.port, leader.peer_port] {
        let connections: Vec<TcpStream> = runtime.block_on(async {
            let mut connections = Vec::with_capacity(CONNECTIONS);
            for _ in 0..CONNECTIONS {
                connections.push(connect(port).await);
            }
            connections
        });
        let payers = Payers::start(&cluster, &[0, 1, 2]);
        payers.wait_for_more(SOME);
        payers.stop().assert_no_error();
        drop(connections);
    }
    let shown = leader.get("/metrics?format=prometheus").text();
    for port in ["clients", "peers"] {
        let refused = format!("quorapay_connections_refused_total{{port=\"{port}\"}} ");
        let line = shown.lines().find_map(|line| line.strip_prefix(&refused));
        assert!(line.is_some_and(|count| count.parse::<u64>().unwrap() > 0), "{shown}");
    }
}

#[test]
fn slow_uploads_keep_no_batch_from_a_node() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let mut half = Request::post("/v1/payments/batch").key("slow").head();
    half.extend(b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n[{\"from\":");
    let uploads: Vec<std::net::TcpStream> = (0..SLOW_UPLOADS)
        .map(|_| {
            let mut upload = std::net::TcpStream::connect(("127.0.0.1", node.port)).unwrap();
            upload.write_all(&half).unwrap();
            upload
        })
        .collect();
    let payment = r#"[{"from":"external:card","to":"shop","amount":5,"currency":"EUR"}]"#;
    for number in 0..SLOW_UPLOADS {
        node.send(&Request::post("/v1/payments/batch").key(&format!("batch-{number}")).json(payment)).expect(200);
    }
    drop(uploads);
}
