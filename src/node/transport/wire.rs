//! Messages as bytes, in postcard, a documented and compact format. Appends are written from shared entries, so that
//! sending a batch copies it once.

use serde::{Deserialize, Serialize};

use quorapay_core::domain::{ApiKeyId, Epoch, LogIndex, Timestamp};
use quorapay_core::replication::{Append, Entry, EntryBody, Outgoing, Request, UnchainedEntry};

/// Buffer for a message without entries or proposals.
pub(super) const SHORT_MESSAGE_ROOM: usize = 128;
/// Buffer for each entry, proposal or outcome of a message: a plain payment takes less.
const ITEM_ROOM: usize = 192;

/// Buffer for a message with this many entries, proposals or outcomes. One that needs more grows.
pub(super) const fn room_for(items: usize) -> usize {
    ITEM_ROOM * (items + 1)
}

/// Why a peer's bytes cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a peer's message could not be read: {0}")]
pub struct WireError(#[from] postcard::Error);

/// A request on the wire. An append's entries follow its head, so that they can be written without copying them first.
#[derive(Deserialize)]
enum Frame {
    Plain(Request),
    Append(Append, Vec<UnchainedEntry>),
}

/// [`Frame`] for writing: same variants, same order.
#[derive(Serialize)]
enum FrameRef<'a> {
    Plain(&'a Request),
    Append(&'a Append, Vec<EntryRef<'a>>),
}

/// [`UnchainedEntry`] for writing: same fields, same order.
#[derive(Serialize)]
pub(super) struct EntryRef<'a> {
    index: LogIndex,
    epoch: Epoch,
    timestamp: Timestamp,
    principal: Option<ApiKeyId>,
    body: &'a EntryBody,
}

impl<'a> EntryRef<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        Self {
            index: entry.index,
            epoch: entry.epoch,
            timestamp: entry.timestamp,
            principal: entry.principal,
            body: &entry.body,
        }
    }
}

pub(super) fn encode_request(outgoing: &Outgoing) -> Vec<u8> {
    let (frame, room) = match outgoing {
        Outgoing::Plain(request) => (FrameRef::Plain(request), SHORT_MESSAGE_ROOM),
        Outgoing::Append { head, entries } => {
            (FrameRef::Append(head, entries.iter().map(|entry| EntryRef::of(entry)).collect()), room_for(entries.len()))
        }
    };
    encode(&frame, room)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use quorapay_core::domain::RuleVersion;
    use quorapay_core::replication::sample::api_key;
    use quorapay_core::replication::{Acknowledged, EntryBatch, Hash, NodeId, Position, StoreId};

    #[test]
    fn an_append_written_from_shared_entries_reads_back_whole() {
        let leader = NodeId::parse("node1").expect("valid");
        let body = EntryBody::EpochStart { leader, rules: RuleVersion::FIRST };
        let (index, epoch, timestamp) = (LogIndex(7), Epoch(3), Timestamp(9));
        let entry = UnchainedEntry { index, epoch, timestamp, principal: Some(api_key(1).id()), body };
        let head = |entries| Append {
            epoch: Epoch(3),
            round: 4,
            log: Some(EntryBatch { previous: Position::default(), entries }),
            commit_index: LogIndex(5),
            commit_hash: Some(Hash([7; 32])),
            common_rules: RuleVersion::NEWEST,
            time_error_ms: Some(51),
            acknowledged: Some(Acknowledged { store_id: StoreId(6), index: LogIndex(4), epoch: Epoch(2) }),
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
