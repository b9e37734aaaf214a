//! Fingerprints of requests: equal requests have equal fingerprints, however their JSON was written.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The first 16 bytes of a SHA-256 over a request's parsed fields. Two requests under one idempotency key are the same
/// request exactly if their fingerprints are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

/// Hashes fields one after another, each with its length, so that different lists of fields never hash the same bytes.
#[derive(Clone)]
pub struct FingerprintBuilder(Sha256);

impl FingerprintBuilder {
    /// Starts a fingerprint for one kind of request.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self(Sha256::new()).text(kind)
    }

    /// Adds a text field.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// Adds a field that may be absent; absent differs from empty.
    #[must_use]
    pub fn optional(self, text: Option<&str>) -> Self {
        match text {
            None => self.number(0),
            Some(text) => self.number(1).text(text),
        }
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: i64) -> Self {
        self.0.update(number.to_le_bytes());
        self
    }

    /// The fingerprint of all fields added.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        Fingerprint(first_16_bytes(&self.0.finalize()))
    }
}

pub(super) fn first_16_bytes(digest: &[u8]) -> [u8; 16] {
    digest.first_chunk::<16>().copied().expect("a SHA-256 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_text_from_one_field_to_the_next_changes_the_fingerprint() {
        let one = FingerprintBuilder::new("x").text("ab").text("c").finish();
        let other = FingerprintBuilder::new("x").text("a").text("bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn an_absent_field_differs_from_an_empty_one() {
        let absent = FingerprintBuilder::new("x").optional(None).finish();
        let empty = FingerprintBuilder::new("x").optional(Some("")).finish();
        assert_ne!(absent, empty);
    }
}
