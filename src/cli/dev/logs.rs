//! Follows the logs of the nodes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// How much of a log is read at a time. What is beyond it comes the next time.
const MAX_BYTES: u64 = 64 * 1024;

/// A log and how far it has been shown.
#[derive(Debug)]
pub(super) struct FollowedLog {
    pub(super) node: String,
    path: PathBuf,
    shown: u64,
}

impl FollowedLog {
    /// Follows a log from its end as it is now.
    pub(super) fn from_its_end(node: String, path: PathBuf) -> Self {
        let shown = std::fs::metadata(&path).map_or(0, |file| file.len());
        Self { node, path, shown }
    }

    /// The lines that are complete and were not shown. A log that cannot be read has none.
    pub(super) fn new_lines(&mut self) -> Vec<String> {
        self.read().unwrap_or_default()
    }

    fn read(&mut self) -> std::io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.shown))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        let whole = bytes.len() as u64 == MAX_BYTES;
        // A line that is not complete comes the next time, unless it is longer than what is read.
        let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if whole => bytes.len(),
            None => 0,
        };
        self.shown += end as u64;
        Ok(String::from_utf8_lossy(&bytes[..end]).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_is_followed_from_its_end_line_by_line() {
        let folder = std::env::temp_dir().join(format!("quorapay-log-{}", uuid::Uuid::new_v4()));
        let mut file = File::create(&folder).expect("a temporary file");
        file.write_all(b"old\n").expect("it is written");
        let mut log = FollowedLog::from_its_end("node1".to_owned(), folder.clone());
        file.write_all(b"first\nsec").expect("it is written");
        assert_eq!(log.new_lines(), ["first"]);
        assert!(log.new_lines().is_empty());
        file.write_all(b"ond\n").expect("it is written");
        assert_eq!(log.new_lines(), ["second"]);
        std::fs::remove_file(folder).expect("it is there");
    }
}
