//! What a certificate says: the names of its holder, and until when it is valid.

use quorapay_core::replication::NodeId;
use rustls::pki_types::{CertificateDer, DnsName};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The end of the names of nodes. It is no domain of the Internet: only a private authority signs such names.
const SUFFIX: &str = "quorapay";

/// The name that is a node's id in a certificate: `<node id>.<cluster id>.quorapay`. With the cluster's id in it, a
/// certificate of a test cluster opens no other one, even if one authority signed both.
#[must_use]
pub fn node_name(node: &NodeId, cluster_id: &str) -> String {
    format!("{node}.{cluster_id}.{SUFFIX}")
}

/// Whether this may be a node's name, which no other certificate may have.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    name.to_ascii_lowercase().trim_end_matches('.').ends_with(&format!(".{SUFFIX}"))
}

/// Whether a certificate can have this name.
pub(crate) fn is_name(name: &str) -> bool {
    DnsName::try_from(name).is_ok()
}

/// What is known of a certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its DNS names (subject alternative names), as they are written.
    pub(super) names: Vec<String>,
    /// Its subject, for people.
    pub(super) subject: String,
    /// Until when it is valid, in seconds since 1970.
    pub(super) expires_at: i64,
}

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| format!("no certificate: {error}"))?;
        let names = parsed.subject_alternative_name().map_err(|error| format!("unreadable names: {error}"))?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        Ok(Self {
            names: names.iter().filter_map(dns).collect(),
            subject: parsed.subject().to_string(),
            expires_at: parsed.validity().not_after.timestamp(),
        })
    }

    /// Whether this is one of its names, letter for letter. No wildcard stands for a node.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }
}
