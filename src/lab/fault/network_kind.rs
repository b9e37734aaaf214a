//! The kinds of networks.

use serde::Serialize;

/// How the processes are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// On loopback, through proxies in this program. Needs no privileges.
    #[default]
    Loopback,
    /// In network namespaces, with packet filters. Needs root.
    Namespaces,
}
