//! The ids of clients' requests: what an answer and the logs of all nodes that work on a request name it by.
//!
//! It knows no handlers and no peers. An id that a node makes is a number until somebody reads it: nearly no request has to
//! be named, and a text costs more than the number.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use quorapay_core::replication::NodeId;

/// Most characters of an id that a client gives.
pub const MAX_REQUEST_ID_CHARS: usize = 128;

/// Ids for each millisecond that a process has run for: more than it can serve requests.
const IDS_PER_MS: u64 = 128;
/// The lower bits of a made id count; the upper ones are the node's.
const COUNTED_BITS: u32 = 48;

/// The id of a client's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestId {
    /// The client gave it.
    Given(GivenId),
    /// A node made it.
    Made(u64),
}

/// An id that a client gave: 1 to 128 of `A-Z a-z 0-9 - _ . : / + =`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenId(HeaderValue);

impl GivenId {
    /// Checks an id.
    #[must_use]
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        let fits = (1..=MAX_REQUEST_ID_CHARS).contains(&value.len()) && value.as_bytes().iter().all(allowed);
        // It shares its bytes with the request.
        fits.then(|| Self(value.clone()))
    }

    /// Several ids as one header, with commas between them; `None` for none.
    #[must_use]
    pub fn header_of_all(ids: &[Self]) -> Option<HeaderValue> {
        let texts: Vec<&str> = ids.iter().map(Self::as_str).collect();
        let texts = (!texts.is_empty()).then(|| texts.join(","))?;
        Some(HeaderValue::from_str(&texts).expect("ids are ASCII"))
    }

    fn as_str(&self) -> &str {
        self.0.to_str().expect("an id is ASCII")
    }
}

impl Serialize for GivenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_str().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GivenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        let id = HeaderValue::from_str(text).ok().and_then(|value| Self::parse(&value));
        id.ok_or_else(|| serde::de::Error::custom("not a request id"))
    }
}

impl RequestId {
    /// What the client gave, if it did.
    #[must_use]
    pub fn given(&self) -> Option<&GivenId> {
        match self {
            Self::Given(given) => Some(given),
            Self::Made(_) => None,
        }
    }

    /// The id as a header. Without a copy if the client gave it.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        match self {
            Self::Given(GivenId(value)) => value.clone(),
            Self::Made(_) => HeaderValue::from_str(&self.to_string()).expect("a number is ASCII"),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(given) => f.write_str(given.as_str()),
            Self::Made(number) => write!(f, "{number:016x}"),
        }
    }
}

/// Makes ids that no other node and no other process of this node makes, unless its wall clock is set back between two
/// starts.
#[derive(Debug)]
pub struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    /// The ids of a process of this node that starts now.
    #[must_use]
    pub fn new(node: &NodeId, unix_ms: u64) -> Self {
        // FNV-1a, mixed once more: names that differ in their last character differ in its lower bits alone.
        let hash = node
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let counted = unix_ms.wrapping_mul(IDS_PER_MS) & ((1 << COUNTED_BITS) - 1);
        Self { next: AtomicU64::new(hash >> COUNTED_BITS << COUNTED_BITS | counted) }
    }

    /// The id of a request: what the client gave, if that is valid.
    #[must_use]
    pub fn of(&self, given: Option<&HeaderValue>) -> RequestId {
        match given.and_then(GivenId::parse) {
            Some(given) => RequestId::Given(given),
            None => RequestId::Made(self.next.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(node: &str, unix_ms: u64) -> RequestIds {
        RequestIds::new(&NodeId::parse(node).expect("valid"), unix_ms)
    }

    #[test]
    fn a_valid_id_is_taken_and_any_other_is_replaced_by_one_of_this_node() {
        let ids = ids("node1", 1_700_000_000_000);
        let of = |text: &str| ids.of(Some(&HeaderValue::from_bytes(text.as_bytes()).expect("a header")));
        for good in ["a", "order-42_7.1:x/y+z=", &"x".repeat(128)] {
            assert_eq!(of(good).to_string(), good);
            assert_eq!(of(good).header(), good);
        }
        for bad in ["", "a b", "a,b", "a\"b", "é", &"x".repeat(129)] {
            let RequestId::Made(number) = of(bad) else { panic!("{bad} is taken") };
            assert_eq!(of(bad), RequestId::Made(number + 1));
            assert_eq!(of(bad).to_string().len(), 16);
        }
        assert_ne!(ids.of(None), ids.of(None));
    }

    #[test]
    fn nodes_and_processes_make_different_ids() {
        let made = [("node1", 1_700_000_000_000), ("node1", 1_700_000_000_001), ("node2", 1_700_000_000_000)];
        let made = made.map(|(node, ms)| ids(node, ms).of(None).to_string());
        assert!(made[0] != made[1] && made[0] != made[2] && made[1] != made[2], "{made:?}");
    }

    #[test]
    fn an_id_reads_back_from_a_message_and_an_invalid_one_is_refused() {
        let written = |id: &RequestId| postcard::to_stdvec(id).expect("written");
        let given = ids("node1", 1).of(Some(&HeaderValue::from_static("abc")));
        for id in [given, RequestId::Made(u64::MAX)] {
            assert_eq!(postcard::from_bytes::<RequestId>(&written(&id)).expect("readable"), id);
        }
        assert!(postcard::from_bytes::<RequestId>(&[0, 3, b'a', b'\n', b'b']).is_err());
    }
}
