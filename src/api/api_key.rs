//! API keys: what is asked for, and what a list shows. No secret is ever in a request or an answer, only its digest.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use quorapay_core::domain::{
    AccountPrefix, ApiKeyId, ApiKeyName, Currency, LogIndex, MAX_OLD_SECRET_SECONDS, MinorUnits, Scope, SecretDigest,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::Rfc3339;
#[cfg(feature = "openapi")]
use crate::schema::{AccountPrefixText, ApiKeyIdText, ApiKeyLimits, ApiKeyNameText, ScopeWord, SecretDigestText};
use crate::strict;

/// An API key to create. Whoever creates it has made its id and its secret and keeps both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewApiKey {
    /// Its id: random.
    #[cfg_attr(feature = "openapi", schema(value_type = ApiKeyIdText))]
    pub id: ApiKeyId,
    /// SHA-256 over the 32 bytes of its secret, which must be random.
    #[cfg_attr(feature = "openapi", schema(value_type = SecretDigestText))]
    pub secret_sha256: SecretDigest,
    /// For people.
    #[cfg_attr(feature = "openapi", schema(value_type = ApiKeyNameText))]
    pub name: ApiKeyName,
    /// The calls that it allows: at least one scope.
    #[serde(deserialize_with = "strict::scopes")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<ScopeWord>, min_items = 1, max_items = 6))]
    pub scopes: BTreeSet<Scope>,
    /// What the accounts that pay begin with; none for any account.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<AccountPrefixText>, max_items = 32))]
    pub debit_prefixes: BTreeSet<AccountPrefix>,
    /// What the accounts that receive begin with; none for any account.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<AccountPrefixText>, max_items = 32))]
    pub credit_prefixes: BTreeSet<AccountPrefix>,
    /// By currency, the most that one payment, capture or refund may move. If there is one, other currencies are refused.
    #[serde(default, deserialize_with = "strict::limits", skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = ApiKeyLimits))]
    pub limits: BTreeMap<Currency, MinorUnits>,
    /// When it ends, by the ledger's time; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Rfc3339>,
}

/// The next secret of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKeyRotation {
    /// SHA-256 over the 32 bytes of the new secret.
    #[cfg_attr(feature = "openapi", schema(value_type = SecretDigestText))]
    pub secret_sha256: SecretDigest,
    /// For how many seconds the old secret stays valid beside the new one; 0 ends it at once.
    #[serde(deserialize_with = "old_seconds")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 7776000))]
    pub old_valid_for_s: u32,
}

fn old_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let seconds = u32::deserialize(deserializer)?;
    if seconds <= MAX_OLD_SECRET_SECONDS {
        Ok(seconds)
    } else {
        Err(serde::de::Error::custom(format!("an old secret stays valid for at most {MAX_OLD_SECRET_SECONDS} seconds")))
    }
}

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ApiKey))]
pub struct ApiKeyView {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = ApiKeyIdText))]
    pub id: ApiKeyId,
    /// For people.
    #[cfg_attr(feature = "openapi", schema(value_type = ApiKeyNameText))]
    pub name: ApiKeyName,
    /// The calls that it allows.
    // As texts: an older client may not know a newer node's scope.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<ScopeWord>))]
    pub scopes: Vec<Cow<'static, str>>,
    /// What the accounts that pay begin with; none for any account.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<AccountPrefixText>))]
    pub debit_prefixes: BTreeSet<AccountPrefix>,
    /// What the accounts that receive begin with; none for any account.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<AccountPrefixText>))]
    pub credit_prefixes: BTreeSet<AccountPrefix>,
    /// By currency, the most that one payment, capture or refund may move.
    #[cfg_attr(feature = "openapi", schema(value_type = ApiKeyLimits))]
    pub limits: BTreeMap<Currency, MinorUnits>,
    /// When it was created.
    pub created_at: Rfc3339,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub expires_at: Option<Rfc3339>,
    /// Until when the secret before the last rotation is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub old_secret_valid_until: Option<Rfc3339>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub revoked_at: Option<Rfc3339>,
}

/// All API keys, revoked ones included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKeyList {
    /// The keys, in the order of their ids.
    pub api_keys: Vec<ApiKeyView>,
    /// As of this place in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
}

/// What a change of an API key has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangedApiKey {
    /// The key.
    #[cfg_attr(feature = "openapi", schema(value_type = ApiKeyIdText))]
    pub id: ApiKeyId,
    /// `create`, `rotate` or `revoke`.
    pub change: Cow<'static, str>,
    /// When it was decided.
    pub at: Rfc3339,
    /// Of a rotation: until when the old secret is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub old_secret_valid_until: Option<Rfc3339>,
    /// Place of the deciding entry in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
}
