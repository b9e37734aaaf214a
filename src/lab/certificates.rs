//! A small private authority, and certificates for nodes and clients.
//!
//! Files are for their owner alone and are never written over. It knows files, and neither nodes nor ports.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use x509_parser::pem::parse_x509_pem;

use quorapay_core::replication::NodeId;
pub use quorapay_node::tls::is_node_name;
use quorapay_node::tls::node_name;

/// The authority's certificate, which everybody may have.
const AUTHORITY_FILE: &str = "ca.pem";
/// The authority's key, which signs whatever its holder wants.
const AUTHORITY_KEY_FILE: &str = "ca-key.pem";
const CERTIFICATE_FILE: &str = "certificate.pem";
const KEY_FILE: &str = "key.pem";

/// Permission of folders and files: their owner's alone.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// How much of its key's id is in the name of an authority.
const KEY_ID_BYTES: usize = 4;

const SECONDS_PER_DAY: u64 = 86_400;
/// A certificate is valid from a little before it is made: clocks differ.
const BEFORE: Duration = Duration::from_secs(3_600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written; one that exists is never written over.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The authority's files are damaged.
    #[error("{} is not the file of an authority: {reason}", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name cannot be in a certificate.
    #[error("no certificate can be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The names in it; an authority has none.
    pub names: Vec<String>,
    /// Until when it is valid, in seconds since 1970.
    pub expires_at: u64,
}

/// Whose certificate is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A node: as a peer, and at its clients' port under these hosts.
    Node {
        /// Its id.
        id: NodeId,
        /// The id of its cluster.
        cluster_id: String,
        /// Names and addresses in the URLs with which clients reach it.
        hosts: Vec<String>,
    },
    /// A client.
    Client {
        /// Its name.
        name: String,
    },
}

impl Holder {
    /// The folder in which its files are by default, within that of the authority.
    #[must_use]
    pub fn folder(&self) -> &str {
        match self {
            Self::Node { id, .. } => id.as_str(),
            Self::Client { name } => name,
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Node { id, cluster_id, hosts } => {
                std::iter::once(node_name(id, cluster_id)).chain(hosts.iter().cloned()).collect()
            }
            Self::Client { name } => vec![name.clone()],
        }
    }

    fn purposes(&self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Self::Node { .. } => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Self::Client { .. } => vec![ExtendedKeyUsagePurpose::ClientAuth],
        }
    }
}

/// Makes an authority with this name and a part of its key's id in a folder, for so many days.
///
/// # Errors
/// [`CertificateError::File`] if there is one already, or if the folder cannot be written.
pub fn init(folder: &Path, name: &str, days: u32) -> Result<Written, CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // Two authorities of one name would be taken for each other: a signature of one for a forged one of the other.
    let key_id = params.key_identifier(&key);
    params.distinguished_name = common_name(&format!("{name} {}", hex::encode(&key_id[..KEY_ID_BYTES])));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let expires_at = valid_for(&mut params, days, u64::MAX);
    let certificate = params.self_signed(&key)?;
    let written = Written {
        certificate: folder.join(AUTHORITY_FILE),
        key: folder.join(AUTHORITY_KEY_FILE),
        names: Vec::new(),
        expires_at,
    };
    write_both(folder, &written, &certificate.pem(), &key)?;
    Ok(written)
}

/// Has the authority of a folder sign a certificate, for so many days and not longer than the authority itself.
///
/// # Errors
/// [`CertificateError`]; nothing is written over.
pub fn issue(authority: &Path, to: &Path, holder: &Holder, days: u32) -> Result<Written, CertificateError> {
    let (certificate_file, key_file) = (authority.join(AUTHORITY_FILE), authority.join(AUTHORITY_KEY_FILE));
    let certificate = read(&certificate_file)?;
    let authority_end = end_of(&certificate)
        .map_err(|reason| CertificateError::Authority { file: certificate_file.clone(), reason })?;
    let damaged = |file: &Path| {
        let file = file.to_owned();
        move |error: rcgen::Error| CertificateError::Authority { file, reason: error.to_string() }
    };
    let authority_key = KeyPair::from_pem(&read(&key_file)?).map_err(damaged(&key_file))?;
    let issuer = Issuer::from_ca_cert_pem(&certificate, authority_key).map_err(damaged(&certificate_file))?;
    let names = holder.names();
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name = common_name(&names[0]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = holder.purposes();
    params.use_authority_key_identifier_extension = true;
    let expires_at = valid_for(&mut params, days, authority_end);
    let key = KeyPair::generate()?;
    let signed = params.signed_by(&key, &issuer)?;
    let written = Written { certificate: to.join(CERTIFICATE_FILE), key: to.join(KEY_FILE), names, expires_at };
    write_both(to, &written, &signed.pem(), &key)?;
    Ok(written)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Sets from when to when a certificate is valid, and returns the end.
fn valid_for(params: &mut CertificateParams, days: u32, at_most: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let end = (now.as_secs() + u64::from(days) * SECONDS_PER_DAY).min(at_most);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BEFORE);
    params.not_after = epoch + Duration::from_secs(end);
    end
}

/// Until when a certificate is valid.
fn end_of(pem: &str) -> Result<u64, String> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
    let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
    Ok(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default())
}

