//! Files that fit together, as configurations of rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::certificate::Facts;
use super::files::{Contents, TlsError, TlsFiles};

/// The only protocol above TLS.
const HTTP_1_1: &[u8] = b"http/1.1";

/// What certificates are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The clients' port.
    Clients,
    /// The peers' port, and connections to those of others.
    Peers {
        /// The name that this node's certificate must have.
        own_name: String,
    },
}

/// Configurations that one set of files gives.
#[derive(Clone)]
pub(super) struct Material {
    /// For connections that come.
    pub(super) server: Arc<ServerConfig>,
    /// For connections to peers.
    pub(super) client: Option<Arc<ClientConfig>>,
    /// Of the node's own certificate.
    pub(super) facts: Facts,
}

impl Material {
    /// Puts the contents of the files together, and checks what can be checked before anybody connects.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub(super) fn new(files: &TlsFiles, contents: &Contents, purpose: &Purpose) -> Result<Self, TlsError> {
        let at_certificate = |reason: String| TlsError::new(&files.certificate, reason);
        let chain = certificates(&files.certificate, &contents.certificate)?;
        let facts = Facts::of(&chain[0]).map_err(at_certificate)?;
        let now = UnixTime::now();
        if u64::try_from(facts.expires_at).unwrap_or_default() <= now.as_secs() {
            return Err(at_certificate("it has expired".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| TlsError::new(&files.key, format!("it contains no private key: {error}")))?;
        let authorities = match (&files.authorities, &contents.authorities) {
            (Some(file), Some(bytes)) => Some((file.as_path(), authorities(file, bytes)?)),
            _ => None,
        };
        if let (Purpose::Peers { own_name }, Some((file, roots))) = (purpose, &authorities) {
            require_peer(&chain, &facts, roots, own_name)
                .map_err(|reason| at_certificate(format!("{reason} (authorities: {})", file.display())))?;
        }
        let unfit = |error: rustls::Error| at_certificate(format!("it does not fit {}: {error}", files.key.display()));
        let client = match (purpose, &authorities) {
            (Purpose::Peers { .. }, Some((_, roots))) => {
                Some(client(roots, chain.clone(), key.clone_key()).map_err(unfit)?)
            }
            _ => None,
        };
        let mut server = server(authorities.map(|(_, roots)| roots), chain, key).map_err(unfit)?;
        if matches!(purpose, Purpose::Peers { .. }) {
            // A session that is resumed is not verified again, and would outlive its certificate. Peers seldom connect.
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        let server = Arc::new(server);
        Ok(Self { server, client, facts })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// All certificates of a file, at least one.
fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| TlsError::new(file, format!("it is damaged: {error}")))?;
    if all.is_empty() { Err(TlsError::new(file, "it contains no certificate")) } else { Ok(all) }
}

/// The authorities of a file. Several can be in one file, so that one can take another's place.
fn authorities(file: &Path, pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, pem)? {
        roots.add(certificate).map_err(|error| TlsError::new(file, error))?;
    }
    Ok(Arc::new(roots))
}

/// Whether the peers, which have the same authorities, will accept this node.
fn require_peer(
    chain: &[CertificateDer<'static>],
    facts: &Facts,
    roots: &Arc<RootCertStore>,
    own_name: &str,
) -> Result<(), String> {
    if !facts.has_name(own_name) {
        return Err(format!("it is not this node's: it has the names {:?}, and not {own_name}", facts.names));
    }
    let (leaf, rest) = chain.split_first().expect("a file of certificates has one");
    let (name, now) = (ServerName::try_from(own_name).map_err(|error| error.to_string())?, UnixTime::now());
    let as_server = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider()).build();
    let as_server = as_server.map_err(|error| error.to_string())?;
    as_server.verify_server_cert(leaf, rest, &name, &[], now).map_err(|error| error.to_string())?;
    let as_client = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider()).build();
    let as_client = as_client.map_err(|error| error.to_string())?;
    as_client.verify_client_cert(leaf, rest, now).map_err(|error| error.to_string())?;
    Ok(())
}

/// With authorities, the other side must show a certificate of one of them.
fn server(
    roots: Option<Arc<RootCertStore>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match roots {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

fn client(
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(Arc::clone(roots)).with_client_auth_cert(chain, key)?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}
