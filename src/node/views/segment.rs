//! The segments, and when which of them are merged. Pure.
//!
//! A segment holds what a stretch of consecutive entries says, and never changes. Each projection makes one; merges of
//! neighbours keep their number logarithmic: a merge makes a segment that is a multiple of its largest input, so that
//! each pair is written once for every such multiple.

use std::sync::Arc;

use super::error::{ViewsError, damaged};
use super::kind::Kind;
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::{DigestFilter, DigestFilters, FINGERPRINT_BITS, ViewsFilters, digest_prefix};

/// A merge makes a segment of at least so many times the size of its largest input.
const GROWTH: u64 = 4;
/// The same if the oldest segment is among the inputs. It is less, so that most keys are in one segment and behind one
/// filter: the filters of the largest segments are those that err.
const OLDEST_GROWTH: u64 = 2;
/// A projection takes young segments into its own while they are at most so many times its size.
const ABSORBED_RATIO: u64 = 4;
/// The most segments that one merge takes.
const MAX_INPUTS: usize = 16;
/// Bits of a fingerprint for a segment that holds at least a fifth of all keys. Each halving of the share adds a bit:
/// young segments, of which there are many, have few keys.
const LARGE_SHARE: u64 = 5;

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentState {
    /// It is read.
    Whole,
    /// A merge is writing it; those of its stretch are read.
    Growing,
    /// It was merged into another, and its blocks are being deleted.
    Gone,
}

/// How far a growing segment is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The kind that is being merged, by its position among the sorted ones.
    pub(super) kind: usize,
    /// All keys up to here are merged; empty at the beginning.
    pub(super) up_to: Vec<u8>,
}

/// A segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) id: i64,
    /// The first of its entries.
    pub(super) from: LogIndex,
    /// The last of its entries.
    pub(super) to: LogIndex,
    pub(super) state: SegmentState,
    /// Idempotency keys in it.
    pub(super) keys: u64,
    /// Bytes of its blocks.
    pub(super) bytes: u64,
    pub(super) progress: Progress,
    /// The filters over its keys, ascending.
    pub(super) key_filters: Vec<Arc<DigestFilter>>,
    /// The filters over its orders, ascending.
    pub(super) order_filters: Vec<Arc<DigestFilter>>,
}

/// How much work is done at a time. Tests do less.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkLimits {
    /// Bytes of the largest segment that a projection makes of others: a few milliseconds' work.
    pub(super) absorbed_bytes: u64,
    /// Blocks of the inputs that are merged at a time: about 1.5 MB, 65,000 keys.
    pub(super) window_blocks: u64,
    /// A step merges more of them until it has read so many blocks: small segments are merged in one step.
    pub(super) step_blocks: u64,
    /// Blocks that a step deletes.
    pub(super) deleted_blocks: u32,
}

impl Default for WorkLimits {
    fn default() -> Self {
        Self { absorbed_bytes: 512 << 10, window_blocks: 320, step_blocks: 200, deleted_blocks: 2_048 }
    }
}

/// All segments, by their first entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    segments: Vec<Segment>,
    pub(super) limits: WorkLimits,
}

impl SegmentState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Growing => "growing",
            Self::Gone => "gone",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Whole, Self::Growing, Self::Gone].into_iter().find(|state| state.as_str() == text)
    }
}

impl Segment {
    pub(super) fn filters_of(&mut self, kind: Kind) -> Option<&mut Vec<Arc<DigestFilter>>> {
        match kind {
            Kind::Keys | Kind::KeyFilters => Some(&mut self.key_filters),
            Kind::Orders | Kind::OrderFilters => Some(&mut self.order_filters),
            Kind::Postings | Kind::OrderPayments | Kind::Decided => None,
        }
    }
}

impl Catalog {
    pub(super) fn new(mut segments: Vec<Segment>) -> Self {
        segments.sort_by_key(|segment| (segment.from, segment.id));
        let mut catalog = Self { segments, limits: WorkLimits::default() };
        let growing: Vec<i64> = catalog.in_state(SegmentState::Growing).map(|segment| segment.id).collect();
        growing.into_iter().for_each(|id| catalog.forget_merged_filters(id));
        catalog
    }

    /// Checks that the segments hold each entry up to some index exactly once.
    pub(super) fn check(&self) -> Result<(), ViewsError> {
        let mut next = LogIndex(1);
        for segment in self.in_state(SegmentState::Whole) {
            if segment.from != next || segment.to < segment.from {
                return Err(damaged(format!("no segment begins at entry {next}")));
            }
            next = segment.to.next();
        }
        for growing in self.in_state(SegmentState::Growing) {
            let inputs = self.inputs_of(growing);
            let stretch = inputs.first().zip(inputs.last()).map(|(first, last)| (first.from, last.to));
            if stretch != Some((growing.from, growing.to)) || growing.progress.kind >= Kind::COUNT {
                return Err(damaged(format!("segment {} cannot grow any more", growing.id)));
            }
        }
        Ok(())
    }

    /// The last entry of all.
    pub(super) fn end(&self) -> LogIndex {
        self.in_state(SegmentState::Whole).next_back().map_or(LogIndex(0), |last| last.to)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter()
    }

    /// No segments, with the same limits.
    pub(super) const fn emptied(&self) -> Self {
        Self { segments: Vec::new(), limits: self.limits }
    }

