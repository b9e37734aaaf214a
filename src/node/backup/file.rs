//! Reads a backup file. Opening it reads every block and checks its checksum; then frames can be read in any order, and
//! the chain is computed over each.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::block::{self, Block, Next};
use super::error::BackupError;
use super::format::{
    FRAME, FrameHead, HEADER, Header, MAGIC, MAX_FRAME_BYTES, Moment, PREAMBLE_BYTES, TRAILER, Trailer, VERSION,
    read_head,
};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, read_stretch};

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FramePlace {
    at: u64,
    after: Moment,
    end: Moment,
}

/// The blocks of a file as far as they are whole.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) header: Option<Header>,
    frames: Vec<FramePlace>,
    /// The last entry of the whole frames.
    pub(super) end: Moment,
    /// Where the whole frames end.
    pub(super) whole_bytes: u64,
    /// Why the file is no whole backup; `None` if it is.
    pub(super) trouble: Option<BackupError>,
}

/// A whole backup file.
#[derive(Debug)]
pub struct BackupFile<R = BufReader<File>> {
    path: PathBuf,
    input: R,
    header: Header,
    frames: Vec<FramePlace>,
    end: Moment,
    bytes: u64,
}

impl BackupFile {
    /// Opens a backup file and checks all its checksums.
    ///
    /// # Errors
    /// [`BackupError`] says what is wrong with the file, and where.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let input = File::open(path).map_err(BackupError::file(path))?;
        Self::read(path, BufReader::new(input))
    }
}

