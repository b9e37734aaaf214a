//! The outcome of a write, for request handlers and on the wire to the node that forwarded it.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use quorapay_core::domain::{Denial, Epoch};
use quorapay_core::replication::{Entry, Hash, NodeId, UnchainedEntry};

use super::wire::EntryRef;

/// The outcome of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteOutcome {
    /// The write is committed.
    Committed(CommittedWrite),
    /// The key was used before for another request.
    KeyReused,
    /// The key was fenced.
    Fenced,
    /// The receiver's queue is full; nothing was appended.
    Overloaded,
    /// The receiver does not lead or was not reached; nothing was appended.
    NotLeading,
    /// Whether it will be committed is unknown.
    Unknown,
    /// The caller may not do this; nothing was appended.
    Denied(Denial),
}

/// A write that is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedWrite {
    /// The ledger entry that decided it, rejections included.
    #[serde(serialize_with = "write_entry", deserialize_with = "read_entry")]
    pub entry: Arc<Entry>,
    /// Whether the same request had been decided before under this key.
    pub replayed: bool,
    /// The leader that answered.
    pub leader: NodeId,
    /// The epoch in which it answered.
    pub epoch: Epoch,
    /// How far the true time can be from the entry's stamp, in milliseconds; `None` for a write that was decided before,
    /// and while no majority of clocks agrees.
    pub time_error_ms: Option<u64>,
}

/// An entry with its hash, which an append leaves out: its receiver has no entry before it to compute the hash from.
#[derive(Deserialize)]
struct HashedEntry {
    entry: UnchainedEntry,
    hash: Hash,
}

/// [`HashedEntry`] for writing: same fields, same order.
#[derive(Serialize)]
struct HashedEntryRef<'a> {
    entry: EntryRef<'a>,
    hash: Hash,
}

fn write_entry<S: Serializer>(entry: &Arc<Entry>, serializer: S) -> Result<S::Ok, S::Error> {
    HashedEntryRef { entry: EntryRef::of(entry), hash: entry.hash }.serialize(serializer)
}

fn read_entry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Entry>, D::Error> {
    let HashedEntry { entry: UnchainedEntry { index, epoch, timestamp, principal, body }, hash } =
        HashedEntry::deserialize(deserializer)?;
    Ok(Arc::new(Entry { index, epoch, timestamp, principal, body, hash }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::wire::{decode, encode};
    use quorapay_core::domain::Scope;
    use quorapay_core::replication::sample::{Chain, node};

    #[test]
    fn a_committed_write_travels_as_its_entry_its_hash_and_who_answered() {
        let mut chain = Chain::begun();
        chain.pay();
        let entry = Arc::clone(chain.entries.last().expect("a payment"));
        let parts = (0_u32, entry.unchained(), entry.hash, true, node("node1"), Epoch(7), Some(51_u64));
        let committed =
            CommittedWrite { entry, replayed: true, leader: node("node1"), epoch: Epoch(7), time_error_ms: Some(51) };
        let outcome = WriteOutcome::Committed(committed);
        let bytes = encode(&outcome, 0);
        assert_eq!(bytes, encode(&parts, 0));
        assert_eq!(decode::<WriteOutcome>(&bytes).expect("readable"), outcome);
    }

    #[test]
    fn a_denial_travels_with_its_reason() {
        let denied = WriteOutcome::Denied(Denial::Scope(Scope::RefundsWrite));
        assert_eq!(decode::<WriteOutcome>(&encode(&denied, 0)).expect("readable"), denied);
    }

    #[test]
    fn every_other_outcome_is_one_byte() {
        let others = [
            WriteOutcome::KeyReused,
            WriteOutcome::Fenced,
            WriteOutcome::Overloaded,
            WriteOutcome::NotLeading,
            WriteOutcome::Unknown,
        ];
        for (number, outcome) in (1..).zip(others) {
            assert_eq!(encode(&outcome, 0), [number]);
        }
    }
}
