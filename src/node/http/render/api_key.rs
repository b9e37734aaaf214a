//! API keys, without their secrets.

use std::borrow::Cow;

use quorapay_api::{ApiKeyView, ChangedApiKey, Rfc3339};
use quorapay_core::domain::{ApiKeyChange, ApiKeyChangeKind, ApiKeyId, ApiKeyState, Timestamp};
use quorapay_core::replication::Entry;

/// An API key in a list.
pub(in crate::http) fn api_key(id: ApiKeyId, state: &ApiKeyState) -> ApiKeyView {
    let ApiKeyState { grant, old_secret, created_at, revoked_at, .. } = state;
    ApiKeyView {
        id,
        name: grant.name.clone(),
        scopes: grant.scopes.iter().map(|scope| Cow::Borrowed(scope.as_str())).collect(),
        debit_prefixes: grant.debits.clone(),
        credit_prefixes: grant.credits.clone(),
        limits: grant.limits.clone(),
        created_at: Rfc3339(*created_at),
        expires_at: grant.expires_at.map(Rfc3339),
        old_secret_valid_until: old_secret.map(|old| Rfc3339(old.valid_until)),
        revoked_at: revoked_at.map(Rfc3339),
    }
}

/// What a change of an API key has done.
pub(in crate::http) fn changed_api_key(entry: &Entry, change: &ApiKeyChange) -> ChangedApiKey {
    let old_secret_valid_until = match change.change {
        ApiKeyChangeKind::Rotate { old_valid_for_s, .. } => {
            Some(Rfc3339(Timestamp(entry.timestamp.0.saturating_add(1_000 * u64::from(old_valid_for_s)))))
        }
        ApiKeyChangeKind::Create { .. } | ApiKeyChangeKind::Revoke => None,
    };
    ChangedApiKey {
        id: change.id,
        change: Cow::Borrowed(change.change.name()),
        at: Rfc3339(entry.timestamp),
        old_secret_valid_until,
        index: entry.index,
    }
}
