//! How messages become bytes: postcard, a documented and compact format. Appends are written from shared entries, so
//! that sending a batch copies it once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use quorapay_core::domain::{Epoch, LogIndex, Timestamp};
use quorapay_core::replication::{Append, Entry, EntryBody, Hash, NodeId, Outgoing, Request, UnchainedEntry};

/// What went wrong with a peer's bytes.
#[derive(Debug, thiserror::Error)]
#[error("a peer's message could not be read: {0}")]
pub struct WireError(#[from] postcard::Error);

/// A request as it travels. An append's entries follow its head, so that they can be written from where they are.
#[derive(Deserialize)]
enum Frame {
    Plain(Request),
    Append(Append, Vec<UnchainedEntry>),
}

/// [`Frame`] as it is written: same variants, same order.
#[derive(Serialize)]
enum FrameRef<'a> {
    Plain(&'a Request),
    Append(&'a Append, Vec<EntryRef<'a>>),
}

/// [`UnchainedEntry`] as it is written: same fields, same order.
#[derive(Serialize)]
struct EntryRef<'a> {
    index: LogIndex,
    epoch: Epoch,
    timestamp: Timestamp,
    body: &'a EntryBody,
}

pub(super) fn encode_request(outgoing: &Outgoing) -> Vec<u8> {
    let (frame, room) = match outgoing {
        Outgoing::Plain(request) => (FrameRef::Plain(request), 128),
        Outgoing::Append { head, entries } => {
            (FrameRef::Append(head, entries.iter().map(|entry| entry_ref(entry)).collect()), 192 * (entries.len() + 1))
        }
    };
    encode(&frame, room)
}

fn entry_ref(entry: &Entry) -> EntryRef<'_> {
    EntryRef { index: entry.index, epoch: entry.epoch, timestamp: entry.timestamp, body: &entry.body }
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<Request, WireError> {
    Ok(match postcard::from_bytes(bytes)? {
        Frame::Plain(request) => request,
        Frame::Append(mut head, entries) => {
            if let Some(batch) = &mut head.log {
                batch.entries = entries;
            }
            Request::Append(head)
        }
    })
}

pub(super) fn encode<T: Serialize>(value: &T, room: usize) -> Vec<u8> {
    postcard::to_extend(value, Vec::with_capacity(room)).expect("messages are made of types that postcard can encode")
}

pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    Ok(postcard::from_bytes(bytes)?)
}

/// A committed entry on its way back to the node that forwarded the proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedEntry {
    entry: UnchainedEntry,
    hash: Hash,
}

impl ForwardedEntry {
    /// Packs an entry.
    #[must_use]
    pub fn new(entry: &Entry) -> Self {
        Self { entry: entry.unchained(), hash: entry.hash }
    }

    /// The entry as the leader's ledger holds it.
    #[must_use]
    pub fn into_entry(self) -> Arc<Entry> {
        let UnchainedEntry { index, epoch, timestamp, body } = self.entry;
        Arc::new(Entry { index, epoch, timestamp, body, hash: self.hash })
    }
}

/// What became of a forwarded proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardedAnswer {
    /// Committed.
    Committed {
        /// The entry that decided it.
        entry: Box<ForwardedEntry>,
        /// Whether the same request had been decided before.
        replayed: bool,
        /// The leader that answered.
        leader: NodeId,
        /// The epoch in which it answered.
        epoch: Epoch,
    },
    /// The key was used before for another request.
    KeyReused,
    /// The key was fenced.
    Fenced,
    /// The receiver's queue is full; nothing was appended.
    Overloaded,
    /// The receiver does not lead; nothing was appended.
    NotLeading,
    /// Whether it will be committed is unknown.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorapay_core::replication::{EntryBatch, Position};

    #[test]
    fn an_append_written_from_shared_entries_reads_back_whole() {
        let body = EntryBody::EpochStart { leader: NodeId::parse("node1").expect("valid") };
        let entry = UnchainedEntry { index: LogIndex(7), epoch: Epoch(3), timestamp: Timestamp(9), body };
        let head = |entries| Append {
            epoch: Epoch(3),
            round: 4,
            log: Some(EntryBatch { previous: Position::default(), entries }),
            commit_index: LogIndex(5),
            commit_hash: Some(Hash([7; 32])),
        };
        let shared = vec![Arc::new(entry.clone().chain(&Hash::default()))];
        let bytes = encode_request(&Outgoing::Append { head: head(Vec::new()), entries: shared });
        assert_eq!(decode_request(&bytes).expect("readable"), Request::Append(head(vec![entry])));
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error_and_not_a_panic() {
        for bytes in [&[][..], &[9], &[1, 2, 3], &[0xff; 64]] {
            assert!(decode_request(bytes).is_err());
        }
    }
}
