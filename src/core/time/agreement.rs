//! What a majority of clocks agrees on, by Marzullo's algorithm.
//!
//! K. Marzullo, S. Owicki: *Maintaining the time in a distributed system*, 1983. Each clock names an interval that contains
//! the true time if the clock is right. If a majority is right, some point that a majority of the intervals contains is the
//! true time, so the interval from the first such point to the last one contains it.

use super::drifted_us;

/// Where the true time is if one clock is right; both ends belong to it. In microseconds ahead of any common clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The earliest point.
    pub low_us: i64,
    /// The latest point.
    pub high_us: i64,
}

impl Interval {
    /// The points at most `error_us` from `middle_us`.
    #[must_use]
    pub const fn around(middle_us: i64, error_us: i64) -> Self {
        Self { low_us: middle_us.saturating_sub(error_us), high_us: middle_us.saturating_add(error_us) }
    }

    /// The interval a while later, by when the clocks may have drifted apart from the common one.
    #[must_use]
    pub fn after(&self, elapsed_us: u64) -> Self {
        let drifted_us = drifted_us(elapsed_us);
        Self { low_us: self.low_us.saturating_sub(drifted_us), high_us: self.high_us.saturating_add(drifted_us) }
    }

    /// Whether some point belongs to both.
    #[must_use]
    pub const fn meets(&self, other: &Self) -> bool {
        self.low_us <= other.high_us && other.low_us <= self.high_us
    }
}

/// From the first point that at least `quorum` intervals contain to the last one; `None` if there is no such point.
#[must_use]
pub fn agreement(intervals: &[Interval], quorum: usize) -> Option<Interval> {
    /// Ends are sorted after beginnings at the same point, because both points belong to the interval.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Edge {
        Begin,
        End,
    }
    let edges = |interval: &Interval| [(interval.low_us, Edge::Begin), (interval.high_us, Edge::End)];
    let mut edges: Vec<(i64, Edge)> = intervals.iter().flat_map(edges).collect();
    edges.sort_unstable();
    let (mut open, mut first, mut last) = (0_usize, None, None);
    for (point_us, edge) in edges {
        match edge {
            Edge::Begin => {
                open += 1;
                if open >= quorum {
                    first = first.or(Some(point_us));
                }
            }
            Edge::End => {
                if open >= quorum {
                    last = Some(point_us);
                }
                open = open.saturating_sub(1);
            }
        }
    }
    Some(Interval { low_us: first?, high_us: last? })
}

/// The middle value; of an even number, the mean of the two in the middle. `None` of nothing.
#[must_use]
pub fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(lower.midpoint(upper))
}
