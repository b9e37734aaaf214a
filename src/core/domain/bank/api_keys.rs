//! API keys: created, rotated, revoked, and what their holders may write.

use std::sync::Arc;

use super::super::{
    ApiKeyChangeKind, ApiKeyId, ApiKeyOutcome, ApiKeyState, Denial, OldSecret, Operation, OperationRequest, Rejection,
    Stamp, Timestamp,
};
use super::outcome::Divergence;
use super::store::Bank;
use super::undo::Undo;
use crate::planted::{Bug, planted};

/// API keys that there may be. Revoked ones are kept, so that they can be seen, until their places are needed.
pub const MAX_API_KEYS: usize = 1_000;

impl Bank {
    /// Decides whether a caller may request this, by the ledger's time. A change of a payment that memory does not hold is
    /// checked as far as that goes: the caller recalls the payment first.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn authorise(&self, now: Timestamp, principal: ApiKeyId, request: &OperationRequest) -> Result<(), Denial> {
        let payment = match request {
            OperationRequest::PaymentChange { payment, .. } => self.payments.get(payment),
            _ => None,
        };
        self.key_in_force(now, principal)?.grant.check_request(request, payment)
    }

    /// Checks that the caller of a decided operation was allowed to request it.
    pub(crate) fn check_principal(
        &self,
        stamp: Stamp,
        principal: ApiKeyId,
        operation: &Operation,
    ) -> Result<(), Divergence> {
        let checked = self.key_in_force(stamp.timestamp, principal).and_then(|key| key.grant.check_decided(operation));
        checked.map_err(|denial| Divergence(format!("its caller, {principal}, was not allowed it: {denial}")))
    }

    fn key_in_force(&self, now: Timestamp, id: ApiKeyId) -> Result<&ApiKeyState, Denial> {
        let key = self.api_keys.get(&id).ok_or(Denial::Unknown)?;
        match key.check_in_force(now) {
            Err(Denial::Revoked) if planted(Bug::RevokedKeyPays) => Ok(key),
            checked => checked.map(|()| &**key),
        }
    }

    /// Decides a change of an API key and executes it.
    pub(super) fn change_api_key(
        &mut self,
        stamp: Stamp,
        id: ApiKeyId,
        change: &ApiKeyChangeKind,
        undo: &mut Undo,
    ) -> ApiKeyOutcome {
        let changed = match change {
            ApiKeyChangeKind::Create { grant, secret } => self.make_place_for(id, undo).map(|()| ApiKeyState {
                grant: (**grant).clone(),
                secret: *secret,
                old_secret: None,
                created_at: stamp.timestamp,
                revoked_at: None,
            }),
            ApiKeyChangeKind::Rotate { secret, old_valid_for_s } => self.unrevoked(id).map(|key| {
                let valid_until = Timestamp(stamp.timestamp.0.saturating_add(1_000 * u64::from(*old_valid_for_s)));
                let old_secret = Some(OldSecret { digest: key.secret, valid_until });
                ApiKeyState { secret: *secret, old_secret, ..key.clone() }
            }),
            ApiKeyChangeKind::Revoke => {
                self.unrevoked(id).map(|key| ApiKeyState { revoked_at: Some(stamp.timestamp), ..key.clone() })
            }
        };
        match changed {
            Ok(state) => {
                self.set_api_key(id, Some(Arc::new(state)), undo);
                ApiKeyOutcome::Applied
            }
            Err(rejection) => ApiKeyOutcome::Rejected(rejection),
        }
    }

    fn unrevoked(&self, id: ApiKeyId) -> Result<&ApiKeyState, Rejection> {
        match self.api_keys.get(&id) {
            None => Err(Rejection::ApiKeyNotFound),
            Some(key) if key.revoked_at.is_some() => Err(Rejection::ApiKeyRevoked),
            Some(key) => Ok(key),
        }
    }

    /// Forgets the key that was revoked first, if there is no other place for a new one.
    fn make_place_for(&mut self, id: ApiKeyId, undo: &mut Undo) -> Result<(), Rejection> {
        if self.api_keys.contains_key(&id) {
            return Err(Rejection::ApiKeyExists);
        }
        if self.api_keys.len() < MAX_API_KEYS {
            return Ok(());
        }
        let revoked = self.api_keys.iter().filter_map(|(id, key)| Some((key.revoked_at?, *id)));
        let (_, first) = revoked.min().ok_or(Rejection::TooManyApiKeys)?;
        self.set_api_key(first, None, undo);
        Ok(())
    }
}

#[cfg(test)]
#[path = "api_keys_tests.rs"]
mod tests;
