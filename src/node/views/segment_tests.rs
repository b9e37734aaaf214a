//! Segments: blocks and merges against a model, and real files with merges that are interrupted at any step.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use proptest::prelude::*;
use sqlx::AssertSqlSafe;

use super::block::{pack, unpack};
use super::kind::{Kind, indexed, read_piece};
use super::pairs::{Pairs, merge};
use super::segment::{SegmentState, WorkLimits};
use super::tests::{assert_shows, mixed_chain, opened as opened_unlimited};
use super::*;
use quorapay_core::domain::{KeyDigest, LogIndex, Operation};
use quorapay_core::replication::Entry;
use quorapay_core::replication::sample::{Chain, account};

fn pairs(of: &BTreeMap<Vec<u8>, Vec<u8>>) -> Pairs {
    let mut pairs = Pairs::default();
    of.iter().for_each(|(key, value)| pairs.push(key, value));
    pairs
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 1..most)
}

fn lists() -> impl Strategy<Value = Vec<BTreeMap<u8, Vec<u64>>>> {
    // Runs of lists by their first byte; the indexes of a run are above those of the one before it.
    let run = prop::collection::btree_map(0_u8..4, prop::collection::btree_set(0_u64..5_000, 1..800), 0..4);
    prop::collection::vec(run, 1..5).prop_map(|runs| {
        let shifted = |(number, run): (usize, BTreeMap<u8, std::collections::BTreeSet<u64>>)| {
            let shift = number as u64 * 5_000 + 1;
            run.into_iter().map(|(list, indexes)| (list, indexes.into_iter().map(|at| at + shift).collect())).collect()
        };
        runs.into_iter().enumerate().map(shifted).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_hold_what_was_packed_and_begin_with_their_first_keys(
        of in prop::collection::btree_map(bytes(40), bytes(300), 0..200),
    ) {
        let pairs = pairs(&of);
        let mut read = Pairs::default();
        for block in pack(&pairs) {
            let at = read.len();
            unpack(&block.data, &mut read).unwrap();
            prop_assert_eq!(read.get(at).unwrap().0, &block.first_key[..]);
        }
        prop_assert_eq!(&read, &pairs);
        for (key, value) in &of {
            prop_assert_eq!(read.find(key), Some(&value[..]));
        }
    }

    #[test]
    fn a_flipped_bit_in_a_block_is_found(
        of in prop::collection::btree_map(bytes(40), bytes(40), 1..50), at: prop::sample::Index, bit in 0_u8..8,
    ) {
        let mut block = pack(&pairs(&of)).swap_remove(0);
        let at = at.index(block.data.len());
        block.data[at] ^= 1 << bit;
        let found = unpack(&block.data, &mut Pairs::default());
        prop_assert!(matches!(found, Err(ViewsError::Damaged(_))));
    }

    #[test]
    fn foreign_bytes_are_no_block(data in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(unpack(&data, &mut Pairs::default()).is_err());
        let sealed = super::block::with_checksum(&data);
        let _either = unpack(&sealed, &mut Pairs::default());
    }

    #[test]
    fn a_merge_in_windows_holds_every_pair_of_its_runs_once(
        runs in prop::collection::vec(prop::collection::btree_map(bytes(4), bytes(6), 0..80), 1..5),
        mut bounds in prop::collection::vec(bytes(4), 0..5),
    ) {
        let mut expected = BTreeMap::new();
        for run in runs.iter().rev() {
            expected.extend(run.clone());
        }
        bounds.sort();
        bounds.dedup();
        let packed: Vec<Pairs> = runs.iter().map(pairs).collect();
        let (mut merged, mut after) = (Pairs::default(), None::<Vec<u8>>);
        for bound in bounds.into_iter().map(Some).chain([None]) {
            merged.append(&merge(Kind::OrderPayments, &packed, after.as_deref(), bound.as_deref()).unwrap());
            after = bound;
        }
        prop_assert_eq!(merged.iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>(), expected.into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn merged_lists_have_every_index_in_pieces_of_bounded_size(runs in lists()) {
        let mut expected: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        let mut packed = Vec::new();
        for run in runs {
            let mut pairs = Pairs::default();
            for (list, indexes) in run {
                let entries: Vec<LogIndex> = indexes.iter().map(|index| LogIndex(*index)).collect();
                super::kind::push_list(&mut pairs, &[list], &entries);
                expected.entry(list).or_default().extend(indexes);
            }
            packed.push(pairs);
        }
        let merged = merge(Kind::Decided, &packed, None, None).unwrap();
        let mut found: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        let mut pieces = 0;
        for (key, value) in merged.iter() {
            prop_assert!(value.len() <= 512);
            pieces += 1;
            found.entry(key[0]).or_default().extend(read_piece(key, value).unwrap().iter().map(|index| index.0));
        }
        let most: usize = expected.values().map(|indexes| indexes.len() / 100 + 2).sum();
        prop_assert!(pieces <= most, "{} pieces", pieces);
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn keys_of_a_list_are_in_the_order_of_their_indexes() {
    assert!(indexed(b"a\0", LogIndex(255)) < indexed(b"a\0", LogIndex(256)));
    assert!(indexed(b"a\0", LogIndex(u64::MAX)) < indexed(b"a1\0", LogIndex(0)));
}

/// So little that the segments of a test are merged in many steps.
const SMALL: WorkLimits = WorkLimits { absorbed_bytes: 4 << 10, window_blocks: 3, step_blocks: 2, deleted_blocks: 5 };

async fn opened(dir: &Path) -> OpenViews {
    let mut views = opened_unlimited(dir).await;
    views.writer.limit(SMALL);
    views
}

/// Chunks of a size for which many segments are made and merged.
const CHUNK: usize = 37;

async fn merge_all(writer: &mut ViewsWriter) {
    while writer.merge_step().await.unwrap() {}
}

#[tokio::test]
async fn views_equal_their_entries_wherever_a_merge_stands() {
    let chain = mixed_chain();
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    for (number, chunk) in chain.entries.chunks(CHUNK).enumerate() {
        views.writer.project(chunk).await.unwrap();
        if number % 3 == 0 {
            views.writer.merge_step().await.unwrap();
        }
    }
    assert_shows(&views.reader, &chain).await;
    while views.writer.merge_step().await.unwrap() {
        assert_shows(&views.reader, &chain).await;
        views.reader.contents().await.unwrap();
    }
}

#[tokio::test]
async fn a_merge_that_is_cut_off_after_any_step_goes_on_after_the_next_start() {
    let chain = Chain::of_payments(3_000);
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    let mut steps = 0;
    for chunk in chain.entries.chunks(150) {
        views.writer.project(chunk).await.unwrap();
        loop {
            // What the process held in memory is lost.
            views = opened(dir.path()).await;
            assert!(views.writer.project(&chain.entries[..1]).await.is_err(), "it knows where it is");
            if !views.writer.merge_step().await.unwrap() {
                break;
            }
            steps += 1;
        }
    }
    assert!(steps > 20, "{steps} steps");
    assert_shows(&views.reader, &chain).await;
    views.reader.contents().await.unwrap();
}

#[tokio::test]
async fn segments_stay_few_and_deleted_blocks_are_used_again() {
    let chain = Chain::of_payments(8_000);
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    let mut most = 0;
    for chunk in chain.entries.chunks(80) {
        views.writer.project(chunk).await.unwrap();
        merge_all(&mut views.writer).await;
        most = most.max(views.writer.segments().iter().count());
    }
    assert!(most <= 15, "{most} segments");
    let bytes: u64 = views.writer.segments().iter().map(|segment| segment.bytes).sum();
    views.reader.close().await;
    views.writer.close().await.unwrap();
    let file = std::fs::metadata(dir.path().join("views.db")).unwrap().len();
    assert!(file < 3 * bytes + (1 << 20), "{file} bytes in the file for {bytes} in segments");
}

#[tokio::test]
async fn single_entries_are_projected_without_writing_the_whole_youngest_segment_again() {
    let chain = Chain::of_payments(2_000);
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened_unlimited(dir.path()).await;
    let mut written = 0;
    for entry in &chain.entries {
        views.writer.project(std::slice::from_ref(entry)).await.unwrap();
        written += views.writer.segments().iter().last().unwrap().bytes;
    }
    let bytes: u64 = views.writer.segments().iter().map(|segment| segment.bytes).sum();
    assert!(views.writer.segments().iter().count() <= 12);
    assert!(written < 40 * bytes, "{written} bytes were written for {bytes}");
}

#[tokio::test]
async fn every_filter_knows_what_is_in_the_views_at_every_step_and_after_a_start() {
    let chain = Chain::of_payments(4_000);
    let keys = |entry: &Arc<Entry>| entry.operation().map_or(0, |operation| operation.keys().count());
    let keys_of = chain.entries.iter().flat_map(|entry| entry.operation().into_iter().flat_map(Operation::keys));
    let digests: Vec<_> = keys_of.map(|key| key.digest()).collect();
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    let mut projected = 0;
    for chunk in chain.entries.chunks(500) {
        views.writer.project(chunk).await.unwrap();
        projected += chunk.iter().map(keys).sum::<usize>();
        loop {
            let more = views.writer.merge_step().await.unwrap();
            let again = opened(dir.path()).await.writer.filters();
            for filters in [views.writer.filters(), again] {
                let (in_views, others) = digests.split_at(projected);
                let known =
                    |digests: &[KeyDigest]| digests.iter().filter(|digest| filters.keys.may_contain(&digest.0)).count();
                assert_eq!(known(in_views), projected);
                assert!(known(others) < 120, "{} false positives", known(others));
            }
            if !more {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_block_is_found_by_the_lookup_that_needs_it_and_by_a_check() {
    let chain = Chain::of_payments(2_000);
    let spoil = [
        (
            Kind::Keys,
            "UPDATE blocks SET data = CAST(substr(data, 1, 90) || x'00' || substr(data, 92) AS BLOB) WHERE kind = 0",
        ),
        (Kind::Postings, "UPDATE blocks SET data = CAST(substr(data, 1, 40) AS BLOB) WHERE kind = 1"),
    ];
    for (kind, sql) in spoil {
        let dir = tempfile::tempdir().unwrap();
        let mut views = opened(dir.path()).await;
        views.writer.project(&chain.entries).await.unwrap();
        sqlx::raw_sql(sql).execute(views.writer.connection()).await.unwrap();
        let key = chain.entries[1_000].operation().unwrap().keys().next().unwrap().digest();
        let found = match kind {
            Kind::Keys => views.reader.key(key).await.map(drop),
            _ => views.reader.account_entries(&account("external:card"), LogIndex(1_000), 10).await.map(drop),
        };
        assert!(matches!(found, Err(ViewsError::Damaged(_))), "{found:?}");
        assert!(views.reader.gate().damaged().now_or_never().is_some(), "what makes them anew is told");
        assert!(matches!(views.reader.contents().await, Err(ViewsError::Damaged(_))));
    }
}

#[tokio::test]
async fn a_read_during_which_the_views_were_made_anew_fails_instead_of_finding_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let reader = opened(dir.path()).await.reader;
    let overlapped = reader.read(async {
        reader.gate().close();
        reader.gate().open();
        Ok(())
    });
    assert!(matches!(overlapped.await, Err(ViewsError::Sql(_))));
    assert!(reader.read(async { Ok(()) }).await.is_ok());
}

#[tokio::test]
async fn views_whose_segments_leave_a_gap_or_whose_filters_are_damaged_are_created_anew() {
    let chain = Chain::of_payments(6_000);
    for sql in [
        "DELETE FROM segments WHERE from_index = 1",
        "UPDATE segments SET to_index = to_index - 1",
        "UPDATE blocks SET data = CAST(x'00' || substr(data, 2) AS BLOB) WHERE kind = 5",
        "UPDATE meta SET projected_index = projected_index - 1",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut views = opened(dir.path()).await;
        views.writer.project(&chain.entries[..5_000]).await.unwrap();
        views.writer.project(&chain.entries[5_000..]).await.unwrap();
        let changed = sqlx::query(AssertSqlSafe(sql)).execute(views.writer.connection()).await.unwrap();
        assert!(changed.rows_affected() > 0, "{sql}");
        drop(views);
        let mut views = opened(dir.path()).await;
        assert_eq!(views.projected.index, LogIndex(0), "{sql}");
        views.writer.project(&chain.entries).await.unwrap();
        assert_shows(&views.reader, &chain).await;
    }
}

#[tokio::test]
async fn a_segment_that_was_merged_is_deleted_in_steps() {
    let chain = Chain::of_payments(4_000);
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    for chunk in chain.entries.chunks(300) {
        views.writer.project(chunk).await.unwrap();
    }
    let mut gone = 0;
    while views.writer.merge_step().await.unwrap() {
        gone = gone.max(views.writer.segments().in_state(SegmentState::Gone).count());
    }
    assert!(gone > 0, "a merge ended");
    let segments: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM segments").fetch_one(views.writer.connection()).await.unwrap();
    let with_blocks: i64 = sqlx::query_scalar("SELECT COUNT(DISTINCT segment) FROM blocks")
        .fetch_one(views.writer.connection())
        .await
        .unwrap();
    assert_eq!((segments, with_blocks), (segments, segments));
    assert_eq!(views.writer.segments().in_state(SegmentState::Whole).count(), usize::try_from(segments).unwrap());
}
