//! Whether a quarantined node may begin again by itself. Damage that comes back within an hour has a cause that a new
//! ledger does not remove, so the second quarantine within an hour is left to an operator.
//!
//! The memory of it is a small file beside the ledger, because it must outlive the process. It knows no engine and reads
//! no clock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use quorapay_core::domain::LogIndex;
use quorapay_core::replication::NodeId;

use crate::durable_file;

use super::status::{FollowerStatus, PeerStatus, Role};

const FILE: &str = "quarantines.json";

/// A node repairs itself at most this often: copying even a large ledger takes less, and bad memory or a bad disk shows
/// again sooner.
const MIN_INTERVAL_MS: u64 = 60 * 60 * 1_000;

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// How often this node was quarantined since its data directory was made.
    quarantines: u64,
    /// When it last began again by itself, in Unix milliseconds.
    repaired_unix_ms: Option<u64>,
}

/// The quarantines of a data directory.
#[derive(Clone, Debug)]
pub(super) struct Quarantines {
    path: PathBuf,
    record: Record,
    /// The file cannot be read. Nobody knows when the last repair was, so there is none until an operator acts.
    unreadable: bool,
}

impl Quarantines {
    /// Reads the file; one that is missing means that there was no quarantine.
    pub(super) fn load(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE);
        let (record, unreadable) = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_or((Record::default(), true), |record| (record, false)),
            Err(error) => (Record::default(), error.kind() != io::ErrorKind::NotFound),
        };
        if unreadable {
            tracing::warn!(path = %path.display(), "cannot be read: this node will not repair itself; delete the file");
        }
        Self { path, record, unreadable }
    }

    /// How often this node was quarantined.
    pub(super) const fn count(&self) -> u64 {
        self.record.quarantines
    }

    /// Counts a quarantine. Returns whether the node may begin again by itself, and counts that too.
    pub(super) fn begin(&mut self, now_unix_ms: u64) -> bool {
        self.record.quarantines += 1;
        // A clock that was set back since the last repair makes the interval longer, never endless.
        let is_recent = |repaired: u64| now_unix_ms.abs_diff(repaired) < MIN_INTERVAL_MS;
        let may_repair = !self.unreadable && !self.record.repaired_unix_ms.is_some_and(is_recent);
        if may_repair {
            self.record.repaired_unix_ms = Some(now_unix_ms);
        }
        may_repair
    }

    /// Stores the record durably: as another file first, so that a crash leaves the old one or the new one.
    pub(super) fn store(&self) -> io::Result<()> {
        if self.unreadable {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.record).map_err(io::Error::other)?;
        durable_file::replace(&self.path, &text)?;
        self.path.parent().map_or(Ok(()), durable_file::sync_directory)
    }
}

/// Whether the others serve without this node: one leads, and with it a quorum of the voters holds everything up to
/// `commit_index`, all that this node can have helped to commit. Until then its ledger may be needed, damaged as it is.
pub(super) fn others_serve(me: &NodeId, commit_index: LogIndex, nodes: &[PeerStatus]) -> bool {
    let others = nodes.iter().filter(|node| node.node_id != *me).filter_map(|node| node.status.as_ref());
    others.filter(|status| status.role == Role::Leader).any(|leader| {
        let holds = |(node, follower): &(&NodeId, &FollowerStatus)| {
            *node != me && follower.voter && follower.reachable && follower.matched_index >= commit_index
        };
        // The followers alone may have committed what the leader has only in memory: its disk may be slow, or hang.
        let own = usize::from(leader.applied_index >= commit_index);
        let copies = own + leader.followers.iter().filter(holds).count();
        leader.configuration.as_ref().is_some_and(|configuration| copies >= configuration.quorum())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_780_000_000_000;

    #[test]
    fn a_node_repairs_itself_once_an_hour_and_remembers_it_across_processes() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let load = || Quarantines::load(directory.path());
        let quarantined = |at: u64| {
            let mut quarantines = load();
            let repairs = quarantines.begin(at);
            quarantines.store().expect("it can be stored");
            repairs
        };
        assert!(quarantined(START), "the first time");
        assert!(!quarantined(START + MIN_INTERVAL_MS - 1), "the second time within an hour");
        assert!(!quarantined(START - 1_000), "nor with a clock that was set back a little");
        assert!(quarantined(START + MIN_INTERVAL_MS), "an hour after the repair");
        assert_eq!(load().count(), 4);
    }

    #[test]
    fn a_record_that_cannot_be_read_allows_no_repair() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join(FILE), "{").expect("a file can be written");
        assert!(!Quarantines::load(directory.path()).begin(START));
    }
}
