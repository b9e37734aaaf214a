//! How many connections the limit of open files allows. Every connection is an open file, and so is every file of the
//! ledger: a node that runs out of them cannot write.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::places::{ConnectionLimits, Places};

/// Open files of a node besides the connections at its ports: databases with their WALs, connections to peers and to
/// ZooKeeper, the log.
const OWN_FILES: usize = 512;

/// Connections at the peers' port. A node opens one to a peer for each request that it waits for.
const MAX_PEER_CONNECTIONS: usize = 2_048;

/// The part of the files for connections that the peers' port may take, as a divisor.
const PEERS_SHARE: usize = 4;

/// The places at the clients' port and at the peers' port: `wanted` for clients, or as many as the limit of open files
/// allows once it is raised.
///
/// # Errors
/// The system tells no limit of open files.
pub(crate) fn places(wanted: ConnectionLimits) -> io::Result<(Places, Places)> {
    let files = raise_file_limit(wanted.total)?;
    let budget = FileBudget::of(files, wanted.total);
    if budget.clients < wanted.total {
        tracing::warn!(
            connections = budget.clients,
            wanted = wanted.total,
            files,
            "the limit of open files allows fewer connections of clients than max_connections; raise it (ulimit -n)"
        );
    }
    let clients = ConnectionLimits { total: budget.clients, per_address: share(wanted, budget.clients) };
    // Whoever takes all that one address may have leaves as much for the others.
    let peers = ConnectionLimits { total: budget.peers, per_address: budget.peers.div_ceil(2) };
    Ok((Places::new(clients), Places::new(peers)))
}

/// What one address may have of `total` connections: the same part as of the wanted ones.
fn share(wanted: ConnectionLimits, total: usize) -> usize {
    wanted.per_address.saturating_mul(total).div_ceil(wanted.total)
}

/// How many open files there may be of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileBudget {
    /// Connections at the clients' port.
    clients: usize,
    /// Connections at the peers' port.
    peers: usize,
}

impl FileBudget {
    /// Divides `files` open files. The clients' port gets at most `wanted` connections.
    fn of(files: usize, wanted: usize) -> Self {
        // With fewer files than the node itself may need, the ports get one of four all the same.
        let for_connections = files.saturating_sub(OWN_FILES).max(files / PEERS_SHARE);
        let peers = (for_connections / PEERS_SHARE).clamp(1, MAX_PEER_CONNECTIONS);
        let clients = for_connections.saturating_sub(peers).clamp(1, wanted);
        Self { clients, peers }
    }

    /// The open files that allow `wanted` connections at the clients' port and all that are useful at the peers'.
    const fn files_for(wanted: usize) -> usize {
        // A fourth of them must not be less than the peers' connections.
        let enough_for_both = wanted + MAX_PEER_CONNECTIONS;
        let enough_for_peers = MAX_PEER_CONNECTIONS * PEERS_SHARE;
        OWN_FILES + if enough_for_both > enough_for_peers { enough_for_both } else { enough_for_peers }
    }
}

/// Raises this process' limit of open files to what `wanted` connections at the clients' port need, or as far as the
/// system lets it. Returns the limit.
///
/// # Errors
/// The system tells no limit.
fn raise_file_limit(wanted: usize) -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let goal = u64::try_from(FileBudget::files_for(wanted)).unwrap_or(u64::MAX).min(hard);
    let raised = soft < goal && setrlimit(Resource::RLIMIT_NOFILE, goal, hard).is_ok();
    let limit = if raised { goal } else { soft };
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_files_of_the_ledger() {
        for files in [256, 1_024, 4_096, 65_536] {
            let budget = FileBudget::of(files, 10_000);
            assert!(budget.clients + budget.peers + OWN_FILES.min(files / 2) <= files, "{files}: {budget:?}");
            assert!(budget.clients >= files / 8 || budget.clients == 10_000, "{files}: {budget:?}");
        }
        assert_eq!(FileBudget::of(1_024, 10_000), FileBudget { clients: 384, peers: 128 });
    }

    #[test]
    fn one_address_may_have_the_same_part_of_few_connections_as_of_many() {
        let wanted = ConnectionLimits { total: 10_000, per_address: 5_000 };
        assert_eq!([1, 96, 10_000].map(|total| share(wanted, total)), [1, 48, 5_000]);
        let all = ConnectionLimits { total: 10_000, per_address: 10_000 };
        assert_eq!(share(all, 96), 96);
    }

    #[test]
    fn the_wanted_limit_of_files_allows_the_wanted_connections() {
        for wanted in [1, 100, 10_000, 60_000] {
            let budget = FileBudget::of(FileBudget::files_for(wanted), wanted);
            assert_eq!(budget, FileBudget { clients: wanted, peers: MAX_PEER_CONNECTIONS });
        }
    }

    #[test]
    fn the_limit_of_files_is_raised_and_never_lowered() {
        let (before, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("the system tells");
        let limit = raise_file_limit(100).expect("the system tells") as u64;
        let (after, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the system tells");
        assert_eq!(limit, after);
        assert!(after >= before && after <= hard);
    }
}
