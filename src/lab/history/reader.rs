//! Reads a history back, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::event::{Event, FORMAT, Header};

/// Read buffer: histories have hundreds of megabytes.
const BUFFER_BYTES: usize = 256 << 10;

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not part of a history.
    #[error("{}:{line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads one history. Iterates over its events and their line numbers.
#[derive(Debug)]
pub struct HistoryReader {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    line: u64,
    text: Vec<u8>,
    cut_off: bool,
}

impl HistoryReader {
    /// Opens a history and reads its header.
    ///
    /// # Errors
    /// [`ReadFailure`] if the file cannot be read or is not a history of this format.
    pub fn open(path: &Path) -> Result<Self, ReadFailure> {
        let file = File::open(path).map_err(|source| ReadFailure::File { path: path.to_owned(), source })?;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut text = Vec::new();
        file.read_until(b'\n', &mut text).map_err(|source| ReadFailure::File { path: path.to_owned(), source })?;
        let wrong = |reason: String| ReadFailure::Line { path: path.to_owned(), line: 1, reason };
        let header: Header =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("this is no header of a history: {error}")))?;
        if header.format != FORMAT {
            return Err(wrong(format!("this is a history of format {}, not {FORMAT}", header.format)));
        }
        Ok(Self { path: path.to_owned(), file, header, line: 1, text, cut_off: false })
    }

    /// The first line.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the last line is incomplete, because its writer was killed. Such a line is skipped. Known once all lines are
    /// read.
    #[must_use]
    pub const fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    fn next_event(&mut self) -> Result<Option<(u64, Event)>, ReadFailure> {
        self.text.clear();
        let read = self.file.read_until(b'\n', &mut self.text);
        read.map_err(|source| ReadFailure::File { path: self.path.clone(), source })?;
        if self.text.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if self.text.last() != Some(&b'\n') {
            self.cut_off = true;
            return Ok(None);
        }
        self.parse().map(|event| Some((self.line, event)))
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, ReadFailure> {
        serde_json::from_slice(&self.text).map_err(|error| ReadFailure::Line {
            path: self.path.clone(),
            line: self.line,
            reason: format!("this is no event of a history: {error}"),
        })
    }
}

impl Iterator for HistoryReader {
    type Item = Result<(u64, Event), ReadFailure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_event().transpose()
    }
}
