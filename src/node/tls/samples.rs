//! Authorities and certificates for tests.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::{ClientConfig, RootCertStore};

use super::{Keeper, Purpose, Sealing, TlsFiles};

/// When most certificates begin to be valid: in 2020.
const LONG_AGO: u64 = 1_577_836_800;

/// Signs certificates.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("valid");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate with these names, for an hour from now.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_between(names, LONG_AGO, UnixTime::now().as_secs() + 3_600)
    }

    /// One that has expired.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_between(names, LONG_AGO, UnixTime::now().as_secs() - 60)
    }

    /// One that is valid between two times, in seconds since 1970.
    pub(crate) fn issue_between(&self, names: &[&str], start: u64, end: u64) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(start), at(end));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("valid").pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

/// Writes the files of a port into a folder.
pub(crate) fn write(folder: &Path, own: &Issued, authorities: Option<&str>) -> TlsFiles {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("written");
        path
    };
    TlsFiles {
        certificate: file("certificate.pem", &own.certificate),
        key: file("key.pem", &own.key),
        authorities: authorities.map(|text| file("ca.pem", text)),
    }
}

/// The sealing of a clients' port with this certificate.
pub(crate) fn sealed_clients(own: &Issued, authorities: Option<&str>) -> Sealing {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write(folder.path(), own, authorities);
    Keeper::open("clients", files, Purpose::Clients).expect("they fit").sealing()
}

/// What a client has that trusts this authority and shows this certificate.
pub(crate) fn client_config(authority: &Authority, own: Option<&Issued>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("known");
    let builder = builder.with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![certificate], key).expect("they fit")
        }
    })
}
