//! The peers' port accepts peers only.

use crate::support::cluster::{Cluster, Options};
use crate::support::http::{Connection, Request};

const SECRET: &str = "only-the-nodes-know-this";

const PATHS: [(&str, &str); 5] = [
    ("POST", "/peer/rpc"),
    ("POST", "/peer/propose"),
    ("POST", "/peer/transfer"),
    ("GET", "/peer/status"),
    ("GET", "/peer/presence"),
];

fn cluster(size: usize) -> Cluster {
    Cluster::start_with(size, &Options { settings: format!("cluster_secret = \"{SECRET}\""), ..Options::default() })
}

#[test]
fn without_the_secret_everything_on_the_peers_port_is_refused() {
    let cluster = cluster(1);
    let node = &cluster.nodes[0];
    let introduced =
        |request: Request| request.header("quorapay-cluster", &cluster.id).header("quorapay-from", &node.id);
    let wrong = ["", "wrong", "only-the-nodes-know-thi", "only-the-nodes-know-this!"];
    for (method, path) in PATHS {
        let plain = Connection::to(node.peer_port).send(&Request::new(method, path)).unwrap();
        assert_eq!(plain.status, 403, "{method} {path} of a stranger: {}", plain.text());
        for secret in wrong {
            let request = introduced(Request::new(method, path)).header("quorapay-secret", secret);
            let answer = Connection::to(node.peer_port).send(&request).unwrap();
            assert_eq!(answer.status, 403, "{method} {path} with {secret:?}: {}", answer.text());
            assert!(!answer.text().contains(SECRET), "a stranger is not told the secret");
        }
    }
    node.pay("still", "external:bank", "shop", 1).expect(201);
}

#[test]
fn the_body_of_an_unauthenticated_request_is_not_read() {
    let cluster = cluster(1);
    let mut head = Request::post("/peer/rpc").head();
    head.extend(b"content-length: 1000000000\r\n\r\n");
    let answer = Connection::to(cluster.nodes[0].peer_port).send_bytes(&head).unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
}

#[test]
fn the_peers_port_refuses_clients_and_the_clients_port_refuses_peers() {
    let cluster = cluster(1);
    let node = &cluster.nodes[0];
    for path in ["/v1/payments", "/v1/cluster", "/metrics", "/livez", "/"] {
        let answer = Connection::to(node.peer_port).send(&Request::get(path)).unwrap();
        assert!(matches!(answer.status, 403 | 404), "{path}: {} {}", answer.status, answer.text());
    }
    for (method, path) in PATHS {
        let answer = Connection::to(node.port).send(&Request::new(method, path)).unwrap();
        assert_eq!(answer.status, 404, "{method} {path}");
    }
}

#[test]
fn nodes_that_share_a_secret_pay_together_and_never_write_it_down() {
    let cluster = cluster(3);
    for (number, node) in cluster.nodes.iter().enumerate() {
        node.pay(&format!("key {number}"), "external:bank", "shop", 1).expect(201);
    }
    assert_eq!(cluster.nodes[0].balance("shop"), 3);
    let shown = cluster.nodes[0].get("/v1/cluster").text() + &cluster.nodes[0].get("/metrics").text();
    assert!(!shown.contains(SECRET) && !cluster.logs().contains(SECRET), "the secret was shown");
}

#[test]
fn a_node_with_another_secret_is_kept_out_and_its_log_says_why() {
    let mut cluster =
        Cluster::prepare(3, &Options { settings: format!("cluster_secret = \"{SECRET}\""), ..Options::default() });
    let config = &cluster.nodes[2].config;
    let other = std::fs::read_to_string(config).unwrap().replace(SECRET, "quite-another-secret");
    std::fs::write(config, other).unwrap();
    // All nodes are needed once, to found the cluster.
    (0..3).for_each(|node| cluster.restart(node));
    crate::support::cluster::wait_until("the stranger's log says what is wrong", || {
        cluster.nodes[2].log().contains("secret") || cluster.nodes[0].log().contains("secret")
    });
    for node in &cluster.nodes {
        assert_eq!(node.get("/readyz").status, 503, "{} is ready without a cluster", node.id);
    }
}