impl<R: Read + Seek> BackupFile<R> {
    /// [`BackupFile::open`] for any input. The path is only named in errors.
    ///
    /// # Errors
    /// As [`BackupFile::open`].
    pub fn read(path: &Path, mut input: R) -> Result<Self, BackupError> {
        let scan = scan(path, &mut input)?;
        if let Some(trouble) = scan.trouble {
            return Err(trouble);
        }
        let header = scan.header.expect("a file without trouble has a header");
        let bytes = input.stream_position().map_err(BackupError::file(path))?;
        Ok(Self { path: path.to_owned(), input, header, frames: scan.frames, end: scan.end, bytes })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first block.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The last entry, which is the one before the first if the file has none.
    #[must_use]
    pub const fn end(&self) -> Moment {
        self.end
    }

    /// The size of the file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many frames it has.
    #[must_use]
    pub const fn frames(&self) -> usize {
        self.frames.len()
    }

    /// The last entry of a frame.
    pub(super) fn frame_end(&self, frame: usize) -> Moment {
        self.frames[frame].end
    }

    /// Reads the entries of a frame, which are in the chain from the frame before.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] if they are not, [`BackupError::File`].
    pub fn entries(&mut self, frame: usize) -> Result<Vec<Entry>, BackupError> {
        let place = self.frames[frame];
        let failed = BackupError::file(&self.path);
        let read = self.input.seek(SeekFrom::Start(place.at)).and_then(|_| block::read(&mut self.input));
        let damaged = |reason: String| BackupError::Damaged {
            path: self.path.clone(),
            at: place.at,
            last: place.after.position.index,
            reason,
        };
        let Next::Block(block, _) = read.map_err(failed)? else {
            return Err(damaged("it changed while it was read".to_owned()));
        };
        let bytes = decompress(&block).ok_or_else(|| damaged("it cannot be decompressed".to_owned()))?;
        let entries = read_stretch(&bytes, &place.after.position).map_err(|error| damaged(error.to_string()))?;
        let end = entries.last().map(|last| Moment { position: last.position(), time: last.timestamp });
        if end == Some(place.end) {
            Ok(entries)
        } else {
            Err(damaged(format!("the chain of hashes breaks up to entry {}", place.end.position.index)))
        }
    }
}

fn decompress(block: &Block) -> Option<Vec<u8>> {
    let head: FrameHead = read_head(block, FRAME)?;
    let bytes = usize::try_from(head.bytes).ok().filter(|bytes| *bytes <= MAX_FRAME_BYTES)?;
    zstd::bulk::decompress(&block.payload, bytes).ok().filter(|entries| entries.len() == bytes)
}

/// Reads the blocks of a file up to its end, or to the first that is wrong.
///
/// # Errors
/// [`BackupError::File`], and [`BackupError::NoBackup`] and [`BackupError::OtherVersion`] from its first bytes.
pub(super) fn scan(path: &Path, input: &mut (impl Read + Seek)) -> Result<Scan, BackupError> {
    let mut scan = Scan { header: None, frames: Vec::new(), end: Moment::default(), whole_bytes: 0, trouble: None };
    if !read_preamble(path, input)? {
        scan.trouble = Some(BackupError::CutShort { path: path.to_owned(), at: 0, last: LogIndex(0) });
        return Ok(scan);
    }
    scan.whole_bytes = u64::try_from(PREAMBLE_BYTES).expect("a usize fits into 64 bits");
    loop {
        let (at, last) = (scan.whole_bytes, scan.end.position.index);
        let path = path.to_owned();
        let damaged = |path, reason: &str| BackupError::Damaged { path, at, last, reason: reason.to_owned() };
        match block::read(input).map_err(BackupError::file(&path))? {
            Next::Block(block, bytes) => match scan.take(&block, bytes) {
                Ok(false) => {}
                Ok(true) => {
                    if !matches!(block::read(input).map_err(BackupError::file(&path))?, Next::End) {
                        scan.trouble = Some(damaged(path, "there is something after its end mark"));
                    }
                    return Ok(scan);
                }
                Err(reason) => scan.trouble = Some(damaged(path, reason)),
            },
            Next::End | Next::Cut => scan.trouble = Some(BackupError::CutShort { path, at, last }),
            Next::Damaged(reason) => scan.trouble = Some(damaged(path, reason)),
        }
        if scan.trouble.is_some() {
            return Ok(scan);
        }
    }
}

/// Whether the preamble is there as a whole.
fn read_preamble(path: &Path, input: &mut impl Read) -> Result<bool, BackupError> {
    let mut preamble = Vec::new();
    let limit = u64::try_from(PREAMBLE_BYTES).expect("a usize fits into 64 bits");
    input.take(limit).read_to_end(&mut preamble).map_err(BackupError::file(path))?;
    let magic = preamble.len().min(MAGIC.len());
    if preamble[..magic] != MAGIC[..magic] {
        return Err(BackupError::NoBackup(path.to_owned()));
    }
    let Some(version) = preamble.get(MAGIC.len()..).and_then(|version| version.first_chunk()) else {
        return Ok(false);
    };
    let found = u32::from_le_bytes(*version);
    if found == VERSION { Ok(true) } else { Err(BackupError::OtherVersion { path: path.to_owned(), found }) }
}

impl Scan {
    /// Takes the next block. Returns whether it was the last one.
    fn take(&mut self, block: &Block, bytes: u64) -> Result<bool, &'static str> {
        match (block.kind, &self.header) {
            (HEADER, None) => {
                let header: Header = read_head(block, HEADER).ok_or("its header cannot be read")?;
                self.end = header.after;
                self.header = Some(header);
            }
            (FRAME, Some(_)) => {
                let head: FrameHead = read_head(block, FRAME).ok_or("its head cannot be read")?;
                if head.end.position.index <= self.end.position.index {
                    return Err("it does not go on after the frame before");
                }
                self.frames.push(FramePlace { at: self.whole_bytes, after: self.end, end: head.end });
                self.end = head.end;
            }
            (TRAILER, Some(_)) => {
                let trailer: Trailer = read_head(block, TRAILER).ok_or("its end mark cannot be read")?;
                return if trailer.end == self.end { Ok(true) } else { Err("its end mark names another end") };
            }
            _ => return Err("there is a block where none of its kind belongs"),
        }
        self.whole_bytes += bytes;
        Ok(false)
    }
}
