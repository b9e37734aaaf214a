//! Who asks, and whether the route is for them.
//!
//! A caller proves itself by an API key in `Authorization`: the digest of its secret is compared, in constant time, with
//! those that the ledger holds. Then the key must have the scope of the route. What a write moves is checked too, and
//! again where the write is decided: there a key that was revoked in the meantime is refused by every node. A read is
//! judged again after it has its read point, so that no node answers one that came after a revocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::log_limit::{Admitted, LogLimit};
use crate::request_id::RequestId;
use crate::runtime::{Consistency, NodeHandle};
use quorapay_api::Code;
use quorapay_core::domain::{ApiKey, ApiKeyId, ApiKeyState, Denial, Scope, SecretDigest};

use super::metrics::Route;
use super::problem::Problem;

const SCHEME: &str = "Bearer ";

/// How long a caller with an unknown key waits for what this node has not applied yet.
const AWAIT_KEY: Duration = Duration::from_secs(1);

/// Who may call a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Everybody who reaches the port.
    Open,
    /// Whoever has an API key of the ledger.
    ApiKeys,
}

/// Who calls.
pub(super) enum Caller {
    /// Anybody: this node asks for no key.
    Anybody,
    /// Whoever has this key.
    Known(ApiKeyId, Arc<ApiKeyState>),
    /// Nobody that this node knows.
    Stranger(Refusal, Option<ApiKeyId>),
}

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Everybody,
    /// A key, whatever its scopes.
    AnyKey,
    /// A key with this scope.
    Scope(Scope),
}

/// Why a caller is refused, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no key in the request.
    NoKey,
    /// What is there is no key.
    NotAKey,
    /// The secret is not the key's.
    WrongSecret,
    /// The key does not allow it.
    Denied(Denial),
}

/// The value of the label `reason`, by [`Refusal::number`].
const REASONS: [&str; 12] = [
    "no_key",
    "not_a_key",
    "wrong_secret",
    "unknown",
    "revoked",
    "expired",
    "scope",
    "debit",
    "credit",
    "account",
    "limit",
    "management",
];

impl Refusal {
    const fn number(self) -> usize {
        match self {
            Self::NoKey => 0,
            Self::NotAKey => 1,
            Self::WrongSecret => 2,
            Self::Denied(Denial::Unknown) => 3,
            Self::Denied(Denial::Revoked) => 4,
            Self::Denied(Denial::Expired) => 5,
            Self::Denied(Denial::Scope(_)) => 6,
            Self::Denied(Denial::Debit) => 7,
            Self::Denied(Denial::Credit) => 8,
            Self::Denied(Denial::Account) => 9,
            Self::Denied(Denial::Limit) => 10,
            Self::Denied(Denial::Management) => 11,
        }
    }

    /// The problem that a caller is told. One that does not know the secret learns nothing of the key.
    pub(super) fn problem(self) -> Problem {
        let unauthorized = |code, detail: &str| Problem::new(StatusCode::UNAUTHORIZED, code, detail);
        let problem = match self {
            Self::NoKey => {
                unauthorized(Code::ApiKeyRequired, "this node asks for Authorization: Bearer with an API key")
            }
            Self::NotAKey => unauthorized(Code::InvalidApiKey, "Authorization is Bearer, a space, and an API key"),
            Self::WrongSecret => unauthorized(Code::InvalidApiKey, "the API key is not known"),
            Self::Denied(denial) if denial.is_of_the_key() => unauthorized(Code::InvalidApiKey, &denial.to_string()),
            Self::Denied(denial) => Problem::new(StatusCode::FORBIDDEN, Code::ApiKeyForbids, denial.to_string()),
        };
        let problem = problem.refused_for(self);
        match self {
            Self::Denied(Denial::Debit) => problem.field("from"),
            Self::Denied(Denial::Credit) => problem.field("to"),
            Self::Denied(Denial::Limit) => problem.field("amount"),
            _ => problem,
        }
    }
}

impl Caller {
    /// Who sent a request with these headers.
    pub(super) async fn of(callers: Callers, node: &NodeHandle, headers: &HeaderMap) -> Self {
        if callers == Callers::Open {
            return Self::Anybody;
        }
        let key = match key_in(headers) {
            Ok(key) => key,
            Err(refusal) => return Self::Stranger(refusal, None),
        };
        match Self::with(node, &key) {
            // Boxed, because nearly no caller is one.
            stranger @ Self::Stranger(..) => Box::pin(Self::once_applied(node, &key)).await.unwrap_or(stranger),
            known => known,
        }
    }

