//! TLS for the two ports: certificates and keys from PEM files, read again when they change, and what a certificate says of
//! its holder.
//!
//! At the clients' port a node shows its certificate, and may demand one of every client. At the peers' port both sides
//! show one, and a node's id is a name in it ([`node_name`]). Files are read again every few seconds and at SIGHUP. Files that
//! cannot be used are refused, and the ones before stay in use. This module does not know HTTP and opens no connection.
//!
//! | file | what |
//! |---|---|
//! | `files.rs` | the files of a port, and what is wrong with them |
//! | `certificate.rs` | names and expiry of a certificate |
//! | `material.rs` | files that fit together, as configurations of rustls |
//! | `sealing.rs` | the configuration in use, whom connections show, what was refused |
//! | `keeper.rs` | reads the files again |
//! | `metrics.rs` | shows expiry, reloads and refusals |

mod certificate;
mod files;
mod keeper;
mod material;
mod metrics;
#[cfg(test)]
pub(crate) mod samples;
mod sealing;
#[cfg(test)]
mod tests;

pub(crate) use certificate::is_name;
pub use certificate::{is_node_name, node_name};
pub use files::{TlsError, TlsFiles};
pub(crate) use keeper::{Keeper, hang_ups, keep};
pub(crate) use material::Purpose;
pub(crate) use metrics::TlsMetrics;
pub use sealing::Sealing;
pub(crate) use sealing::{Presented, Refusal};
