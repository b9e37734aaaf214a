//! Log entries, their canonical bytes and the hash chain over them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::types::{Configuration, Hash, NodeId, Position};
use crate::domain::{
    ApiKeyChangeKind, ApiKeyId, Bank, DecidedItem, Divergence, Epoch, LogIndex, Operation, RuleVersion, Stamp,
    Timestamp, Undo,
};

/// Approximate size of a payment without free text.
const PLAIN_ENTRY_BYTES: usize = 256;

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryBody {
    /// The first entry of every epoch: once it is committed, everything before it is.
    EpochStart {
        /// The leader of the epoch.
        leader: NodeId,
        /// The rules by which every entry is decided from here to the next start of an epoch.
        rules: RuleVersion,
    },
    /// The voters from here on.
    Configuration(Configuration),
    /// An operation that the bank decided.
    Operation(Operation),
}

/// One row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Dense from 1.
    pub index: LogIndex,
    /// The epoch of the leader that appended it.
    pub epoch: Epoch,
    /// The ledger's time when the leader appended it; never less than that of the entry before.
    pub timestamp: Timestamp,
    /// The API key of the caller who asked for it; `None` if nobody did, and for callers without a key.
    pub principal: Option<ApiKeyId>,
    /// The content.
    pub body: EntryBody,
    /// The chain's hash up to and including this entry.
    pub hash: Hash,
}

/// An entry as it is sent: without its hash, which the receiver computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnchainedEntry {
    /// Dense from 1.
    pub index: LogIndex,
    /// The epoch of the leader that appended it.
    pub epoch: Epoch,
    /// The ledger's time when the leader appended it.
    pub timestamp: Timestamp,
    /// The API key of the caller who asked for it; `None` if nobody did, and for callers without a key.
    pub principal: Option<ApiKeyId>,
    /// The content.
    pub body: EntryBody,
}

impl UnchainedEntry {
    /// Joins the entry to the chain that ends in `previous`.
    ///
    /// The canonical bytes are the postcard encoding (a documented, stable format) of index, epoch, timestamp,
    /// principal and body in this order; variants of [`EntryBody`] may be added at the end, never reordered.
    #[must_use]
    pub fn chain(self, previous: &Hash) -> Entry {
        let Self { index, epoch, timestamp, principal, body } = self;
        let hash = chained_hash(previous, (index, epoch, timestamp, principal), &body);
        Entry { index, epoch, timestamp, principal, body, hash }
    }

    /// Reads the canonical bytes of one entry; `None` if they are not exactly that.
    #[must_use]
    pub fn from_canonical(bytes: &[u8]) -> Option<Self> {
        // The fields are declared in the order of the canonical bytes.
        postcard::take_from_bytes(bytes).ok().and_then(|(entry, rest)| rest.is_empty().then_some(entry))
    }
}

