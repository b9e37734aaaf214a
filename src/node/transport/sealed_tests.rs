//! Nodes that know each other by their certificates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::outcome_stream::Outcomes;
use super::{
    ForwardedWrite, HttpNetwork, Network, PeerClient, PeerError, PeerIdentity, PeerSealing, PeerServer, PeerService,
    Stopped, peer_router,
};
use crate::port::{ConnectionLimits, Places, Port};
use crate::published::{Publisher, publish};
use crate::tls::samples::{Authority, write};
use crate::tls::{Keeper, Purpose, Refusal, Sealing, node_name};
use crate::traces::Noted;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{NodeId, Request, Response};

const CLUSTER: &str = "shop";
const WITHIN: Duration = Duration::from_secs(5);

/// A node that does nothing but tell its status.
#[derive(Clone)]
struct Quiet;

impl PeerService for Quiet {
    async fn rpc(&self, _: NodeId, _: Request) -> Result<Response, Stopped> {
        Err(Stopped)
    }

    fn propose(
        &self,
        _: NodeId,
        _: Vec<ForwardedWrite>,
        _: Instant,
    ) -> Result<impl Stream<Item = Outcomes> + Send + use<> + 'static, Stopped> {
        Ok(stream::empty())
    }

    async fn transfer(&self, _: Option<NodeId>) -> Result<bool, Stopped> {
        Err(Stopped)
    }

    async fn timeline(&self, _: Vec<LogIndex>) -> Result<Vec<Vec<Noted>>, Stopped> {
        Err(Stopped)
    }

    async fn status(&self) -> Result<Vec<u8>, Stopped> {
        Ok(b"\"well\"".to_vec())
    }
}

fn node(id: &str) -> NodeId {
    NodeId::parse(id).expect("an id")
}

fn identity(id: &str, peers: &BTreeMap<NodeId, String>) -> Arc<PeerIdentity> {
    Arc::new(PeerIdentity { node_id: node(id), cluster_id: CLUSTER.to_owned(), secret: None, peers: peers.clone() })
}

/// The sealing of a node with a certificate of this authority.
fn sealing(authority: &Authority, id: &str) -> (Sealing, TempDir) {
    let (folder, own_name) = (tempfile::tempdir().expect("a folder"), node_name(&node(id), CLUSTER));
    let files = write(folder.path(), &authority.issue(&[&own_name]), Some(&authority.pem()));
    let keeper = Keeper::open("peers", files, Purpose::Peers { own_name }).expect("they fit");
    (keeper.sealing(), folder)
}

/// A node that is called `node2` by the others and shows the certificate of `shown`.
async fn serve(authority: &Authority, shown: &str) -> (BTreeMap<NodeId, String>, Sealing, Publisher<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("bound"));
    let peers = BTreeMap::from([(node("node1"), "https://127.0.0.1:1".to_owned()), (node("node2"), url)]);
    let (own, _folder) = sealing(authority, shown);
    let places = Places::new(ConnectionLimits { total: 10, per_address: 10 });
    let sealed = PeerSealing::new(own.clone(), CLUSTER, &peers);
    let network = HttpNetwork::reached_at(Port::new(listener, places), Some(sealed));
    let (stop, stopping) = publish(false);
    let router = peer_router(PeerServer { identity: identity("node2", &peers), service: Quiet, stopping });
    tokio::spawn(async move { network.serve(router).await });
    (peers, own, stop)
}

/// Asks `node2` for its status, as `id` with the certificate of `shown`.
async fn ask(
    peers: &BTreeMap<NodeId, String>,
    authority: &Authority,
    id: &str,
    shown: &str,
) -> (Result<String, PeerError>, Sealing) {
    let (own, _folder) = sealing(authority, shown);
    let network = HttpNetwork::sending_sealed(PeerSealing::new(own.clone(), CLUSTER, peers));
    let client = PeerClient::new(identity(id, peers), Arc::new(network));
    (client.status(&node("node2"), WITHIN).await, own)
}

#[tokio::test]
async fn nodes_that_show_their_certificates_talk() {
    let authority = Authority::new("ca");
    let (peers, server, _stop) = serve(&authority, "node2").await;
    let (answer, client) = ask(&peers, &authority, "node1", "node1").await;
    assert_eq!(answer.expect("answered"), "well");
    for sealing in [server, client] {
        assert_eq!(Refusal::ALL.map(|refusal| sealing.refused(refusal)), [0; 4]);
    }
}

#[tokio::test]
async fn a_node_cannot_speak_for_another_one() {
    let authority = Authority::new("ca");
    let (peers, server, _stop) = serve(&authority, "node2").await;
    let (answer, _) = ask(&peers, &authority, "node1", "node3").await;
    let Err(PeerError::Refused { reason, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(reason, "the certificate of this connection is not the sender's");
    assert_eq!(server.refused(Refusal::ForeignName), 1);
}

#[tokio::test]
async fn who_is_called_must_show_that_it_is_the_one() {
    let authority = Authority::new("ca");
    let (peers, ..) = serve(&authority, "node3").await;
    let (answer, client) = ask(&peers, &authority, "node1", "node1").await;
    assert!(matches!(answer, Err(PeerError::Unreachable(_))), "nothing was sent: {answer:?}");
    assert_eq!(client.refused(Refusal::Dialled), 1);
}

#[tokio::test]
async fn a_certificate_of_another_authority_opens_nothing() {
    let (authority, other) = (Authority::new("ca"), Authority::new("ca"));
    let (peers, server, _stop) = serve(&authority, "node2").await;
    let (answer, client) = ask(&peers, &other, "node1", "node1").await;
    assert!(matches!(answer, Err(PeerError::Unreachable(_))), "{answer:?}");
    assert_eq!((client.refused(Refusal::Dialled), server.refused(Refusal::ForeignName)), (1, 0));
}

#[tokio::test]
async fn a_node_that_talks_in_clear_is_not_heard() {
    let authority = Authority::new("ca");
    let (peers, server, _stop) = serve(&authority, "node2").await;
    let plain: BTreeMap<_, _> =
        peers.iter().map(|(node, url)| (node.clone(), url.replace("https://", "http://"))).collect();
    let client = PeerClient::new(identity("node1", &plain), Arc::new(HttpNetwork::only_sending()));
    let answer: Result<String, PeerError> = client.status(&node("node2"), WITHIN).await;
    assert!(matches!(answer, Err(PeerError::Refused { .. })), "{answer:?}");
    assert_eq!(server.refused(Refusal::Plain), 1);
}