    pub(super) fn in_state(&self, state: SegmentState) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.state == state)
    }

    pub(super) fn get(&self, id: i64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.id == id)
    }

    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.id == id)
    }

    pub(super) fn insert(&mut self, segment: Segment) {
        let place = (segment.from, segment.id);
        let at = self.segments.partition_point(|other| (other.from, other.id) < place);
        self.segments.insert(at, segment);
    }

    pub(super) fn remove(&mut self, id: i64) {
        self.segments.retain(|segment| segment.id != id);
    }

    /// Above all others: rows are appended at the end of their table.
    pub(super) fn next_id(&self) -> i64 {
        self.segments.iter().map(|segment| segment.id).max().unwrap_or(0) + 1
    }

    /// The segments that a growing one replaces, the oldest first.
    pub(super) fn inputs_of(&self, growing: &Segment) -> Vec<&Segment> {
        let stretch = (growing.from, growing.to);
        self.in_state(SegmentState::Whole).filter(|one| stretch.0 <= one.from && one.to <= stretch.1).collect()
    }

    /// The whole segments that no merge is at work on, in stretches of neighbours.
    fn idle(&self) -> Vec<Vec<&Segment>> {
        let mut stretches = vec![Vec::new()];
        for segment in self.in_state(SegmentState::Whole) {
            let merged = |growing: &Segment| growing.from <= segment.from && segment.to <= growing.to;
            if self.in_state(SegmentState::Growing).any(merged) {
                stretches.push(Vec::new());
            } else {
                stretches.last_mut().expect("there is one").push(segment);
            }
        }
        stretches
    }

    /// The youngest segments that a projection of so many bytes takes into its own, the oldest first.
    pub(super) fn absorbed_by(&self, bytes: u64) -> Vec<i64> {
        let (mut total, mut absorbed) = (bytes, Vec::new());
        for segment in self.idle().last().into_iter().flatten().rev() {
            if segment.bytes > total * ABSORBED_RATIO || segment.bytes + total > self.limits.absorbed_bytes {
                break;
            }
            total += segment.bytes;
            absorbed.push(segment.id);
        }
        absorbed.reverse();
        absorbed
    }

    /// The smallest merge that is due: the first and the last entry of its inputs.
    pub(super) fn due_merge(&self) -> Option<(LogIndex, LogIndex)> {
        let mut due: Option<(u64, LogIndex, LogIndex)> = None;
        for stretch in self.idle() {
            for (begin, first) in stretch.iter().enumerate() {
                let (mut total, mut largest) = (0, 0);
                for (count, last) in stretch[begin..].iter().take(MAX_INPUTS).enumerate() {
                    total += last.bytes;
                    largest = largest.max(last.bytes);
                    let growth = if self.is_oldest(first) { OLDEST_GROWTH } else { GROWTH };
                    let is_due = count > 0 && total >= growth * largest;
                    if is_due && due.is_none_or(|(smallest, _, _)| total < smallest) {
                        due = Some((total, first.from, last.to));
                    }
                }
            }
        }
        due.map(|(_, from, to)| (from, to))
    }

    fn is_oldest(&self, segment: &Segment) -> bool {
        self.segments.first().is_some_and(|first| first.from == segment.from)
    }

    /// The growing segment that is finished first: the smallest.
    pub(super) fn smallest_growing(&self) -> Option<&Segment> {
        let size = |growing: &&Segment| self.inputs_of(growing).iter().map(|input| input.bytes).sum::<u64>();
        self.in_state(SegmentState::Growing).min_by_key(size)
    }

    /// The bits of a fingerprint for a segment with so many keys.
    pub(super) fn filter_bits(&self, keys: u64) -> u32 {
        let all: u64 = self.in_state(SegmentState::Whole).map(|segment| segment.keys).sum();
        let (mut bits, mut share) = (*FINGERPRINT_BITS.start(), keys.max(1) * LARGE_SHARE);
        while share < all && bits < *FINGERPRINT_BITS.end() {
            share *= 2;
            bits += 1;
        }
        bits
    }

    /// Forgets those filters of a merge's inputs that its own replace already: each digest is in one filter in memory,
    /// even while the largest segments are merged.
    pub(super) fn forget_merged_filters(&mut self, growing: i64) {
        let Some(growing) = self.get(growing).filter(|one| one.state == SegmentState::Growing) else { return };
        let (progress, stretch) = (growing.progress.clone(), (growing.from, growing.to));
        for kind in [Kind::Keys, Kind::Orders] {
            let merged_up_to = match progress.kind.cmp(&kind.at()) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => progress.up_to.first_chunk::<16>().map(digest_prefix),
                std::cmp::Ordering::Greater => Some(u64::MAX),
            };
            let all = progress.kind > kind.at();
            let Some(merged_up_to) = merged_up_to else { continue };
            for input in self
                .segments
                .iter_mut()
                .filter(|one| one.state == SegmentState::Whole && stretch.0 <= one.from && one.to <= stretch.1)
            {
                let filters = input.filters_of(kind).expect("both kinds have filters");
                // Digests with the prefix of the last merged one may be above it.
                filters.retain(|filter| !all && filter.last() >= merged_up_to);
            }
        }
    }

    /// The filters over everything.
    pub(super) fn filters(&self) -> ViewsFilters {
        let read = || self.segments.iter().filter(|segment| segment.state != SegmentState::Gone);
        ViewsFilters {
            keys: DigestFilters::new(read().map(|segment| segment.key_filters.clone()).collect()),
            orders: DigestFilters::new(read().map(|segment| segment.order_filters.clone()).collect()),
        }
    }
}
