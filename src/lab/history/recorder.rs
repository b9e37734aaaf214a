//! Writes a history while it happens.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::event::{Event, Header, Micros};

/// What is held in memory before it is written: all that a recorder ever holds.
const BUFFER_BYTES: usize = 256 << 10;

/// Why a history is not complete.
#[derive(Debug, thiserror::Error)]
#[error("the history {} could not be written: {source}", .path.display())]
pub struct RecordError {
    path: PathBuf,
    source: io::Error,
}

/// Takes events from any number of threads; clones write to the same history.
///
/// A write to the page cache is short, so an event is written where it happens, under a plain lock: there is no queue
/// that could grow, and no task that could fall behind.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    path: PathBuf,
    out: Mutex<Output>,
}

#[derive(Debug)]
struct Output {
    file: BufWriter<File>,
    /// The first failure. Nothing is written after it: a history with a hole would accuse the cluster.
    failed: Option<io::Error>,
}

impl Recorder {
    /// Begins a history at `path`, replacing what is there. The clock of the history starts now.
    ///
    /// # Errors
    /// [`RecordError`] if the file cannot be made or written.
    pub fn create(path: &Path, header: &Header) -> Result<Self, RecordError> {
        let failed = |source| RecordError { path: path.to_owned(), source };
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path).map_err(failed)?);
        let mut out = Output { file, failed: None };
        out.line(header).map_err(failed)?;
        Ok(Self { shared: Arc::new(Shared { started: Instant::now(), path: path.to_owned(), out: Mutex::new(out) }) })
    }

    /// The present moment of this history.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.at(Instant::now())
    }

    /// A moment of this history; its beginning for every earlier one.
    #[must_use]
    pub fn at(&self, moment: Instant) -> Micros {
        let since = moment.saturating_duration_since(self.shared.started);
        Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// When the history began.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.shared.started
    }

    /// Writes an event down. A failure is kept and told by [`Self::flush`].
    pub fn record(&self, event: &Event) {
        let mut out = self.output();
        if out.failed.is_none()
            && let Err(error) = out.line(event)
        {
            out.failed = Some(error);
        }
    }

    /// Hands everything to the operating system: at the end, and wherever the history should be readable up to now.
    ///
    /// # Errors
    /// [`RecordError`] if this or anything before could not be written. The history is not to be judged by then.
    pub fn flush(&self) -> Result<(), RecordError> {
        let mut out = self.output();
        let result = match out.failed.take() {
            Some(error) => Err(error),
            None => out.file.flush(),
        };
        result.map_err(|source| {
            out.failed = Some(io::Error::new(source.kind(), source.to_string()));
            RecordError { path: self.shared.path.clone(), source }
        })
    }

    fn output(&self) -> std::sync::MutexGuard<'_, Output> {
        // A thread that panicked while writing left at worst half a line, which the reader finds.
        self.shared.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, value)?;
        self.file.write_all(b"\n")
    }
}