    /// Who has a key that this node does not know: it may have been created, or its secret set, through another node a
    /// moment ago. All such callers wait for one answer of the leader.
    async fn once_applied(node: &NodeHandle, key: &ApiKey) -> Option<Self> {
        let deadline = Instant::now() + AWAIT_KEY;
        node.read_point(Consistency::Linearizable, None, deadline).await.ok()?;
        Some(Self::with(node, key))
    }

    fn with(node: &NodeHandle, key: &ApiKey) -> Self {
        let id = key.id();
        let Some(state) = node.api_key(id) else { return Self::Stranger(Refusal::Denied(Denial::Unknown), None) };
        let given = key.digest();
        let fits = |held: SecretDigest| bool::from(held.bytes().ct_eq(given.bytes()));
        let is_old = state.old_secret.is_some_and(|old| fits(old.digest) && node.time_for_reads() < old.valid_until);
        if fits(state.secret) || is_old {
            Self::Known(id, state)
        } else {
            Self::Stranger(Refusal::WrongSecret, Some(id))
        }
    }

    /// The key, if there is one.
    pub(super) const fn id(&self) -> Option<ApiKeyId> {
        match self {
            Self::Known(id, _) => Some(*id),
            Self::Anybody | Self::Stranger(..) => None,
        }
    }

    /// What the key allows; `None` for a caller who needs none.
    pub(super) const fn state(&self) -> Option<&Arc<ApiKeyState>> {
        match self {
            Self::Known(_, state) => Some(state),
            Self::Anybody | Self::Stranger(..) => None,
        }
    }

    /// The key that the log names.
    pub(super) const fn named(&self) -> Option<ApiKeyId> {
        match self {
            Self::Known(id, _) | Self::Stranger(_, Some(id)) => Some(*id),
            Self::Anybody | Self::Stranger(_, None) => None,
        }
    }

    /// Whether this caller may use a route at all. Whether a write's key has expired is decided by the ledger's time,
    /// where the write is.
    pub(super) fn check_route(&self, node: &NodeHandle, route: Route) -> Result<(), Refusal> {
        let access = route.access();
        match self {
            _ if access == Access::Everybody => Ok(()),
            Self::Anybody => Ok(()),
            Self::Stranger(refusal, _) => Err(*refusal),
            Self::Known(_, state) => {
                match check_in_force(state, node) {
                    Err(Denial::Expired) if route.is_write() => Ok(()),
                    checked => checked,
                }
                .map_err(Refusal::Denied)?;
                match access {
                    Access::Scope(scope) => state.grant.check_scope(scope).map_err(Refusal::Denied),
                    Access::Everybody | Access::AnyKey => Ok(()),
                }
            }
        }
    }

    /// Whether the key is in force as of what this node has applied by now.
    pub(super) fn check_still(&self, node: &NodeHandle) -> Result<(), Refusal> {
        let Self::Known(id, _) = self else { return Ok(()) };
        let state = node.api_key(*id).ok_or(Denial::Unknown).map_err(Refusal::Denied)?;
        check_in_force(&state, node).map_err(Refusal::Denied)
    }
}

fn check_in_force(state: &ApiKeyState, node: &NodeHandle) -> Result<(), Denial> {
    // Nearly no key ends, so that nearly none needs the time.
    let now = if state.grant.expires_at.is_some() { node.time_for_reads() } else { state.created_at };
    state.check_in_force(now)
}

/// The key in a request's headers.
pub(super) fn key_in(headers: &HeaderMap) -> Result<ApiKey, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::NoKey)?;
    if values.next().is_some() {
        return Err(Refusal::NotAKey);
    }
    let text = value.to_str().map_err(|_| Refusal::NotAKey)?;
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(SCHEME) => ApiKey::parse(key).map_err(|_| Refusal::NotAKey),
        _ => Err(Refusal::NotAKey),
    }
}

