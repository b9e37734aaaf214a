//! API keys in the ledger: how they are created, rotated and revoked, and what the bank holds of each.

use serde::{Deserialize, Serialize};

use super::{
    ApiKeyGrant, ApiKeyId, Denial, Fingerprint, FingerprintBuilder, IdempotencyKey, Rejection, SecretDigest, Timestamp,
};

/// The longest time for which an old secret stays valid after a rotation: ninety days.
pub const MAX_OLD_SECRET_SECONDS: u32 = 90 * 24 * 60 * 60;

/// A change of an API key, as requested. It holds no secret, only digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiKeyChangeKind {
    /// Creates the key; refused if there is or was one with this id.
    Create {
        /// What it allows.
        grant: Box<ApiKeyGrant>,
        /// The digest of its secret.
        secret: SecretDigest,
    },
    /// Gives the key another secret.
    Rotate {
        /// The digest of the new secret.
        secret: SecretDigest,
        /// For how many seconds of the ledger's time the old secret stays valid, at most [`MAX_OLD_SECRET_SECONDS`].
        old_valid_for_s: u32,
    },
    /// Ends the key for good.
    Revoke,
}

/// A decided change of an API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyChange {
    /// The request's idempotency key.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The API key.
    pub id: ApiKeyId,
    /// The requested change.
    pub change: ApiKeyChangeKind,
    /// The decision.
    pub outcome: ApiKeyOutcome,
}

/// The decision on a change of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiKeyOutcome {
    /// The key was created, rotated or revoked.
    Applied,
    /// Nothing changed.
    Rejected(Rejection),
}

/// An API key as the bank holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyState {
    /// What it allows.
    pub grant: ApiKeyGrant,
    /// The digest of its secret.
    pub secret: SecretDigest,
    /// The secret before the last rotation.
    pub old_secret: Option<OldSecret>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A secret that a rotation replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldSecret {
    /// Its digest.
    pub digest: SecretDigest,
    /// Until when it is valid.
    pub valid_until: Timestamp,
}

impl ApiKeyState {
    /// Checks that the key is in force at a time.
    ///
    /// # Errors
    /// [`Denial::Revoked`] or [`Denial::Expired`].
    pub fn check_in_force(&self, now: Timestamp) -> Result<(), Denial> {
        if self.revoked_at.is_some() {
            return Err(Denial::Revoked);
        }
        match self.grant.expires_at {
            Some(expires_at) if expires_at <= now => Err(Denial::Expired),
            Some(_) | None => Ok(()),
        }
    }
}

impl ApiKeyChangeKind {
    /// Its name in the API and in fingerprints.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Rotate { .. } => "rotate",
            Self::Revoke => "revoke",
        }
    }

    /// The fingerprint that distinguishes a repeated request from a different one under the same key.
    #[must_use]
    pub fn fingerprint(&self, id: ApiKeyId) -> Fingerprint {
        let builder = FingerprintBuilder::new("api_key").text(self.name()).text(&id.to_string());
        match self {
            Self::Create { grant, secret } => grant.add_to(builder.text(&secret.to_string())),
            Self::Rotate { secret, old_valid_for_s } => {
                builder.text(&secret.to_string()).number(i64::from(*old_valid_for_s))
            }
            Self::Revoke => builder,
        }
        .finish()
    }
}

impl ApiKeyGrant {
    /// Adds every field to a fingerprint, each list with its length.
    fn add_to(&self, mut builder: FingerprintBuilder) -> FingerprintBuilder {
        let Self { name, scopes, debits, credits, limits, expires_at } = self;
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        builder = builder.text(name.as_str()).number(count(scopes.len()));
        builder = scopes.iter().fold(builder, |builder, scope| builder.text(scope.as_str()));
        for prefixes in [debits, credits] {
            builder = builder.number(count(prefixes.len()));
            builder = prefixes.iter().fold(builder, |builder, prefix| builder.text(prefix.as_str()));
        }
        builder = builder.number(count(limits.len()));
        builder =
            limits.iter().fold(builder, |builder, (currency, limit)| builder.text(currency.code()).number(limit.get()));
        builder.optional(expires_at.map(|at| at.0.to_string()).as_deref())
    }

    /// The approximate size of its texts, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let prefixes = self.debits.iter().chain(&self.credits).map(|prefix| prefix.as_str().len()).sum::<usize>();
        // Digits of a limit with its currency.
        self.name.as_str().len() + prefixes + self.limits.len() * 24
    }
}
