//! The outcomes of a forwarded batch, as they become known: a write that needs the disk delays no other.
//!
//! The body of the answer is a sequence of frames. A frame is its length in four bytes, little-endian, and a list of
//! outcomes with their positions in the batch. The body ends with the last outcome or at the deadline.

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use quorapay_core::replication::NodeId;

use super::client::PeerError;
use super::outcome::WriteOutcome;
use super::server::MAX_PEER_BODY_BYTES;
use super::wire::{decode, encode, room_for};

/// Some outcomes of a batch, with their positions in it.
pub type Outcomes = Vec<(usize, WriteOutcome)>;

/// The bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// Outcomes as a frame.
pub(super) fn frame(outcomes: &Outcomes) -> Vec<u8> {
    let content = encode(outcomes, room_for(outcomes.len()));
    let length = u32::try_from(content.len()).expect("an answer takes 32 MiB and one entry at most");
    let mut frame = Vec::with_capacity(LENGTH_BYTES + content.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&content);
    frame
}

/// The outcomes that a peer reports for a batch.
#[derive(Debug)]
pub struct OutcomeStream {
    peer: NodeId,
    body: Body,
    deadline: Instant,
    /// What was received and not yet returned: the beginning of a frame, or frames that came together.
    received: Vec<u8>,
}

impl OutcomeStream {
    pub(super) const fn new(peer: NodeId, body: Body, deadline: Instant) -> Self {
        Self { peer, body, deadline, received: Vec::new() }
    }

    /// The next outcomes; `None` at the end. Outcomes that never come are unknown.
    ///
    /// # Errors
    /// [`PeerError::NoAnswer`] if the connection broke or it is too late, [`PeerError::Wire`] if it is no message.
    pub async fn next(&mut self) -> Result<Option<Outcomes>, PeerError> {
        loop {
            if let Some(outcomes) = self.take_frame()? {
                return Ok(Some(outcomes));
            }
            match timeout_at(self.deadline, self.body.frame()).await {
                Ok(Some(Ok(part))) => self.received.extend_from_slice(part.data_ref().map_or(&[], |data| data)),
                Ok(None) if self.received.is_empty() => return Ok(None),
                Ok(None | Some(Err(_))) | Err(_) => return Err(self.no_answer()),
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<Outcomes>, PeerError> {
        let Some((length, rest)) = self.received.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_PEER_BODY_BYTES {
            return Err(self.no_answer());
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        let outcomes = decode(content)?;
        self.received.drain(..LENGTH_BYTES + length);
        Ok(Some(outcomes))
    }

    fn no_answer(&self) -> PeerError {
        PeerError::NoAnswer(self.peer.clone())
    }
}
