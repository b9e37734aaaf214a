//! Values over the time of a run, in intervals of equal length. When there are too many, neighbours are merged and the
//! intervals become twice as long, so that the longest run takes no more memory than an hour.

use std::time::Duration;

/// What happened within one interval.
pub(super) trait Merge: Clone + Default {
    /// Adds what happened in the next interval, or in the same one on another thread.
    fn merge(&mut self, other: &Self);
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Series<T> {
    width: Duration,
    max_intervals: usize,
    intervals: Vec<T>,
}

impl<T: Merge> Series<T> {
    /// Nothing yet. `width` is the length of an interval until there are more than `max_intervals`.
    pub(super) fn new(width: Duration, max_intervals: usize) -> Self {
        Self { width, max_intervals, intervals: Vec::new() }
    }

    /// The length of every interval.
    pub(super) fn width(&self) -> Duration {
        self.width
    }

    /// Every interval from the beginning to the last one in which something happened.
    pub(super) fn intervals(&self) -> &[T] {
        &self.intervals
    }

    /// The interval of a moment.
    pub(super) fn at(&mut self, since_beginning: Duration) -> &mut T {
        let at = loop {
            match usize::try_from(since_beginning.as_nanos() / self.width.as_nanos()) {
                Ok(at) if at < self.max_intervals => break at,
                _ => self.widen(),
            }
        };
        if at >= self.intervals.len() {
            self.intervals.resize_with(at + 1, T::default);
        }
        &mut self.intervals[at]
    }

    /// Adds another thread's series, which began at the same moment.
    pub(super) fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        self.intervals.resize_with(self.intervals.len().max(other.intervals.len()), T::default);
        self.intervals.iter_mut().zip(&other.intervals).for_each(|(mine, theirs)| mine.merge(theirs));
    }

    fn widen(&mut self) {
        self.width *= 2;
        let pair = |pair: &[T]| {
            let mut merged = pair[0].clone();
            pair[1..].iter().for_each(|next| merged.merge(next));
            merged
        };
        self.intervals = self.intervals.chunks(2).map(pair).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Merge for u64 {
        fn merge(&mut self, other: &Self) {
            *self += other;
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_series_has_a_bounded_number_of_intervals_whatever_the_time_and_loses_nothing() {
        let mut series = Series::<u64>::new(SECOND, 4);
        for at in 0..4 {
            *series.at(SECOND * at) += 1;
        }
        assert_eq!((series.width(), series.intervals()), (SECOND, &[1, 1, 1, 1][..]));
        *series.at(SECOND * 4) += 1;
        assert_eq!((series.width(), series.intervals()), (SECOND * 2, &[2, 2, 1][..]));
        *series.at(SECOND * 86_400) += 1;
        assert!(series.intervals().len() <= 4);
        assert_eq!(series.intervals().iter().sum::<u64>(), 6);
    }

    #[test]
    fn series_of_two_threads_are_added_whatever_their_widths() {
        let (mut short, mut long) = (Series::<u64>::new(SECOND, 4), Series::<u64>::new(SECOND, 4));
        *short.at(SECOND) += 5;
        *long.at(SECOND * 7) += 1;
        let mut other_way = long.clone();
        short.add(&long);
        assert_eq!((short.width(), short.intervals()), (SECOND * 2, &[5, 0, 0, 1][..]));
        let mut young = Series::new(SECOND, 4);
        *young.at(SECOND) += 5;
        other_way.add(&young);
        assert_eq!(other_way.intervals(), short.intervals());
    }
}
