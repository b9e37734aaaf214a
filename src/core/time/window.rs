//! The recent samples of one clock.
//!
//! Of each second the sample with the shortest way is kept: messages that waited in no queue measure best. One sample that
//! contradicts the others is dropped; a second one that agrees with it shows that the clock was set.

use std::collections::VecDeque;

use super::sample::{MAX_DRIFT_PPM, Sample};
use super::{MILLION, clamped};

/// Samples kept, one for each second in which there was one.
const MAX_SAMPLES: usize = 32;
/// Of several samples within this time one is kept.
const SPACING_US: u64 = 1_000_000;
/// Under load there are thousands of samples a second; more than one within this time cost more than they tell.
const MIN_SPACING_US: u64 = 5_000;
/// Without a newer sample for this long, nothing is known of the clock any more: it may have been set.
const MAX_AGE_US: u64 = 30_000_000;
/// Samples in a row that contradict the window and each other, after which it begins again: the clock runs as no clock
/// does.
const MAX_SUSPECTS: u32 = 3;
/// Drift is known from so many samples over this time.
const MIN_FITTED: usize = 4;
const MIN_FITTED_SPAN_US: u64 = 3_000_000;
/// Samples whose error is at most twice the smallest one, and this, count for the drift.
const QUICK_SLACK_US: i64 = 100;
/// Samples this many median deviations, and [`QUICK_SLACK_US`], from the median are outliers.
const OUTLIER_DEVIATIONS: i64 = 3;
const BILLION: i128 = 1_000_000_000;

/// What is known of a clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// How far it is ahead of the monotonic clock here, in microseconds.
    pub offset_us: i64,
    /// How far that can be from the true offset.
    pub error_us: i64,
    /// How much faster it runs than the monotonic clock here, in parts per billion, if that is known.
    pub drift_ppb: Option<i64>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ClockWindow {
    newest_us: Option<u64>,
    /// Oldest first.
    samples: VecDeque<Sample>,
    /// The newest sample, if it contradicts the window, and how many in a row have.
    suspect: Option<Sample>,
    suspects: u32,
    drift_ppb: Option<i64>,
}

impl ClockWindow {
    /// Adds a sample. One that is hardly newer than the newest, or older, is ignored.
    pub fn add(&mut self, sample: Sample) {
        if self.newest_us.is_some_and(|newest_us| sample.at_us < newest_us.saturating_add(MIN_SPACING_US)) {
            return;
        }
        self.newest_us = Some(sample.at_us);
        if self.contradicts(&sample) {
            self.suspects += 1;
            let earlier = self.suspect.replace(sample);
            let was_set = earlier.filter(|earlier| earlier.agrees_with(&sample));
            if was_set.is_none() && self.suspects < MAX_SUSPECTS {
                return;
            }
            self.samples.clear();
            self.samples.extend(was_set);
        }
        (self.suspect, self.suspects) = (None, 0);
        if self.keep(sample) {
            self.drift_ppb = self.fitted_drift_ppb();
        }
    }

    /// When the newest sample was taken, whether it was kept or not.
    #[must_use]
    pub const fn newest_us(&self) -> Option<u64> {
        self.newest_us
    }

    /// What is known at this moment; `None` without a sample that is young enough.
    #[must_use]
    pub fn estimate(&self, now_us: u64) -> Option<Estimate> {
        let newest = self.samples.back()?;
        if now_us.saturating_sub(newest.at_us) > MAX_AGE_US {
            return None;
        }
        let best = self.samples.iter().min_by_key(|sample| sample.error_at_us(now_us))?;
        // The offset follows the measured drift. The bound holds around the sample itself, so it has to cover that too.
        let age_us = i128::from(now_us.saturating_sub(best.at_us));
        let drift_ppb = self.drift_ppb.unwrap_or(0);
        let moved_us = clamped(age_us * i128::from(drift_ppb) / BILLION);
        Some(Estimate {
            offset_us: best.offset_us.saturating_add(moved_us),
            error_us: best.error_at_us(now_us).saturating_add(moved_us.saturating_abs()),
            drift_ppb: self.drift_ppb,
        })
    }

    fn contradicts(&self, sample: &Sample) -> bool {
        let best = self.samples.iter().min_by_key(|known| known.error_at_us(sample.at_us));
        best.is_some_and(|best| !best.agrees_with(sample))
    }

    /// Keeps a sample if it is the best one of its second. Whether it is.
    fn keep(&mut self, sample: Sample) -> bool {
        let second = sample.at_us / SPACING_US;
        match self.samples.back_mut().filter(|newest| newest.at_us / SPACING_US == second) {
            Some(newest) if newest.error_us < sample.error_us => return false,
            Some(newest) => *newest = sample,
            None => self.samples.push_back(sample),
        }
        if self.samples.len() > MAX_SAMPLES {
            self.samples.pop_front();
        }
        true
    }

    /// The slope of the line through the samples with the shortest ways, by least squares, without outliers.
    fn fitted_drift_ppb(&self) -> Option<i64> {
        let smallest_us = self.samples.iter().map(|sample| sample.error_us).min()?;
        let limit_us = smallest_us.saturating_mul(2).saturating_add(QUICK_SLACK_US);
        let mut quick: Vec<Sample> =
            self.samples.iter().filter(|sample| sample.error_us <= limit_us).copied().collect();
        let (slope, first) = (slope_ppb(&quick)?, quick[0]);
        let residual = |sample: &Sample| {
            let moved = i128::from(sample.at_us - first.at_us) * slope / BILLION;
            clamped(i128::from(sample.offset_us) - i128::from(first.offset_us) - moved)
        };
        let middle = super::median(quick.iter().map(residual).collect())?;
        let deviation = |sample: &Sample| residual(sample).saturating_sub(middle).saturating_abs();
        let usual = super::median(quick.iter().map(deviation).collect())?;
        let limit_us = usual.saturating_mul(OUTLIER_DEVIATIONS).saturating_add(QUICK_SLACK_US);
        quick.retain(|sample| deviation(sample) <= limit_us);
        let most = i128::from(MAX_DRIFT_PPM) * BILLION / i128::from(MILLION);
        Some(clamped(slope_ppb(&quick)?.clamp(-most, most)))
    }
}

/// The slope of the line through these samples; `None` if they are too few or too close.
fn slope_ppb(samples: &[Sample]) -> Option<i128> {
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < MIN_FITTED || last.at_us - first.at_us < MIN_FITTED_SPAN_US {
        return None;
    }
    let count = i128::try_from(samples.len()).expect("a window is short");
    let point = |sample: &Sample| {
        let x = i128::from(sample.at_us - first.at_us);
        (x, i128::from(sample.offset_us) - i128::from(first.offset_us))
    };
    let (sum_x, sum_y) = samples.iter().map(point).fold((0, 0), |(x, y), point| (x + point.0, y + point.1));
    // Everything is multiplied by the count, so that the means need no fractions.
    let centred = |sample: &Sample| {
        let (x, y) = point(sample);
        (x * count - sum_x, y * count - sum_y)
    };
    let (products, squares) = samples.iter().map(centred).fold((0_i128, 0_i128), |(products, squares), (x, y)| {
        (products.saturating_add(x.saturating_mul(y)), squares.saturating_add(x.saturating_mul(x)))
    });
    (squares > 0).then(|| products.saturating_mul(BILLION) / squares)
}
