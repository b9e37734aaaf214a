//! How a client reaches nodes: whom it trusts, and how it shows who it is.

use reqwest::ClientBuilder;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::tls::Tls;
use quorapay_core::domain::ApiKey;

/// See the module. Cheap to clone; it prints without secrets.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whom it trusts, and the certificate that it shows.
    pub tls: Tls,
    /// The API key that every request has.
    pub api_key: Option<ApiKey>,
}

impl Access {
    /// Plain HTTP, without an API key.
    #[must_use]
    pub fn none() -> Self {
        Self { tls: Tls::none(), api_key: None }
    }

    /// The value of `Authorization`, if there is a key. It is marked as not to be shown.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue> {
        let key = self.api_key.as_ref()?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).expect("a key is ASCII");
        value.set_sensitive(true);
        Some(value)
    }

    /// A builder of an HTTP client that reaches nodes this way and asks no proxy.
    pub fn http(&self) -> ClientBuilder {
        let headers: HeaderMap = self.authorization().into_iter().map(|value| (AUTHORIZATION, value)).collect();
        self.tls.http().default_headers(headers)
    }
}
