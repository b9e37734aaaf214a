//! Several backup files that join: a full one and the incremental ones after it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::BackupError;
use super::file::BackupFile;
use super::format::Moment;
use crate::ledger::LedgerError;
use crate::verify::EntrySource;
use quorapay_core::domain::{LogIndex, Timestamp};
use quorapay_core::replication::{Entry, Position};

/// Frames that are kept in memory, because a refund is looked up together with its payment: about 100 MiB.
const CACHED_FRAMES: usize = 16;

/// Entries of a frame.
type Frame = Arc<Vec<Arc<Entry>>>;

/// A frame of one of the files.
#[derive(Clone, Copy, Debug)]
struct FramePlace {
    file: usize,
    frame: usize,
    end: Moment,
}

/// Backup files that hold a ledger from its first entry on.
#[derive(Debug)]
pub struct BackupChain {
    files: Vec<BackupFile>,
    frames: Vec<FramePlace>,
    /// The newest last.
    cached: VecDeque<(usize, Frame)>,
}

impl BackupChain {
    /// Opens files, in any order, and checks that they join.
    ///
    /// # Errors
    /// [`BackupError::NotFull`] and [`BackupError::Gap`] if they do not; otherwise as [`BackupFile::open`].
    pub fn open(paths: &[PathBuf]) -> Result<Self, BackupError> {
        let mut files = paths.iter().map(|path| BackupFile::open(path)).collect::<Result<Vec<_>, _>>()?;
        files.sort_by_key(|file| file.header().after.position.index);
        if let Some(first) = files.first()
            && first.header().after != Moment::default()
        {
            let after = first.header().after.position.index;
            return Err(BackupError::NotFull { path: first.path().to_owned(), after });
        }
        for pair in files.windows(2) {
            let (file, next) = (&pair[0], &pair[1]);
            if next.header().after != file.end() || next.header().cluster_id != file.header().cluster_id {
                return Err(BackupError::Gap {
                    path: file.path().to_owned(),
                    end: file.end().position.index,
                    next: next.path().to_owned(),
                });
            }
        }
        let places = |(at, file): (usize, &BackupFile)| {
            let place = |frame| FramePlace { file: at, frame, end: file.frame_end(frame) };
            (0..file.frames()).map(place).collect::<Vec<_>>()
        };
        let frames = files.iter().enumerate().flat_map(places).collect();
        Ok(Self { files, frames, cached: VecDeque::new() })
    }

    /// The cluster whose ledger it is.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.files.first().map_or("", |file| &file.header().cluster_id)
    }

    /// The last entry.
    #[must_use]
    pub fn end(&self) -> Moment {
        self.files.last().map_or_else(Moment::default, BackupFile::end)
    }

    /// The last entry that is older than a moment; zero if none is.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] and [`BackupError::File`].
    pub fn last_before(&mut self, moment: Timestamp) -> Result<LogIndex, BackupError> {
        let at = self.frames.partition_point(|frame| frame.end.time < moment);
        let before = at.checked_sub(1).map_or(LogIndex(0), |frame| self.frames[frame].end.position.index);
        if at == self.frames.len() {
            return Ok(before);
        }
        let frame = self.frame(at)?;
        let older = frame.partition_point(|entry| entry.timestamp < moment);
        Ok(older.checked_sub(1).map_or(before, |last| frame[last].index))
    }

    /// The entries from `from` to the end of their frame, but not beyond `upto`.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] and [`BackupError::File`].
    pub fn entries_from(&mut self, from: LogIndex, upto: LogIndex) -> Result<Vec<Arc<Entry>>, BackupError> {
        let at = self.frames.partition_point(|frame| frame.end.position.index < from);
        if at == self.frames.len() || from > upto {
            return Ok(Vec::new());
        }
        let frame = self.frame(at)?;
        let begin = frame.partition_point(|entry| entry.index < from);
        let end = frame.partition_point(|entry| entry.index <= upto);
        Ok(frame[begin..end].to_vec())
    }

    fn frame(&mut self, at: usize) -> Result<Frame, BackupError> {
        if let Some(cached) = self.cached.iter().position(|(number, _)| *number == at) {
            let found = self.cached.remove(cached).expect("it is at this place");
            self.cached.push_back(found.clone());
            return Ok(found.1);
        }
        let FramePlace { file, frame, .. } = self.frames[at];
        let entries: Frame = Arc::new(self.files[file].entries(frame)?.into_iter().map(Arc::new).collect());
        if self.cached.len() == CACHED_FRAMES {
            self.cached.pop_front();
        }
        self.cached.push_back((at, Arc::clone(&entries)));
        Ok(entries)
    }
}

impl EntrySource for BackupChain {
    async fn entries(
        &mut self,
        from: LogIndex,
        upto: LogIndex,
        max_entries: usize,
    ) -> Result<Vec<Arc<Entry>>, LedgerError> {
        let mut entries = self.entries_from(from, upto).map_err(as_ledger_error)?;
        entries.truncate(max_entries);
        Ok(entries)
    }

    async fn entry(&mut self, index: LogIndex) -> Result<Option<Arc<Entry>>, LedgerError> {
        if index == Position::default().index {
            return Ok(None);
        }
        Ok(self.entries_from(index, index).map_err(as_ledger_error)?.pop())
    }
}

/// Damage as the audit knows it. The files were opened before, so nothing but damage and the disk can go wrong.
fn as_ledger_error(error: BackupError) -> LedgerError {
    match error {
        BackupError::File { path, source } => LedgerError::File { path, source },
        damage => LedgerError::Damaged(damage.to_string()),
    }
}
