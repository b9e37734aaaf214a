//! Backup files, for [`crate::fuzzing`].

use std::io::Cursor;
use std::path::Path;

use super::block::{self, Next};
use super::file::BackupFile;
use super::format::{FRAME, HEADER, Header, MAGIC, Moment, TRAILER, VERSION};
use super::writer::BackupWriter;
use quorapay_core::replication::{Position, append_to_stretch, read_stretch};

/// A file of these bytes is read or refused, also if every checksum is right; entries that can be read come back from a
/// backup of them.
pub(crate) fn check(bytes: &[u8]) {
    read(bytes);
    read(&with_right_checksums(bytes));
    let Ok(entries) = read_stretch(bytes, &Position::default()) else { return };
    let Some(last) = entries.last() else { return };
    let mut stretch = Vec::new();
    entries.iter().for_each(|entry| append_to_stretch(&mut stretch, entry));
    let end = Moment { position: last.position(), time: last.timestamp };
    let mut file = backup_of(&stretch, end);
    let read: Vec<_> = (0..file.frames()).flat_map(|frame| file.entries(frame).expect("what was written")).collect();
    assert_eq!((read, file.end()), (entries, end));
}

fn read(bytes: &[u8]) {
    if let Ok(mut file) = BackupFile::read(Path::new("fuzz"), Cursor::new(bytes)) {
        // Damage is an error; anything else is in the chain.
        for frame in 0..file.frames() {
            if let Ok(entries) = file.entries(frame) {
                assert_eq!(entries.last().map(|last| last.index), Some(file.frame_end(frame).position.index));
            }
        }
    }
}

/// A file whose blocks are taken from the bytes: a kind, the length of the head, the head, the length of the payload, the
/// payload.
fn with_right_checksums(mut bytes: &[u8]) -> Vec<u8> {
    let mut file = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    while let Some(kind) = bytes.split_off_first() {
        let head = short(&mut bytes);
        let payload = short(&mut bytes);
        let kind = [HEADER, FRAME, TRAILER, *kind][usize::from(*kind % 4)];
        block::write(&mut file, kind, head, payload).expect("memory takes everything");
    }
    file
}

fn short<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = bytes.split_off_first().map_or(0, |length| usize::from(*length)).min(bytes.len());
    bytes.split_off(..length).unwrap_or_default()
}

fn backup_of(stretch: &[u8], end: Moment) -> BackupFile<Cursor<Vec<u8>>> {
    let header = Header { cluster_id: "fuzz".to_owned(), after: Moment::default() };
    let mut writer = BackupWriter::begin(Vec::new(), &header).expect("memory takes everything");
    writer.append(stretch, end).expect("memory takes everything");
    let (bytes, _) = writer.finish().expect("memory takes everything");
    assert!(matches!(block::read(&mut &bytes[MAGIC.len() + size_of_val(&VERSION)..]), Ok(Next::Block(..))));
    BackupFile::read(Path::new("fuzz"), Cursor::new(bytes)).expect("what was written")
}
