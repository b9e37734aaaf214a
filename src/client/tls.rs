//! Whom a client trusts, and the certificate that it shows.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::error::ClientError;

/// The beginning of URLs that need TLS.
const HTTPS: &str = "https://";

/// The files of a client that speaks TLS, in PEM. The default trusts the authorities of the system and shows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities to trust, instead of those of the system.
    pub authorities: Option<PathBuf>,
    /// The client's own certificate and its private key, for nodes that demand one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// How a client speaks TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Whether one of these URLs needs it.
    #[must_use]
    pub fn is_needed(urls: &[String]) -> bool {
        urls.iter().any(|url| url.get(..HTTPS.len()).is_some_and(|start| start.eq_ignore_ascii_case(HTTPS)))
    }

    /// For these base URLs. Files are read, and the system's authorities looked up, only if one of them needs TLS.
    ///
    /// # Errors
    /// [`ClientError::Tls`] names the file that cannot be used.
    pub fn for_urls(urls: &[String], files: &TlsFiles) -> Result<Self, ClientError> {
        let (roots, own) =
            if Self::is_needed(urls) { (roots(files)?, own(files)?) } else { (RootCertStore::empty(), None) };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider knows the default versions").with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((file, chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| unfit(file, error))?
            }
        };
        Ok(Self(Arc::new(config)))
    }

    /// A client of plain HTTP.
    #[must_use]
    pub fn none() -> Self {
        Self::for_urls(&[], &TlsFiles::default()).expect("nothing is read")
    }

    /// The configuration, for other HTTP clients.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }

    /// A builder of an HTTP client that speaks TLS this way and asks no proxy.
    pub fn http(&self) -> ClientBuilder {
        reqwest::Client::builder().no_proxy().tls_backend_preconfigured(ClientConfig::clone(&self.0))
    }
}

fn unfit(file: &Path, reason: impl Display) -> ClientError {
    ClientError::Tls { file: file.display().to_string(), reason: reason.to_string() }
}

fn read(file: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(file).map_err(|error| unfit(file, error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let all = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| unfit(file, error))?;
    if all.is_empty() { Err(unfit(file, "it contains no certificate")) } else { Ok(all) }
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    match &files.authorities {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| unfit(file, error))?;
            }
        }
        None => {
            // Some that cannot be read are no reason to trust none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

type Own<'a> = (&'a Path, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own(files: &TlsFiles) -> Result<Option<Own<'_>>, ClientError> {
    let Some((certificate, key)) = &files.own else { return Ok(None) };
    let parsed = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unfit(key, error))?;
    Ok(Some((certificate, certificates(certificate)?, parsed)))
}
