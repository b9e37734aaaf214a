//! API keys as texts: whom a caller names, and the secret that proves it.
//!
//! A key is `qp_ID_SECRET`: 16 hexadecimal digits that name it, and 64 that are its secret. Whoever makes a key keeps the
//! text; the ledger gets the id and the secret's SHA-256, from which the secret cannot be computed.

use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

const PREFIX: &str = "qp_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// Names an API key. It is no secret: entries, lists and logs show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId([u8; ID_BYTES]);

/// The SHA-256 of a secret. Secrets are random and long, so it needs no salt and no slow hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest([u8; SECRET_BYTES]);

/// A whole key, secret included. It prints without the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    id: ApiKeyId,
    secret: [u8; SECRET_BYTES],
}

/// The text is not an API key, or not a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// No whole key. The text may be a secret, so it is not shown.
    #[error("an API key is qp_, 16 hexadecimal digits, _ and 64 more, all in lower case")]
    Key,
    /// No id of a key.
    #[error("the id of an API key has 16 hexadecimal digits in lower case")]
    Id,
    /// No digest of a secret.
    #[error("the SHA-256 of an API key's secret has 64 hexadecimal digits in lower case")]
    Digest,
}

impl ApiKey {
    /// A key from random bytes.
    #[must_use]
    pub const fn from_random(id: [u8; ID_BYTES], secret: [u8; SECRET_BYTES]) -> Self {
        Self { id: ApiKeyId(id), secret }
    }

    /// The same key with another secret, from random bytes.
    #[must_use]
    pub const fn with_secret(id: ApiKeyId, secret: [u8; SECRET_BYTES]) -> Self {
        Self { id, secret }
    }

    /// Reads a key. A key has one spelling.
    ///
    /// # Errors
    /// [`ApiKeyError::Key`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let parts = || text.strip_prefix(PREFIX)?.split_once('_');
        let (id, secret) = parts().ok_or(ApiKeyError::Key)?;
        match (from_hex(id), from_hex(secret)) {
            (Some(id), Some(secret)) => Ok(Self { id: ApiKeyId(id), secret }),
            _ => Err(ApiKeyError::Key),
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ApiKeyId {
        self.id
    }

    /// What the ledger holds of its secret.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        SecretDigest(Sha256::digest(self.secret).into())
    }

    /// The whole key as text, for the one place that keeps or sends it.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut text = format!("{PREFIX}{}_", self.id);
        self.secret.iter().for_each(|byte| push_hex(&mut text, *byte));
        text
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_***", self.id)
    }
}

impl ApiKeyId {
    /// Reads an id.
    ///
    /// # Errors
    /// [`ApiKeyError::Id`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        from_hex(text).map(Self).ok_or(ApiKeyError::Id)
    }
}

impl SecretDigest {
    /// Reads a digest.
    ///
    /// # Errors
    /// [`ApiKeyError::Digest`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        from_hex(text).map(Self).ok_or(ApiKeyError::Digest)
    }

    /// The digest itself.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn push_hex(text: &mut String, byte: u8) {
    text.extend([byte >> 4, byte & 15].into_iter().filter_map(|digit| char::from_digit(u32::from(digit), 16)));
}

/// Reads exactly so many bytes of lower-case digits.
fn from_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != BYTES || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(bytes)
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// As text for people's formats, as bytes for the others: every entry of the ledger has an id.
macro_rules! hex_serde {
    ($($name:ident),*) => {
        $(
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    if deserializer.is_human_readable() {
                        Self::parse(&CompactString::deserialize(deserializer)?).map_err(D::Error::custom)
                    } else {
                        Deserialize::deserialize(deserializer).map(Self)
                    }
                }
            }
        )*
    };
}

hex_serde!(ApiKeyId, SecretDigest);

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ApiKey {
        ApiKey::from_random(
            [0xa1, 0, 0x0f, 3, 4, 5, 6, 7],
            std::array::from_fn(|at| u8::try_from(at * 7).expect("small")),
        )
    }

    #[test]
    fn a_key_reads_back_as_it_was_written_and_in_no_other_spelling() {
        let text = key().expose();
        assert_eq!(ApiKey::parse(&text), Ok(key()));
        assert!(text.starts_with("qp_a1000f0304050607_0007"), "{text}");
        assert_eq!(text.len(), 84);
        let (_, secret) = text.rsplit_once('_').expect("three parts");
        for bad in [
            "",
            "qp_",
            "qp__",
            &text.to_uppercase(),
            &text[1..],
            &text[..83],
            &format!("{text}0"),
            &format!(" {text}"),
            &format!("qp_{secret}"),
            &text.replace('_', "-"),
            &text.replacen('7', "ä", 1),
            &text.replacen('7', "g", 1),
        ] {
            assert_eq!(ApiKey::parse(bad), Err(ApiKeyError::Key), "{bad}");
        }
    }

    #[test]
    fn a_key_prints_without_its_secret() {
        assert_eq!(format!("{:?}", key()), "qp_a1000f0304050607_***");
    }

    #[test]
    fn an_id_and_a_digest_are_texts_in_json_and_bytes_elsewhere() {
        let (id, digest) = (key().id(), key().digest());
        let json = serde_json::to_string(&(id, digest)).expect("texts");
        assert_eq!(json, format!("[\"{id}\",\"{digest}\"]"));
        assert_eq!(serde_json::from_str::<(ApiKeyId, SecretDigest)>(&json).expect("read"), (id, digest));
        let bytes = postcard::to_extend(&(id, digest), Vec::new()).expect("bytes");
        assert_eq!(bytes.len(), ID_BYTES + SECRET_BYTES);
        assert_eq!(postcard::from_bytes::<(ApiKeyId, SecretDigest)>(&bytes).expect("read"), (id, digest));
    }

    #[test]
    fn the_digest_is_the_sha_256_of_the_secret_alone() {
        let empty = ApiKey::from_random([0; 8], [0; 32]);
        assert_eq!(
            empty.digest().to_string(),
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925",
            "of 32 zero bytes"
        );
        assert_eq!(ApiKey::with_secret(key().id(), [0; 32]).digest(), empty.digest());
    }
}