impl Route {
    /// What the route asks of its caller.
    pub(super) const fn access(self) -> Access {
        match self {
            Self::Livez | Self::Readyz => Access::Everybody,
            Self::Description | Self::Reference | Self::Unmatched => Access::AnyKey,
            Self::PaymentCreate
            | Self::BatchCreate
            | Self::PaymentCapture
            | Self::PaymentVoid
            | Self::KeyFence
            | Self::CompatiblePayment
            | Self::CompatibleTransfer => Access::Scope(Scope::PaymentsWrite),
            Self::PaymentRefund => Access::Scope(Scope::RefundsWrite),
            Self::PaymentGet
            | Self::PaymentList
            | Self::PaymentByKey
            | Self::AccountList
            | Self::AccountGet
            | Self::AccountStatement
            | Self::Ledger
            | Self::CompatibleTransactions => Access::Scope(Scope::PaymentsRead),
            Self::AccountOpen | Self::AccountChange => Access::Scope(Scope::AccountsAdmin),
            Self::LeaderTransfer
            | Self::LedgerBackup
            | Self::CompatibleConfig
            | Self::ApiKeyCreate
            | Self::ApiKeyList
            | Self::ApiKeyRotate
            | Self::ApiKeyRevoke => Access::Scope(Scope::ClusterAdmin),
            Self::Cluster | Self::Metrics | Self::CompatibleHealth | Self::CompatibleStatus | Self::CompatiblePing => {
                Access::Scope(Scope::Metrics)
            }
        }
    }

    /// Whether it changes something. What was changed is answered, whatever became of the key meanwhile.
    pub(super) const fn is_write(self) -> bool {
        matches!(
            self,
            Self::PaymentCreate
                | Self::BatchCreate
                | Self::PaymentCapture
                | Self::PaymentVoid
                | Self::PaymentRefund
                | Self::KeyFence
                | Self::AccountOpen
                | Self::AccountChange
                | Self::LeaderTransfer
                | Self::ApiKeyCreate
                | Self::ApiKeyRotate
                | Self::ApiKeyRevoke
                | Self::CompatiblePayment
                | Self::CompatibleTransfer
        )
    }
}

/// Counts the refused callers and logs them, within bounds.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: [AtomicU64; REASONS.len()],
    limit: LogLimit,
}

impl Refusals {
    /// A caller was refused.
    pub(super) fn refused(&self, refusal: Refusal, route: Route, key: Option<ApiKeyId>, request_id: &RequestId) {
        self.counts[refusal.number()].fetch_add(1, Ordering::Relaxed);
        if let Some(Admitted { left_out }) = self.limit.admit() {
            let (reason, key) = (REASONS[refusal.number()], key.map(|key| key.to_string()));
            tracing::warn!(%request_id, route = route.name(), reason, api_key = key, left_out, "a caller was refused");
        }
    }

    /// How many were refused, by reason.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn found(values: &[&str]) -> Result<String, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("a header"));
        }
        key_in(&headers).map(|key| key.expose())
    }

    #[test]
    fn a_key_is_a_bearers_and_there_is_one() {
        let key = ApiKey::from_random([1; 8], [2; 32]).expose();
        for good in [format!("Bearer {key}"), format!("bearer {key}"), format!("BEARER {key}")] {
            assert_eq!(found(&[&good]), Ok(key.clone()));
        }
        assert_eq!(found(&[]), Err(Refusal::NoKey));
        let doubled = format!("Bearer {key}");
        for bad in
            [&[""][..], &["Bearer "], &[&key], &["Basic dXNlcjpwYXNz"], &["Bearer qp_1_2"], &[&doubled, &doubled]]
        {
            assert_eq!(found(bad), Err(Refusal::NotAKey), "{bad:?}");
        }
    }

    #[test]
    fn whoever_does_not_know_the_secret_learns_nothing_of_the_key() {
        let shown = |refusal: Refusal| refusal.problem().into_answer().body().to_vec();
        assert_eq!(shown(Refusal::WrongSecret), shown(Refusal::Denied(Denial::Unknown)));
    }

    #[test]
    fn every_refusal_has_a_reason_of_its_own() {
        let denials = [
            Denial::Unknown,
            Denial::Revoked,
            Denial::Expired,
            Denial::Scope(Scope::Metrics),
            Denial::Debit,
            Denial::Credit,
            Denial::Account,
            Denial::Limit,
            Denial::Management,
        ];
        let all = [Refusal::NoKey, Refusal::NotAKey, Refusal::WrongSecret];
        let all: Vec<_> = all.into_iter().chain(denials.map(Refusal::Denied)).map(Refusal::number).collect();
        assert_eq!(all, (0..REASONS.len()).collect::<Vec<_>>());
    }
}
