//! Idempotency keys: a caller's identifier for one intended write, permanent once used.

use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::digest::first_16_bytes;

const MAX_KEY_CHARS: usize = 255;

/// 1 to 255 printable ASCII characters chosen by the caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct IdempotencyKey(CompactString);

/// The text is not an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to 255 printable ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// [`IdempotencyKeyError`] for an empty or long text and for any other character.
    pub fn parse(text: &str) -> Result<Self, IdempotencyKeyError> {
        Self::checked(text)?;
        Ok(Self(CompactString::new(text)))
    }

    fn checked(text: &str) -> Result<(), IdempotencyKeyError> {
        let fits = (1..=MAX_KEY_CHARS).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if fits { Ok(()) } else { Err(IdempotencyKeyError) }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's digest, which indexes use instead of it.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(first_16_bytes(&Sha256::digest(self.0.as_bytes())))
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for IdempotencyKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::checked(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(text))
    }
}

/// The first 16 bytes of the SHA-256 of an [`IdempotencyKey`]: fixed size, so that millions fit in memory and an index
/// row is small. Collisions are infeasible to construct, so equal digests mean equal keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyDigest(pub [u8; 16]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_1_to_255_printable_ascii_characters() {
        for good in ["a", "order 42 / try 1", "~!@#", &"k".repeat(255)] {
            assert!(IdempotencyKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "tab\t", "ключ", "\u{7f}", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(bad), Err(IdempotencyKeyError), "{bad}");
        }
    }
}
