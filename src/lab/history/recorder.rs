//! Writes a history.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

use super::event::{Event, Header, Micros};

/// Write buffer, the only memory that a recorder needs.
const BUFFER_BYTES: usize = 256 << 10;

/// Why a history is incomplete.
#[derive(Debug, thiserror::Error)]
#[error("the history {} could not be written: {source}", .path.display())]
pub struct RecordError {
    path: PathBuf,
    source: io::Error,
}

/// Takes events from any number of threads; clones write to the same history.
///
/// Writing to the page cache is fast, so events are written directly under a lock: there is no queue that could grow and
/// no task that could fall behind.
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
    /// The first failure. Nothing is written after it: a missing event would look like a fault of the cluster.
    failed: Option<io::Error>,
}

impl Recorder {
    /// Creates a history at `path`, replacing any file. Its clock starts now.
    ///
    /// # Errors
    /// [`RecordError`] if the file cannot be created or written.
    pub fn create(path: &Path, header: &Header) -> Result<Self, RecordError> {
        let failed = |source| RecordError { path: path.to_owned(), source };
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path).map_err(failed)?);
        let mut out = Output { file, failed: None };
        out.line(header).map_err(failed)?;
        Ok(Self { shared: Arc::new(Shared { started: Instant::now(), path: path.to_owned(), out: Mutex::new(out) }) })
    }

    /// The current time of this history.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.at(Instant::now())
    }

    /// A time of this history; zero for any time before its start.
    #[must_use]
    pub fn at(&self, moment: Instant) -> Micros {
        let since = moment.saturating_duration_since(self.shared.started);
        Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// The start of the history.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.shared.started
    }

    /// Writes an event. A failure is returned by the next [`Self::flush`].
    pub fn record(&self, event: &Event) {
        let mut out = self.output();
        if out.failed.is_none()
            && let Err(error) = out.line(event)
        {
            out.failed = Some(error);
        }
    }

    /// Writes everything to the file, so that it can be read up to now.
    ///
    /// # Errors
    /// [`RecordError`] if any event could not be written. The history must not be checked then.
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
        // A thread that panicked while writing left at worst half a line, which the reader detects.
        self.shared.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, value)?;
        self.file.write_all(b"\n")
    }
}
