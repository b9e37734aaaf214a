//! The protocol's basic types: ids, hashes, positions, promises, configurations.

use std::collections::BTreeMap;
use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{Epoch, LogIndex};
use crate::time::Reading;

/// Identifies a node: 1 to 32 characters of `a-z A-Z 0-9 _ -`. A node keeps its id when its disk is replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeId(CompactString);

/// The text is not a node id.
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

/// Identifies one ledger file: random, created with the file. A wiped disk gets a new one, so that what the lost file
/// had acknowledged is never counted again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u128);

impl StoreId {
    /// Reads the 32 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(u128::from_be_bytes(bytes)))
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
    /// 64 hexadecimal digits in human-readable formats, 32 bytes between nodes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).expect("two digits for each byte");
        f.write_str(std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A position in one particular history.
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
    /// How complete a log that ends here is: recovery copies the log with the highest rank.
    #[must_use]
    pub const fn rank(&self) -> (Epoch, LogIndex) {
        (self.epoch, self.index)
    }
}

/// A node's promise to reject everything older than `epoch`. It must be durable before it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The promised epoch.
    pub epoch: Epoch,
    /// The node that took the epoch in ZooKeeper.
    pub leader: NodeId,
}

/// How far an epoch may be above the highest one known before it counts as forged. Elections are milliseconds apart at
/// best, so no cluster gets this far in thirty years; and eight million such leaps fit below the highest number that a
/// ledger can hold.
const MAX_EPOCH_LEAP: u64 = 1 << 40;

/// Whether `epoch` can have been reached by elections from `known`. Any other number was forged or comes from a defect,
/// and to accept it could use up all epochs at once.
#[must_use]
pub const fn can_follow(epoch: Epoch, known: Epoch) -> bool {
    epoch.0 <= known.0.saturating_add(MAX_EPOCH_LEAP)
}

/// One voter: a node with the ledger file that counts for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    /// The store whose acknowledgements count.
    pub store_id: StoreId,
    /// The URL at which peers reach it.
    pub peer_url: String,
}

/// The voters, as a log entry lists them. The newest configuration in a node's log is in force.
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

    /// Whether this store is the one that counts for this node.
    #[must_use]
    pub fn binds(&self, node: &NodeId, store: StoreId) -> bool {
        self.voters.get(node).is_some_and(|voter| voter.store_id == store)
    }
}

/// The current time. The protocol decides by `monotonic_ms` alone; the wall clock only contributes to the ledger's time,
/// and to the judgement of clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since a fixed moment of this process; never goes back.
    pub monotonic_ms: u64,
    /// The wall clock; may jump.
    pub unix_ms: u64,
    /// Both at the resolution at which clocks are compared.
    pub reading: Reading,
}

impl Now {
    /// The moment at which the clocks show this.
    #[must_use]
    pub const fn of(reading: Reading) -> Self {
        Self { monotonic_ms: reading.monotonic_us / 1_000, unix_ms: reading.wall_us / 1_000, reading }
    }
}
