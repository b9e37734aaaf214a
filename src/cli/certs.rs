//! `quorapay certs`: a small private authority, and certificates for nodes and clients.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::connection::{print_line, to_json};
use quorapay_client::Rfc3339;
use quorapay_core::domain::Timestamp;
use quorapay_core::replication::NodeId;
use quorapay_lab::certificates::{CertificateError, Holder, Written, init, is_node_name, issue};

const EXAMPLES: &str = "\
Examples:
  quorapay certs init                                        # certificates/ca.pem and ca-key.pem
  quorapay certs node node1 --host node1.example --host 10.0.0.1
  quorapay certs client shop --days 90
  quorapay certs node node1 --to /etc/quorapay/tls           # elsewhere than in certificates/node1

A node's certificate has the name <node id>.<cluster id>.quorapay, by which its peers know it, and the hosts, by which its
clients do. Files are for their owner alone (mode 0600) and never written over. Who has ca-key.pem can be any node: keep it on
no node.";

/// Make a private authority and certificates
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: Command,
}

/// The folder of the authority, and the form of the output.
#[derive(Debug, Args)]
struct Common {
    /// Folder of the authority
    #[arg(long, value_name = "DIR", default_value = "certificates")]
    folder: PathBuf,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the authority
    Init {
        #[command(flatten)]
        common: Common,
        /// Its name
        #[arg(long, default_value = "Quorapay")]
        name: String,
        /// For how many days it is valid
        #[arg(long, default_value_t = 3_650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Make the certificate of a node, for its peers and its clients
    Node {
        #[command(flatten)]
        common: Common,
        /// The node's id
        #[arg(value_name = "ID")]
        id: String,
        /// The id of its cluster
        #[arg(long, default_value = "quorapay")]
        cluster_id: String,
        /// A name or an address in the URL with which clients reach it; may be repeated
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        signed: Signed,
    },
    /// Make the certificate of a client
    Client {
        #[command(flatten)]
        common: Common,
        /// The client's name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        signed: Signed,
    },
}

/// What is said of every certificate that the authority signs.
#[derive(Debug, Args)]
struct Signed {
    /// Folder for the certificate and its key [default: one with its name, in the authority's]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// For how many days it is valid, at most as long as the authority
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

impl Certs {
    pub(super) fn run(self) -> Result<(), CliError> {
        match self.command {
            Command::Init { common, name, days } => show(&common, init(&common.folder, &name, days)),
            Command::Node { common, id, cluster_id, hosts, signed } => {
                let id =
                    NodeId::parse(&id).map_err(|error| CliError::Usage(format!("{id:?} is no node id: {error}")))?;
                hosts.iter().try_for_each(|host| refuse_node_name(host))?;
                sign(&common, &signed, &Holder::Node { id, cluster_id, hosts })
            }
            Command::Client { common, name, signed } => {
                if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
                    return Err(CliError::Usage(format!("{name:?} is no name for a client and its folder")));
                }
                refuse_node_name(&name)?;
                sign(&common, &signed, &Holder::Client { name })
            }
        }
    }
}

/// Whoever has a certificate with a node's name speaks as that node.
fn refuse_node_name(name: &str) -> Result<(), CliError> {
    if is_node_name(name) {
        return Err(CliError::Usage(format!("{name:?} is the name of a node: use `quorapay certs node` with its id")));
    }
    Ok(())
}

fn sign(common: &Common, signed: &Signed, holder: &Holder) -> Result<(), CliError> {
    let to = signed.to.clone().unwrap_or_else(|| common.folder.join(holder.folder()));
    show(common, issue(&common.folder, &to, holder, signed.days))
}

fn show(common: &Common, written: Result<Written, CertificateError>) -> Result<(), CliError> {
    let Written { certificate, key, names, expires_at } = written.map_err(|e| CliError::Failed(e.to_string()))?;
    let expires = Rfc3339(Timestamp(expires_at.saturating_mul(1_000))).to_string();
    if common.json {
        return print_line(&to_json(
            &json!({"certificate": certificate, "key": key, "names": names, "expires_at": expires}),
        ));
    }
    let of = if names.is_empty() { "the authority".to_owned() } else { names.join(", ") };
    print_line(&format!(
        "certificate  {}\nkey          {}\nof           {of}\nvalid until  {expires}",
        certificate.display(),
        key.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_gets_a_certificate_with_the_name_of_one() {
        for name in ["node2.shop.quorapay", "Node2.Shop.QUORAPAY", "*.shop.quorapay."] {
            let refused = refuse_node_name(name).expect_err("it is a node's").to_string();
            assert!(refused.contains("quorapay certs node"), "{refused}");
        }
        for name in ["shop", "pay.example", "127.0.0.1", "quorapay", "quorapay.example"] {
            assert!(refuse_node_name(name).is_ok(), "{name}");
        }
    }
}
