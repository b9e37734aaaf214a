//! Peers' bytes, for [`crate::fuzzing`].

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::forwarded::ForwardedWrite;
use super::outcome::CommittedWrite;
use super::outcome_stream::Outcomes;
use super::wire::{decode, decode_request, encode, encode_request};
use crate::traces::Noted;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, Hash, NodeId, Outgoing, Request, Response};

/// The body of `/peer/rpc`.
pub(crate) fn request(bytes: &[u8]) {
    let Ok(request) = decode_request(bytes) else { return };
    let again = decode_request(&encode_request(&outgoing(request.clone())));
    assert_eq!(again.expect("what was written here is readable"), request);
}

/// The request in the form in which a sender has it.
fn outgoing(request: Request) -> Outgoing {
    let Request::Append(mut head) = request else { return Outgoing::Plain(request) };
    let mut previous = Hash::default();
    let unchained = head.log.as_mut().map(|batch| std::mem::take(&mut batch.entries)).unwrap_or_default();
    let chain = |entry: quorapay_core::replication::UnchainedEntry| {
        let entry = entry.chain(&previous);
        previous = entry.hash;
        Arc::new(entry)
    };
    Outgoing::Append { entries: unchained.into_iter().map(chain).collect(), head }
}

/// The other bodies, and the answers to all of them. The first byte selects the kind.
pub(crate) fn answers(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 6 {
        0 => round_trips::<Response>(bytes),
        1 => round_trips::<(u64, Vec<ForwardedWrite>)>(bytes),
        2 => round_trips::<Outcomes>(bytes),
        3 => round_trips::<Option<NodeId>>(bytes),
        4 => round_trips::<Vec<LogIndex>>(bytes),
        _ => round_trips::<Vec<Vec<Noted>>>(bytes),
    }
}

/// A value that was read is written in one form, and reads back from it unchanged.
fn round_trips<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else { return };
    let written = encode(&value, bytes.len());
    let again: T = decode(&written).expect("what was written here is readable");
    assert_eq!(again, value);
    assert_eq!(encode(&again, 0), written);
}

/// An entry reaches a follower, and the node that forwarded its proposal, unchanged.
pub(crate) fn entry(entry: &Arc<Entry>, previous: &Hash) {
    let unchained: quorapay_core::replication::UnchainedEntry =
        decode(&encode(&entry.unchained(), 0)).expect("an entry is readable");
    assert_eq!(unchained.chain(previous), **entry);
    let leader = NodeId::parse("node1").expect("valid");
    let committed =
        CommittedWrite { entry: Arc::clone(entry), replayed: false, leader, epoch: entry.epoch, time_error_ms: None };
    let forwarded: CommittedWrite = decode(&encode(&committed, 0)).expect("an entry is readable");
    assert_eq!(forwarded.entry, *entry);
}
