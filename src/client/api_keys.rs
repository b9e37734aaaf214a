//! The calls that concern API keys. No secret leaves the client, only its digest.

use reqwest::Method;

use super::call::Call;
use super::error::ClientError;
use super::send::{Client, Done, Outcome};
use super::{ApiKeyList, ApiKeyRotation, ChangedApiKey, KeyLookup, KeyState, NewApiKey};
use quorapay_core::domain::{ApiKeyId, IdempotencyKey};

/// For changes of API keys.
fn recorded(lookup: &KeyLookup) -> Option<Outcome<ChangedApiKey>> {
    let value = lookup.api_key.clone().filter(|_| lookup.state == KeyState::Committed)?;
    Some(Outcome::Committed(Done { value, replayed: true }))
}

impl Client {
    /// Creates an API key.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no node could be reached at all: nothing changed then.
    pub async fn create_api_key(
        &self,
        key: &IdempotencyKey,
        new: &NewApiKey,
    ) -> Result<Outcome<ChangedApiKey>, ClientError> {
        self.decide(key, &Call::write(Method::POST, &["v1", "api-keys"], key, new), recorded).await
    }

    /// Gives an API key another secret.
    ///
    /// # Errors
    /// Like [`Self::create_api_key`].
    pub async fn rotate_api_key(
        &self,
        key: &IdempotencyKey,
        id: ApiKeyId,
        rotation: &ApiKeyRotation,
    ) -> Result<Outcome<ChangedApiKey>, ClientError> {
        let call = Call::write(Method::POST, &["v1", "api-keys", &id.to_string(), "rotate"], key, rotation);
        self.decide(key, &call, recorded).await
    }

    /// Ends an API key for good. Once this is done, no node takes a write with it.
    ///
    /// # Errors
    /// Like [`Self::create_api_key`].
    pub async fn revoke_api_key(
        &self,
        key: &IdempotencyKey,
        id: ApiKeyId,
    ) -> Result<Outcome<ChangedApiKey>, ClientError> {
        let nothing = serde_json::Map::new();
        let call = Call::write(Method::POST, &["v1", "api-keys", &id.to_string(), "revoke"], key, &nothing);
        self.decide(key, &call, recorded).await
    }

    /// All API keys, without their secrets.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn api_keys(&self) -> Result<ApiKeyList, ClientError> {
        self.read(&Call::read(&["v1", "api-keys"], Vec::new()), self.deadline).await
    }
}
