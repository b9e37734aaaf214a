//! Unit tests of the format.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::file::scan;
use super::format::{Header, Moment, PREAMBLE_BYTES};
use super::{BackupChain, BackupFile, BackupWriter, PartFile, part_of};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::append_to_stretch;
use quorapay_core::replication::sample::Chain;

fn moment(chain: &Chain, index: u64) -> Moment {
    let Some(at) = index.checked_sub(1) else { return Moment::default() };
    let entry = &chain.entries[usize::try_from(at).expect("small")];
    Moment { position: entry.position(), time: entry.timestamp }
}

fn header(chain: &Chain, after: u64) -> Header {
    Header { cluster_id: "c".to_owned(), after: moment(chain, after) }
}

fn stretch(chain: &Chain, after: u64, upto: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let wanted = chain.entries.iter().filter(|entry| (after + 1..=upto).contains(&entry.index.0));
    wanted.for_each(|entry| append_to_stretch(&mut bytes, entry));
    bytes
}

/// The bytes of a backup with several frames.
fn backup(chain: &Chain, after: u64, upto: u64) -> Vec<u8> {
    let mut bytes = BackupWriter::begin(Vec::new(), &header(chain, after)).expect("memory");
    for index in after + 1..=upto {
        // Each stretch is a frame of its own, as if it was large.
        bytes.append(&stretch(chain, index - 1, index), moment(chain, index)).expect("memory");
        if index % 3 == 0 {
            bytes.write_frame().expect("memory");
        }
    }
    bytes.finish().expect("memory").0
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, bytes).expect("a temporary file");
    path
}

fn read_all(path: &Path) -> Result<usize, BackupError> {
    let mut file = BackupFile::open(path)?;
    (0..file.frames()).map(|frame| Ok(file.entries(frame)?.len())).sum()
}

fn many_kinds() -> Chain {
    let mut chain = Chain::begun();
    chain.one_of_each();
    chain
}

fn last_index(chain: &Chain) -> u64 {
    chain.last().index.0
}

#[test]
fn a_backup_reads_back_entry_for_entry() {
    let (chain, directory) = (many_kinds(), tempfile::tempdir().expect("a directory"));
    let upto = last_index(&chain);
    let path = write(directory.path(), "full", &backup(&chain, 0, upto));
    let mut files = BackupChain::open(&[path]).expect("whole");
    let mut read = Vec::new();
    while read.len() < chain.entries.len() {
        let next = LogIndex(u64::try_from(read.len()).expect("small") + 1);
        read.extend(files.entries_from(next, LogIndex(upto)).expect("good"));
    }
    assert_eq!(read, chain.entries);
    assert_eq!(files.end(), moment(&chain, upto));
}

#[test]
fn a_backup_that_is_cut_anywhere_is_known_to_be_cut() {
    let (chain, directory) = (Chain::of_payments(9), tempfile::tempdir().expect("a directory"));
    let bytes = backup(&chain, 0, 9);
    for end in 0..bytes.len() {
        let path = write(directory.path(), "cut", &bytes[..end]);
        let error = read_all(&path).expect_err("it is cut");
        assert!(matches!(error, BackupError::CutShort { .. }), "at {end}: {error}");
    }
}

#[test]
fn a_changed_byte_anywhere_is_found_and_located() {
    let (chain, directory) = (Chain::of_payments(9), tempfile::tempdir().expect("a directory"));
    let bytes = backup(&chain, 0, 9);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let path = write(directory.path(), "changed", &changed);
        let error = read_all(&path).expect_err("it was changed");
        match &error {
            BackupError::NoBackup(_) | BackupError::OtherVersion { .. } => assert!(at < PREAMBLE_BYTES, "{error}"),
            BackupError::Damaged { at: block, .. } | BackupError::CutShort { at: block, .. } => {
                assert!(usize::try_from(*block).expect("small") <= at, "at {at}: {error}");
            }
            other => panic!("at {at}: {other}"),
        }
    }
    let path = write(directory.path(), "longer", &[&bytes[..], b"x"].concat());
    assert!(read_all(&path).expect_err("too long").to_string().contains("after its end mark"));
}

#[test]
fn entries_that_were_exchanged_under_right_checksums_break_the_chain() {
    let (chain, directory) = (Chain::of_payments(9), tempfile::tempdir().expect("a directory"));
    let mut other = Chain::of_payments(5);
    other.one_of_each();
    let mut forged = BackupWriter::begin(Vec::new(), &header(&chain, 0)).expect("memory");
    forged.append(&stretch(&chain, 0, 5), moment(&chain, 5)).expect("memory");
    forged.append(&stretch(&other, 5, 9), moment(&chain, 9)).expect("memory");
    let path = write(directory.path(), "forged", &forged.finish().expect("memory").0);
    let error = read_all(&path).expect_err("another history");
    assert!(error.to_string().contains("the chain of hashes breaks up to entry 9"), "{error}");
}

