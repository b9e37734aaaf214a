//! Backups in a directory, one after another: a full one, then incremental ones, then a full one again.
//!
//! `backup-0002-0005.qpb` is the fifth incremental backup after the second full one. So the names say what joins, the
//! order of the names is the order of the backups, and the file that an interruption left behind is found again. Other
//! files in the directory are never touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::TakeError;
use super::take::{Backup, take};
use quorapay_client::Client;
use quorapay_core::domain::LogIndex;
use quorapay_node::backup::BackupFile;

/// A backup's place in the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Which full backup it is, or joins, from 1.
    full: u32,
    /// Which incremental backup after it, from 1; zero for the full one.
    increment: u32,
}

/// The backups of a directory.
#[derive(Debug)]
pub struct Series {
    directory: PathBuf,
    keep: u32,
}

/// A backup that was added to a series.
#[derive(Debug)]
pub struct SeriesBackup {
    /// Its file.
    pub path: PathBuf,
    /// What is in it.
    pub backup: Backup,
    /// Files that were removed, because newer backups take their place.
    pub removed: Vec<PathBuf>,
}

impl Series {
    /// The series of a directory, which is created if it is missing. The newest `keep` backups are kept with all that
    /// they need, and after so many a full one begins anew.
    ///
    /// # Errors
    /// [`TakeError::Directory`].
    pub fn open(directory: &Path, keep: u32) -> Result<Self, TakeError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        Ok(Self { directory: directory.to_owned(), keep: keep.max(1) })
    }

    /// The newest backup of a directory and all that it needs, oldest first; none if there is no backup.
    ///
    /// # Errors
    /// [`TakeError::Directory`].
    pub fn newest_files(directory: &Path) -> Result<Vec<PathBuf>, TakeError> {
        let series = Self { directory: directory.to_owned(), keep: 1 };
        let places = series.places()?;
        let newest = places.last().map_or(0, |place| place.full);
        Ok(places.into_iter().filter(|place| place.full == newest).map(|place| series.path(place)).collect())
    }

    /// When the newest backup was completed, if there is one.
    ///
    /// # Errors
    /// [`TakeError::Directory`].
    pub fn newest(&self) -> Result<Option<SystemTime>, TakeError> {
        let Some(newest) = self.places()?.pop() else { return Ok(None) };
        let path = self.path(newest);
        fs::metadata(&path).and_then(|metadata| metadata.modified()).map(Some).map_err(failed(&path))
    }

    /// Takes the next backup, and removes those that are no longer kept.
    ///
    /// # Errors
    /// [`TakeError`]; nothing is removed then.
    pub async fn add(
        &self,
        client: &Client,
        progress: &mut dyn FnMut(LogIndex, LogIndex),
    ) -> Result<SeriesBackup, TakeError> {
        let mut places = self.places()?;
        let newest = places.last().copied();
        let earlier = newest.filter(|place| place.increment + 1 < self.keep).filter(|place| self.is_good(*place));
        let next = match (earlier, newest) {
            (Some(place), _) => Place { increment: place.increment + 1, ..place },
            (None, newest) => Place { full: newest.map_or(0, |newest| newest.full) + 1, increment: 0 },
        };
        let (path, earlier) = (self.path(next), earlier.map(|place| self.path(place)));
        let backup = take(client, &path, earlier.as_deref(), progress).await?;
        places.push(next);
        Ok(SeriesBackup { path, backup, removed: self.remove_old(&places)? })
    }

    /// Whether something can join this backup. If not, it says so, and a full backup follows.
    fn is_good(&self, place: Place) -> bool {
        let opened = BackupFile::open(&self.path(place));
        if let Err(error) = &opened {
            tracing::warn!(%error, "the next backup is a full one");
        }
        opened.is_ok()
    }

    /// The places of all backups that are there, oldest first.
    fn places(&self) -> Result<Vec<Place>, TakeError> {
        let mut places = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed(&self.directory))? {
            let name = entry.map_err(failed(&self.directory))?.file_name();
            places.extend(name.to_str().and_then(Place::parse));
        }
        places.sort_unstable();
        Ok(places)
    }

    /// Removes the files of full backups that none of the newest backups needs, from their last file to their first: what
    /// an interruption leaves of them still joins.
    fn remove_old(&self, places: &[Place]) -> Result<Vec<PathBuf>, TakeError> {
        let kept = usize::try_from(self.keep).unwrap_or(usize::MAX);
        let oldest_kept = places[places.len().saturating_sub(kept)];
        let old = places.iter().rev().filter(|place| place.full < oldest_kept.full);
        let mut removed = Vec::new();
        for path in old.map(|place| self.path(*place)) {
            fs::remove_file(&path).map_err(failed(&path))?;
            removed.push(path);
        }
        Ok(removed)
    }

    fn path(&self, place: Place) -> PathBuf {
        self.directory.join(place.name())
    }
}

impl Place {
    fn name(self) -> String {
        format!("backup-{:04}-{:04}.qpb", self.full, self.increment)
    }

    fn parse(name: &str) -> Option<Self> {
        let (full, increment) = name.strip_prefix("backup-")?.strip_suffix(".qpb")?.split_once('-')?;
        let place = Self { full: full.parse().ok()?, increment: increment.parse().ok()? };
        (place.name() == name).then_some(place)
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> TakeError {
    let path = path.to_owned();
    move |source| TakeError::Directory { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(keep: u32, names: &[&str]) -> (tempfile::TempDir, Series) {
        let directory = tempfile::tempdir().expect("a directory");
        names.iter().for_each(|name| fs::write(directory.path().join(name), b"x").expect("a temporary file"));
        let series = Series::open(directory.path(), keep).expect("a directory");
        (directory, series)
    }

    fn left(directory: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).expect("a directory");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_that_a_kept_backup_needs_is_removed() {
        let names = [
            "backup-0001-0000.qpb",
            "backup-0001-0001.qpb",
            "backup-0001-0002.qpb",
            "backup-0002-0000.qpb",
            "backup-0002-0001.qpb",
        ];
        let (directory, series) = series(3, &names);
        assert!(series.remove_old(&series.places().expect("listed")).expect("removed").is_empty());
        assert_eq!(left(&directory), names, "the third newest needs the two before it");
        fs::write(directory.path().join("backup-0002-0002.qpb"), b"x").expect("a temporary file");
        let removed = series.remove_old(&series.places().expect("listed")).expect("removed");
        assert_eq!(removed.len(), 3);
        assert_eq!(left(&directory), ["backup-0002-0000.qpb", "backup-0002-0001.qpb", "backup-0002-0002.qpb"]);
    }

    #[test]
    fn files_with_other_names_are_not_of_the_series() {
        let names = ["backup-0001-0000.qpb.part", "backup-1-0.qpb", "backup-0001-0000.qpb~", "notes"];
        let (_directory, series) = series(1, &names);
        assert!(series.places().expect("listed").is_empty());
    }

    #[test]
    fn a_name_reads_back_also_beyond_four_digits() {
        for place in [Place { full: 1, increment: 0 }, Place { full: 12_345, increment: 99_999 }] {
            assert_eq!(Place::parse(&place.name()), Some(place));
        }
    }
}
