//! The znodes of a cluster: their paths, contents and access lists. `docs/ZOOKEEPER.md` describes them for operators.
//!
//! It knows no session and decides nothing.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zookeeper_client::{Acl, AuthId, Permission};

use quorapay_core::domain::Epoch;
use quorapay_core::replication::{NodeId, StoreId};

/// The parent of all clusters that share a ZooKeeper.
const ROOT: &str = "/quorapay";

/// The name of an election znode before its sequence number.
const ELECTION_PREFIX: &str = "n-";

/// The paths of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    cluster: String,
}

impl Layout {
    pub(super) fn new(cluster_id: &str) -> Self {
        Self { cluster: format!("{ROOT}/{cluster_id}") }
    }

    /// The persistent znodes without data, parents first.
    pub(super) fn folders(&self) -> [String; 4] {
        [ROOT.to_owned(), self.cluster.clone(), self.election(), format!("{}/live", self.cluster)]
    }

    /// Persistent, [`EpochRecord`]: the newest epoch taken by any node.
    pub(super) fn epoch(&self) -> String {
        format!("{}/epoch", self.cluster)
    }

    /// Persistent, [`LeaderRecord`]: the node that last wrote that it leads. For operators and tools; no node relies on
    /// it.
    pub(super) fn leader(&self) -> String {
        format!("{}/leader", self.cluster)
    }

    /// Ephemeral, [`LiveRecord`]: holds the node id, so that no second process takes it.
    pub(super) fn live(&self, node: &NodeId) -> String {
        format!("{}/live/{node}", self.cluster)
    }

    /// The election queue.
    pub(super) fn election(&self) -> String {
        format!("{}/election", self.cluster)
    }

    /// The prefix for creating an ephemeral sequential znode: a new place in the queue.
    pub(super) fn new_place(&self) -> String {
        format!("{}/election/{ELECTION_PREFIX}", self.cluster)
    }

    /// Ephemeral, [`ElectionRecord`]: one place in the queue.
    pub(super) fn place(&self, ticket: &Ticket) -> String {
        format!("{}/election/{}", self.cluster, ticket.name)
    }
}

/// A place in the election queue, ordered by its sequence number. A sequence number is never an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    sequence: i64,
    name: String,
}

impl Ticket {
    /// Parses a child's name; `None` for a child that is not a place in the queue.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let sequence = name.strip_prefix(ELECTION_PREFIX)?.parse().ok()?;
        Some(Self { sequence, name: name.to_owned() })
    }

    /// The ticket with the sequence number that ZooKeeper returned.
    pub(super) fn numbered(sequence: &str) -> Option<Self> {
        Self::parse(&format!("{ELECTION_PREFIX}{sequence}"))
    }
}

/// Data of `epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EpochRecord {
    /// The newest epoch taken; zero before the first.
    pub(super) epoch: Epoch,
    /// The node that took it.
    pub(super) node: NodeId,
    /// Random, new with each write: a node that lost the answer can see whether the write was its own.
    pub(super) nonce: Uuid,
}

/// Data of `leader`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaderRecord {
    /// The epoch that it leads.
    pub(super) epoch: Epoch,
    /// The leader.
    pub(super) node: NodeId,
    /// The URL at which clients reach it.
    pub(super) url: String,
}

/// Data of a place in the election queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ElectionRecord {
    /// The node whose place this is.
    pub(super) node: NodeId,
    /// The id of its ledger file.
    pub(super) store_id: StoreId,
}

/// Data of `live/<node_id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LiveRecord {
    /// The node.
    pub(super) node: NodeId,
    /// Random, new with each process: distinguishes an earlier session of the same process from another process.
    pub(super) instance: Uuid,
    /// The URL at which its peers reach it.
    pub(super) peer_url: String,
    /// The process id, for operators.
    pub(super) pid: u32,
}

/// The content of a znode.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records hold only texts and numbers, which JSON can always express")
}

/// Parses the content of a znode. One that was edited by hand and does not parse counts as absent.
pub(super) fn decode<T: DeserializeOwned>(data: &[u8]) -> Option<T> {
    serde_json::from_slice(data).ok()
}

/// The access list of the znodes. With a credential only its holders may read or change anything. A deletion is checked
/// against the parent, so parents have the same list as their children.
pub(super) fn access(with_credential: bool) -> Vec<Acl> {
    if with_credential {
        vec![Acl::new(Permission::ALL, AuthId::authed())]
    } else {
        vec![Acl::new(Permission::ALL, AuthId::anyone())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_ordered_by_number_and_other_names_are_not_tickets() {
        let mut tickets: Vec<_> =
            ["n-0000000010", "n-0000000009", "n-x", "m-1", "n-"].into_iter().filter_map(Ticket::parse).collect();
        tickets.sort();
        let names: Vec<_> = tickets.iter().map(|ticket| ticket.name.as_str()).collect();
        assert_eq!(names, ["n-0000000009", "n-0000000010"]);
    }

    #[test]
    fn every_path_lies_under_the_cluster() {
        let layout = Layout::new("shop");
        let node = NodeId::parse("node1").expect("a valid node id");
        let ticket = Ticket::numbered("0000000003").expect("a number");
        assert_eq!(layout.epoch(), "/quorapay/shop/epoch");
        assert_eq!(layout.leader(), "/quorapay/shop/leader");
        assert_eq!(layout.live(&node), "/quorapay/shop/live/node1");
        assert_eq!(layout.place(&ticket), "/quorapay/shop/election/n-0000000003");
        assert_eq!(layout.folders(), ["/quorapay", "/quorapay/shop", "/quorapay/shop/election", "/quorapay/shop/live"]);
    }

    #[test]
    fn a_record_that_does_not_parse_counts_as_none() {
        assert_eq!(decode::<EpochRecord>(b""), None);
        assert_eq!(decode::<EpochRecord>(br#"{"epoch":"seven"}"#), None);
        let record = EpochRecord {
            epoch: Epoch(7),
            node: NodeId::parse("node1").expect("a valid node id"),
            nonce: Uuid::from_u128(1),
        };
        assert_eq!(decode(&encode(&record)), Some(record));
    }
}
