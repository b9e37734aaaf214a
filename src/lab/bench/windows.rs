//! The measurement in windows of ten seconds: whether the cluster is as fast at the end as at the beginning.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::series::{Merge, Series};
use super::tally::MAX_LATENCY_US;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(10);

/// An hour of windows. In a longer run they are longer.
const MAX_WINDOWS: usize = 360;

/// The measured requests that ended within one window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Payments made or reads answered.
    pub(super) ok: u64,
    /// All others.
    pub(super) errors: u64,
    /// Latencies of the requests that succeeded, in microseconds; two digits are enough for a comparison.
    pub(super) latencies: Histogram<u32>,
}

impl Default for Window {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(MAX_LATENCY_US, 2).expect("two digits up to an hour are in range");
        Self { ok: 0, errors: 0, latencies }
    }
}

impl Merge for Window {
    fn merge(&mut self, other: &Self) {
        self.ok += other.ok;
        self.errors += other.errors;
        self.latencies.add(&other.latencies).expect("both have one range");
    }
}

/// Nothing yet.
pub(super) fn windows() -> Series<Window> {
    Series::new(WINDOW, MAX_WINDOWS)
}

/// What one window shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct WindowFigures {
    /// Seconds from the beginning of the measurement to its beginning.
    pub(super) from_s: f64,
    /// Its length.
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) errors: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
}

/// The windows of a measurement of this length. A short rest at the end, in which the last requests are answered, belongs to
/// the window before it.
pub(super) fn figures(windows: &Series<Window>, elapsed: Duration) -> Vec<WindowFigures> {
    let (width, mut list) = (windows.width(), windows.intervals().to_vec());
    let begin = |at: usize| width * u32::try_from(at).expect("there are fewer windows");
    if let [.., last_but_one, last] = &mut list[..] {
        let rest = elapsed.saturating_sub(begin(windows.intervals().len() - 1));
        if rest < width / 2 {
            last_but_one.merge(last);
            list.pop();
        }
    }
    let last = list.len().saturating_sub(1);
    let figures = |(at, window): (usize, &Window)| {
        let length = if at == last { elapsed.saturating_sub(begin(at)) } else { width };
        let seconds = length.as_secs_f64();
        WindowFigures {
            from_s: begin(at).as_secs_f64(),
            seconds,
            per_second: if seconds > 0.0 { window.ok as f64 / seconds } else { 0.0 },
            errors: window.errors,
            p50_us: window.latencies.value_at_quantile(0.5),
            p99_us: window.latencies.value_at_quantile(0.99),
            max_us: window.latencies.max(),
        }
    };
    list.iter().enumerate().map(figures).collect()
}

/// The windows with the lowest and with the highest rate; `None` if there are fewer than two.
pub(super) fn extremes(windows: &[WindowFigures]) -> Option<(WindowFigures, WindowFigures)> {
    let by_rate = |a: &&WindowFigures, b: &&WindowFigures| a.per_second.total_cmp(&b.per_second);
    let (slowest, fastest) = (windows.iter().min_by(by_rate)?, windows.iter().max_by(by_rate)?);
    (windows.len() > 1).then_some((*slowest, *fastest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(counts: &[(u64, u64)]) -> Series<Window> {
        let mut series = windows();
        for (at_s, count) in counts {
            let window = series.at(Duration::from_secs(*at_s));
            window.ok += count;
            window.latencies.saturating_record(1_000 * (at_s + 1));
        }
        series
    }

    #[test]
    fn each_window_has_its_rate_and_the_answers_after_the_end_belong_to_the_last_one() {
        let series = measured(&[(0, 20_000), (9, 20_000), (15, 10_000), (20, 50)]);
        let figures = figures(&series, Duration::from_millis(20_020));
        let shown: Vec<_> = figures.iter().map(|window| (window.from_s, window.per_second.round())).collect();
        assert_eq!(shown, [(0.0, 4_000.0), (10.0, 1_003.0)]);
        assert_eq!(figures[0].max_us / 100, 100);
        let (slowest, fastest) = extremes(&figures).expect("two windows");
        assert_eq!((slowest.from_s, fastest.from_s), (10.0, 0.0));
    }

    #[test]
    fn one_window_is_not_compared_and_none_is_no_error() {
        let alone = figures(&measured(&[(0, 100)]), Duration::from_secs(5));
        assert_eq!((alone.len(), alone[0].per_second.round()), (1, 20.0));
        assert_eq!(extremes(&alone), None);
        assert_eq!(figures(&windows(), Duration::ZERO), []);
    }
}