fn read(file: &Path) -> Result<String, CertificateError> {
    std::fs::read_to_string(file).map_err(|source| CertificateError::File { file: file.to_owned(), source })
}

/// Writes a key and its certificate, or neither. The key first: without it, the certificate is worth nothing.
fn write_both(folder: &Path, files: &Written, certificate: &str, key: &KeyPair) -> Result<(), CertificateError> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.map_err(|source| CertificateError::File { file: folder.to_owned(), source })?;
    if files.certificate.exists() {
        // A new key beside it would be taken for its own.
        let (file, source) = (files.certificate.clone(), io::ErrorKind::AlreadyExists.into());
        return Err(CertificateError::File { file, source });
    }
    write_new(&files.key, &key.serialize_pem())?;
    write_new(&files.certificate, certificate).inspect_err(|_| {
        // The first failure is the one to tell.
        let _ = std::fs::remove_file(&files.key);
    })
}

fn write_new(file: &Path, text: &str) -> Result<(), CertificateError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()));
    written.map_err(|source| CertificateError::File { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn node(id: &str) -> Holder {
        Holder::Node {
            id: NodeId::parse(id).expect("an id"),
            cluster_id: "shop".to_owned(),
            hosts: vec!["pay.example".to_owned(), "127.0.0.1".to_owned()],
        }
    }

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn files_are_for_their_owner_alone_and_are_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = folder.path().join("ca");
        let own = init(&authority, "Test", 30).expect("made");
        let written = issue(&authority, &authority.join("node1"), &node("node1"), 7).expect("signed");
        assert_eq!([mode(&authority), mode(&authority.join("node1"))], [FOLDER_MODE; 2]);
        for file in [&own.certificate, &own.key, &written.certificate, &written.key] {
            assert_eq!(mode(file), FILE_MODE, "{}", file.display());
        }
        let key = fs::read(&own.key).expect("readable");
        assert!(init(&authority, "Test", 30).is_err());
        assert!(issue(&authority, &authority.join("node1"), &node("node1"), 7).is_err());
        assert_eq!(fs::read(&own.key).expect("readable"), key);
    }

    #[test]
    fn an_authority_whose_key_is_elsewhere_gets_no_new_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = init(folder.path(), "Test", 30).expect("made");
        fs::remove_file(&own.key).expect("taken away");
        assert!(init(folder.path(), "Test", 30).is_err());
        assert!(!own.key.exists(), "nothing is left that would be taken for its key");
    }

    #[test]
    fn a_certificate_has_the_names_of_its_node_and_ends_with_its_authority() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = init(folder.path(), "Test", 30).expect("made");
        let written = issue(folder.path(), &folder.path().join("a"), &node("node1"), 365).expect("signed");
        assert_eq!(written.names, ["node1.shop.quorapay", "pay.example", "127.0.0.1"]);
        assert_eq!(written.expires_at, own.expires_at, "it is worth nothing after its authority's end");
        let shorter = issue(folder.path(), &folder.path().join("b"), &node("node1"), 7).expect("signed");
        assert_eq!(own.expires_at - shorter.expires_at, 23 * SECONDS_PER_DAY);
    }

    #[test]
    fn a_folder_without_an_authority_signs_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path().join("node1");
        assert!(matches!(issue(folder.path(), &to, &node("node1"), 7), Err(CertificateError::File { .. })));
        fs::write(folder.path().join(AUTHORITY_FILE), "no PEM").expect("written");
        let error = issue(folder.path(), &to, &node("node1"), 7).expect_err("damaged").to_string();
        assert!(error.contains("is not the file of an authority"), "{error}");
        assert!(!to.exists());
    }
}