#[test]
fn files_join_in_any_order_of_their_names_and_only_if_none_is_missing() {
    let (chain, directory) = (Chain::of_payments(12), tempfile::tempdir().expect("a directory"));
    let full = write(directory.path(), "c", &backup(&chain, 0, 4));
    let second = write(directory.path(), "b", &backup(&chain, 4, 8));
    let empty = write(directory.path(), "d", &backup(&chain, 8, 8));
    let third = write(directory.path(), "a", &backup(&chain, 8, 12));
    let open = |paths: &[&PathBuf]| BackupChain::open(&paths.iter().map(|path| (*path).clone()).collect::<Vec<_>>());
    assert_eq!(open(&[&third, &second, &full]).expect("they join").end(), moment(&chain, 12));
    assert_eq!(open(&[&full, &second, &empty, &third]).expect("they join").end(), moment(&chain, 12));
    assert!(matches!(open(&[&full, &third]), Err(BackupError::Gap { .. })));
    assert!(matches!(open(&[&full, &full]), Err(BackupError::Gap { .. })));
    assert!(matches!(open(&[&second, &third]), Err(BackupError::NotFull { .. })));
    let other = Chain::of_payments(3);
    let elsewhere = write(directory.path(), "e", &backup(&other, 0, 3));
    assert!(matches!(open(&[&elsewhere, &second]), Err(BackupError::Gap { .. })));
}

#[test]
fn a_moment_is_found_in_a_backup() {
    let (chain, directory) = (many_kinds(), tempfile::tempdir().expect("a directory"));
    let upto = last_index(&chain);
    let path = write(directory.path(), "full", &backup(&chain, 0, upto));
    let mut files = BackupChain::open(&[path]).expect("whole");
    let times = chain.entries.iter().map(|entry| entry.timestamp.0);
    for moment in times.flat_map(|time| [time, time + 1]) {
        let older = chain.entries.iter().filter(|entry| entry.timestamp.0 < moment).count();
        let found = files.last_before(quorapay_core::domain::Timestamp(moment)).expect("good");
        assert_eq!(found.0, u64::try_from(older).expect("small"), "before {moment}");
    }
}

#[test]
fn a_backup_that_was_interrupted_anywhere_is_continued_after_its_last_whole_frame() {
    let (chain, directory) = (Chain::of_payments(9), tempfile::tempdir().expect("a directory"));
    let whole = backup(&chain, 0, 9);
    let path = directory.path().join("backup");
    for end in (0..whole.len()).step_by(7) {
        fs::write(part_of(&path), &whole[..end]).expect("a temporary file");
        let mut part = PartFile::begin(&path, &header(&chain, 0)).expect("continued");
        let reached = part.end().position.index.0;
        part.append(&stretch(&chain, reached, 9), moment(&chain, 9)).expect("a disk with room");
        part.finish().expect("a disk with room");
        assert_eq!(read_all(&path).expect("whole"), 9);
        assert!(matches!(PartFile::begin(&path, &header(&chain, 0)), Err(BackupError::Exists(_))));
        fs::remove_file(&path).expect("it is there");
    }
}

#[test]
fn what_is_there_of_another_backup_is_not_continued() {
    let (chain, directory) = (Chain::of_payments(9), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("backup");
    fs::write(part_of(&path), backup(&chain, 4, 9)).expect("a temporary file");
    assert!(matches!(PartFile::begin(&path, &header(&chain, 0)), Err(BackupError::OtherPart(_))));
    fs::write(part_of(&path), b"something else").expect("a temporary file");
    assert!(matches!(PartFile::begin(&path, &header(&chain, 0)), Err(BackupError::NoBackup(_))));
    fs::remove_file(part_of(&path)).expect("it is there");
    let _first = PartFile::begin(&path, &header(&chain, 0)).expect("free");
    assert!(matches!(PartFile::begin(&path, &header(&chain, 0)), Err(BackupError::InUse(_))));
}

#[test]
fn the_whole_frames_of_a_cut_file_are_known() {
    let chain = Chain::of_payments(9);
    let bytes = backup(&chain, 0, 9);
    let mut reached = Vec::new();
    for end in 0..bytes.len() {
        let found = scan(Path::new("x"), &mut std::io::Cursor::new(&bytes[..end])).expect("no other trouble");
        reached.push(found.end.position.index.0);
    }
    reached.dedup();
    assert_eq!(reached, [0, 3, 6, 9]);
}
