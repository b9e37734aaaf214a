//! No process and no folder outlives the tests, even if they are killed.

use std::sync::OnceLock;

use quorapay_lab::local::Reaper;
use tempfile::TempDir;

/// Cleans up after all tests. It is never dropped and acts when this process ends.
pub(crate) fn reaper() -> &'static Reaper {
    static REAPER: OnceLock<Reaper> = OnceLock::new();
    REAPER.get_or_init(|| Reaper::with_folder("quorapay-it").unwrap())
}

/// A folder that is removed with its owner, or at the end of the tests.
pub(crate) fn folder(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(name).tempdir_in(reaper().folder()).unwrap()
}
