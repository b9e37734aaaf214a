//! A backup file while it is written. It is called FILE.part until it is whole and synced, so a FILE that is there is
//! whole. What is there of it after an interruption is continued.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::file::scan;
use super::format::{Header, Moment};
use super::writer::BackupWriter;
use crate::durable_file;

/// A backup file that is being written.
pub struct PartFile {
    path: PathBuf,
    part: PathBuf,
    writer: BackupWriter<BufWriter<File>>,
    continued: bool,
}

/// What a file is called while it is written.
#[must_use]
pub fn part_of(path: &Path) -> PathBuf {
    crate::sqlite::suffixed(path, ".part")
}

impl PartFile {
    /// Begins a backup, or continues the one that an interruption left behind. No other process can write it meanwhile.
    ///
    /// # Errors
    /// [`BackupError::Exists`], [`BackupError::InUse`], [`BackupError::OtherPart`] if what is there has another header,
    /// [`BackupError::File`].
    pub fn begin(path: &Path, header: &Header) -> Result<Self, BackupError> {
        if path.exists() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let part = part_of(path);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&part);
        let mut file = file.map_err(BackupError::file(&part))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(BackupError::file(&part)(error)),
        }
        let scan = scan(&part, &mut BufReader::new(&file))?;
        let continued = scan.header.is_some();
        let writer = match scan.header {
            Some(found) if found != *header => return Err(BackupError::OtherPart(part)),
            Some(_) => cut(&mut file, scan.whole_bytes)
                .and_then(|()| BackupWriter::go_on(BufWriter::new(file), scan.end, scan.whole_bytes)),
            None => cut(&mut file, 0).and_then(|()| BackupWriter::begin(BufWriter::new(file), header)),
        };
        let writer = writer.map_err(BackupError::file(&part))?;
        Ok(Self { path: path.to_owned(), part, writer, continued })
    }

    /// Whether an earlier attempt had begun it.
    #[must_use]
    pub const fn is_continued(&self) -> bool {
        self.continued
    }

    /// The last entry so far.
    #[must_use]
    pub const fn end(&self) -> Moment {
        self.writer.end()
    }

    /// Adds a verified stretch of entries that ends at `end`.
    ///
    /// # Errors
    /// [`BackupError::File`]; the whole frames before can be continued.
    pub fn append(&mut self, stretch: &[u8], end: Moment) -> Result<(), BackupError> {
        self.writer.append(stretch, end).map_err(BackupError::file(&self.part))
    }

    /// Makes the file durable and gives it its name. Returns its size.
    ///
    /// # Errors
    /// [`BackupError::File`]; the file has not got its name then.
    pub fn finish(self) -> Result<u64, BackupError> {
        let failed = || BackupError::file(&self.part);
        let (out, bytes) = self.writer.finish().map_err(failed())?;
        let file = out.into_inner().map_err(|error| failed()(error.into_error()))?;
        file.sync_all().and_then(|()| fs::rename(&self.part, &self.path)).map_err(failed())?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        durable_file::sync_directory(directory).map_err(BackupError::file(directory))?;
        Ok(bytes)
    }
}

/// Keeps the first bytes of a file, and writes after them.
fn cut(file: &mut File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)?;
    file.seek(SeekFrom::Start(bytes)).map(drop)
}
