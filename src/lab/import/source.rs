//! The file to import: its rows with their numbers and keys, and the digest of its content.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::ImportError;
use super::file_format::FileFormat;
use super::records::{FilePosition, Record, Records};
use super::row::{Columns, RowError, RowFormat, parse};
use quorapay_client::BatchItem;
use quorapay_core::domain::IdempotencyKey;

/// The digest of a file's content: 128 bits of SHA-256, in hexadecimal digits.
pub(super) type ContentDigest = String;

/// A row, parsed.
#[derive(Debug)]
pub(super) struct Row {
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    /// Its number among the rows, counted from 1; header and empty lines do not count.
    pub(super) number: u64,
    /// Where the next one begins.
    pub(super) end: FilePosition,
    pub(super) item: Result<BatchItem, RowError>,
}

/// The rows of a file.
pub(super) struct Rows<R> {
    records: Records<BufReader<R>>,
    format: RowFormat,
    number: u64,
}

/// Digests the bytes that are read through it.
pub(super) struct DigestingReader<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for DigestingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

impl Rows<DigestingReader<File>> {
    /// Opens a file to read it to its end and digest it.
    pub(super) fn digesting(path: &Path, format: FileFormat) -> Result<Self, ImportError> {
        let input = DigestingReader { inner: open(path)?, hasher: Sha256::new() };
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
    /// Opens a file to read it from a position, before which there are this many rows.
    pub(super) fn from(
        path: &Path,
        format: FileFormat,
        position: Option<(FilePosition, u64)>,
    ) -> Result<Self, ImportError> {
        let mut rows = Self::begin(open(path)?, path, format)?;
        if let Some((position, number)) = position {
            let mut file = rows.records.into_input().into_inner();
            file.seek(SeekFrom::Start(position.offset)).map_err(|source| reading(path, source))?;
            rows.records = Records::from(BufReader::new(file), format, position);
            rows.number = number;
        }
        Ok(rows)
    }
}

impl<R: Read> Rows<R> {
    fn begin(input: R, path: &Path, format: FileFormat) -> Result<Self, ImportError> {
        let mut records = Records::from(BufReader::new(input), format, FilePosition::START);
        let format = match format {
            FileFormat::Ndjson => RowFormat::Ndjson,
            FileFormat::Csv => {
                let header = records.next().map_err(|source| reading(path, source))?;
                let header = header.ok_or_else(|| ImportError::Empty { file: path.to_owned() })?;
                let columns = Columns::read(&header);
                RowFormat::Csv(columns.map_err(|reason| ImportError::Header { file: path.to_owned(), reason })?)
            }
        };
        Ok(Self { records, format, number: 0 })
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Row>, ImportError> {
        let record = self.records.next().map_err(|source| reading(path, source))?;
        let Some(record) = record else { return Ok(None) };
        self.number += 1;
        let item = parse(&self.format, &record);
        let Record { line, end, .. } = record;
        Ok(Some(Row { line, number: self.number, end, item }))
    }
}

/// The key of a row that names none. It depends on the whole content: a changed file has other keys.
pub(super) fn derived_key(digest: &ContentDigest, number: u64) -> IdempotencyKey {
    IdempotencyKey::parse(&format!("import-{digest}-{number}")).expect("hexadecimal digits and a number are printable")
}

/// The first 128 bits of a digest, in hexadecimal digits.
pub(super) fn hex_128(digest: &[u8]) -> String {
    hex::encode(&digest[..16])
}

fn open(path: &Path) -> Result<File, ImportError> {
    File::open(path).map_err(|source| reading(path, source))
}

fn reading(path: &Path, source: io::Error) -> ImportError {
    ImportError::io("reading", path, source)
}
