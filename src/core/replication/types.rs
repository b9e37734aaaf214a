//! The words of the protocol as types: epochs, positions, ids, the set of voters.

use std::collections::BTreeMap;
use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{Epoch, LogIndex};

/// Names a node for good: 1 to 32 characters of `a-z A-Z 0-9 _ -`. A node keeps its id when its disk is replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeId(CompactString);

/// The text is no node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node id has 1 to 32 characters, each one of A-Z a-z 0-9 _ -")]
pub struct NodeIdError;

impl NodeId {
    /// Checks and wraps a node id.
    ///
    /// # Errors
    /// [`NodeIdError`] for an empty or long text and for any other character.
    pub fn parse(text: &str) -> Result<Self, NodeIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = (1..=32).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(Self(CompactString::new(text))) } else { Err(NodeIdError) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Names one ledger file: random, made when the file is made. A wiped disk gets a new one, so that what the lost file
/// had acknowledged is never counted again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u128);

impl StoreId {
    /// Reads the 32 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for StoreId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a store id has 32 hexadecimal digits"))
    }
}

/// SHA-256 over the previous entry's hash and this entry's canonical bytes: the whole history in 32 bytes. All zero
/// before the first entry.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Serialize for Hash {
    /// People and scripts read 64 hexadecimal digits; between nodes it is 32 bytes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in one particular history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Index of the entry; zero for the empty log.
    pub index: LogIndex,
    /// Epoch of the entry.
    pub epoch: Epoch,
    /// The chain's hash up to and including the entry.
    pub hash: Hash,
}

impl Position {
    /// How complete a log that ends here is: recovery takes the greatest of a majority.
    #[must_use]
    pub const fn rank(&self) -> (Epoch, LogIndex) {
        (self.epoch, self.index)
    }
}

/// A node's durable word that it rejects everything older than `epoch`, and whose epoch it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The promised epoch.
    pub epoch: Epoch,
    /// The node to which ZooKeeper gave the epoch.
    pub leader: NodeId,
}

/// One voter: a node with the one ledger file that counts for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    /// The store whose acknowledgements count.
    pub store_id: StoreId,
    /// Where its peers reach it.
    pub peer_url: String,
}

/// Who votes, as a log entry says; the newest in a node's log is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The voters by node id.
    pub voters: BTreeMap<NodeId, Voter>,
}

impl Configuration {
    /// How many voters make a majority of the configured ones.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Whether this store of this node counts.
    #[must_use]
    pub fn binds(&self, node: &NodeId, store: StoreId) -> bool {
        self.voters.get(node).is_some_and(|voter| voter.store_id == store)
    }
}

/// A moment as the runtime sees it. The protocol decides by `monotonic_ms` alone; `unix_ms` is one of the clocks from which
/// the ledger's time is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some fixed moment of this process; never goes back.
    pub monotonic_ms: u64,
    /// The wall clock; may jump.
    pub unix_ms: u64,
}
