//! The file to import: its rows with their numbers and keys, and the digest that makes the keys its own.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::records::{Place, Record, Records};
use super::row::{Columns, Fault, Shape, parse};
use crate::cli::CliError;
use crate::cli::export::FormatWord;
use quorapay_client::BatchItem;
use quorapay_core::domain::IdempotencyKey;

/// The digest of a file's content: 128 bits of SHA-256, in hexadecimal digits.
pub(super) type ContentDigest = String;

/// A row, read.
#[derive(Debug)]
pub(super) struct Row {
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    /// Its number among the rows, counted from 1; header and empty lines do not count.
    pub(super) number: u64,
    /// Where the next one begins.
    pub(super) end: Place,
    pub(super) item: Result<BatchItem, Fault>,
}

/// The rows of a file.
pub(super) struct Rows<R> {
    records: Records<BufReader<R>>,
    shape: Shape,
    number: u64,
}

/// Passes bytes on and digests them.
pub(super) struct Digesting<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

impl Rows<Digesting<File>> {
    /// Opens a file to read it to its end.
    pub(super) fn survey(path: &Path, format: FormatWord) -> Result<Self, CliError> {
        let input = Digesting { inner: open(path)?, hasher: Sha256::new() };
        Self::begin(input, path, format)
    }

    /// The digest of the whole content, once the last row was read.
    pub(super) fn digest(self) -> ContentDigest {
        let input = self.records.into_input();
        debug_assert!(input.buffer().is_empty(), "the rows were read to their end");
        hex_128(&input.into_inner().hasher.finalize())
    }
}

impl Rows<File> {
    /// Opens a file to read it on from a place, after this many rows.
    pub(super) fn from(path: &Path, format: FormatWord, place: Option<(Place, u64)>) -> Result<Self, CliError> {
        let mut rows = Self::begin(open(path)?, path, format)?;
        if let Some((place, number)) = place {
            let mut file = rows.records.into_input().into_inner();
            file.seek(SeekFrom::Start(place.offset)).map_err(|source| reading(path, source))?;
            rows.records = Records::from(BufReader::new(file), quoted(format), place);
            rows.number = number;
        }
        Ok(rows)
    }
}

impl<R: Read> Rows<R> {
    fn begin(input: R, path: &Path, format: FormatWord) -> Result<Self, CliError> {
        let start = Place { offset: 0, lines: 0 };
        let mut records = Records::from(BufReader::new(input), quoted(format), start);
        let shape = match format {
            FormatWord::Ndjson => Shape::Ndjson,
            FormatWord::Csv => {
                let header = records.next().map_err(|source| reading(path, source))?;
                let header = header.ok_or_else(|| CliError::Failed(format!("{} is empty", path.display())))?;
                let columns = Columns::read(&header);
                Shape::Csv(columns.map_err(|why| CliError::Failed(format!("{}: {why}", path.display())))?)
            }
        };
        Ok(Self { records, shape, number: 0 })
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Row>, CliError> {
        let record = self.records.next().map_err(|source| reading(path, source))?;
        let Some(record) = record else { return Ok(None) };
        self.number += 1;
        let item = parse(&self.shape, &record);
        let Record { line, end, .. } = record;
        Ok(Some(Row { line, number: self.number, end, item }))
    }
}

/// The key of a row that names none. The same file gives the same keys, a changed one others.
pub(super) fn derived_key(digest: &ContentDigest, number: u64) -> IdempotencyKey {
    IdempotencyKey::parse(&format!("import-{digest}-{number}")).expect("hexadecimal digits and a number are printable")
}

/// 128 bits of a digest, in hexadecimal digits.
pub(super) fn hex_128(digest: &[u8]) -> String {
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

const fn quoted(format: FormatWord) -> bool {
    matches!(format, FormatWord::Csv)
}

fn open(path: &Path) -> Result<File, CliError> {
    File::open(path).map_err(|source| reading(path, source))
}

fn reading(path: &Path, source: io::Error) -> CliError {
    CliError::Io { what: format!("reading {}", path.display()), source }
}