impl Entry {
    /// The position of this entry.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { index: self.index, epoch: self.epoch, hash: self.hash }
    }

    /// The entry's timestamp, epoch and index.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        Stamp { timestamp: self.timestamp, epoch: self.epoch, index: self.index }
    }

    /// Whether the entry follows `previous` in an unbroken chain: next index, epoch not smaller, hash as computed.
    #[must_use]
    pub fn follows(&self, previous: &Position) -> bool {
        self.index == previous.index.next()
            && self.epoch >= previous.epoch
            && self.hash == chained_hash(&previous.hash, self.head(), &self.body)
    }

    const fn head(&self) -> Head {
        (self.index, self.epoch, self.timestamp, self.principal)
    }

    /// The entry as it is sent.
    #[must_use]
    pub fn unchained(&self) -> UnchainedEntry {
        let (index, epoch, timestamp, principal) = self.head();
        UnchainedEntry { index, epoch, timestamp, principal, body: self.body.clone() }
    }

    /// Appends the entry's canonical bytes; see [`UnchainedEntry::chain`].
    pub fn append_canonical(&self, bytes: &mut Vec<u8>) {
        *bytes = canonical(self.head(), &self.body, std::mem::take(bytes));
    }

    /// The entry's approximate size in memory and on the wire, by which batches are bounded.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match &self.body {
            EntryBody::Operation(Operation::Payment(payment)) => PLAIN_ENTRY_BYTES + payment.request.text_bytes(),
            EntryBody::Operation(Operation::Batch(batch)) => {
                let item = |item: &DecidedItem| PLAIN_ENTRY_BYTES + item.request.text_bytes();
                PLAIN_ENTRY_BYTES + batch.items.iter().map(item).sum::<usize>()
            }
            EntryBody::Operation(Operation::ApiKey(change)) => match &change.change {
                ApiKeyChangeKind::Create { grant, .. } => PLAIN_ENTRY_BYTES + grant.text_bytes(),
                ApiKeyChangeKind::Rotate { .. } | ApiKeyChangeKind::Revoke => PLAIN_ENTRY_BYTES,
            },
            EntryBody::Operation(_) | EntryBody::EpochStart { .. } => PLAIN_ENTRY_BYTES,
            EntryBody::Configuration(configuration) => PLAIN_ENTRY_BYTES * (1 + configuration.voters.len()),
        }
    }

    /// Applies the entry to the bank as of the entry before, and returns how to undo it.
    ///
    /// # Errors
    /// [`Divergence`] if the bank decides otherwise, or if the caller was not allowed it.
    pub fn apply_to(&self, bank: &mut Bank) -> Result<Undo, Divergence> {
        match &self.body {
            EntryBody::EpochStart { rules, .. } => Ok(bank.begin_epoch(*rules)),
            EntryBody::Configuration(_) => Ok(Undo::default()),
            EntryBody::Operation(operation) => {
                if let Some(principal) = self.principal {
                    bank.check_principal(self.stamp(), principal, operation)?;
                }
                bank.apply(self.stamp(), operation)
            }
        }
    }

    /// The operation in the entry, if there is one.
    #[must_use]
    pub const fn operation(&self) -> Option<&Operation> {
        match &self.body {
            EntryBody::Operation(operation) => Some(operation),
            EntryBody::EpochStart { .. } | EntryBody::Configuration(_) => None,
        }
    }
}

/// What stands before the body in the canonical bytes.
type Head = (LogIndex, Epoch, Timestamp, Option<ApiKeyId>);

fn chained_hash(previous: &Hash, head: Head, body: &EntryBody) -> Hash {
    let canonical = canonical(head, body, Vec::with_capacity(PLAIN_ENTRY_BYTES));
    let mut hasher = Sha256::new();
    hasher.update(previous.0);
    hasher.update(&canonical);
    Hash(hasher.finalize().into())
}

/// Appends the canonical bytes of an entry.
fn canonical(head: Head, body: &EntryBody, bytes: Vec<u8>) -> Vec<u8> {
    let (index, epoch, timestamp, principal) = head;
    postcard::to_extend(&(index, epoch, timestamp, principal, body), bytes)
        .expect("entries are made of types that postcard can always encode")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, previous: &Hash) -> Entry {
        let leader = NodeId::parse("node1").expect("valid");
        let body = EntryBody::EpochStart { leader, rules: RuleVersion::FIRST };
        let (index, epoch, timestamp) = (LogIndex(index), Epoch(1), Timestamp(5));
        UnchainedEntry { index, epoch, timestamp, principal: None, body }.chain(previous)
    }

    #[test]
    fn an_entry_follows_the_one_before_it_and_no_other() {
        let first = entry(1, &Hash::default());
        let second = entry(2, &first.hash);
        assert!(first.follows(&Position::default()));
        assert!(second.follows(&first.position()));
        assert!(!second.follows(&Position::default()));
    }

    #[test]
    fn a_changed_entry_breaks_the_chain() {
        let mut changed = entry(1, &Hash::default());
        changed.timestamp = Timestamp(6);
        assert!(!changed.follows(&Position::default()));
        let mut changed = entry(1, &Hash::default());
        changed.principal = Some(ApiKeyId::parse("0123456789abcdef").expect("an id"));
        assert!(!changed.follows(&Position::default()), "who asked is in the chain");
    }
}
