//! The files of a port, and what is wrong with them.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes of one file. A bundle of all public authorities has a quarter of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The PEM files of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The authorities that may have signed the other side's certificate, one or several. `None`: it shows none.
    pub authorities: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be used: {reason}", file.display())]
pub struct TlsError {
    file: PathBuf,
    reason: String,
}

impl TlsError {
    pub(super) fn new(file: &Path, reason: impl Display) -> Self {
        Self { file: file.to_owned(), reason: reason.to_string() }
    }
}

/// What the files contain.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) authorities: Option<Vec<u8>>,
}

impl TlsFiles {
    /// Reads all files.
    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            authorities: self.authorities.as_deref().map(read).transpose()?,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| TlsError::new(path, error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(TlsError::new(path, format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
