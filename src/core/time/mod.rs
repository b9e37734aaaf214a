//! What can be known of clocks: how far one is from another, and what time a majority of them shows.
//!
//! Pure estimates from samples. It reads no clock and knows no node, message or ledger: it lies below the protocol,
//! which brings the samples and uses the result. All arithmetic is on integers, in microseconds, and saturates.
//!
//! Every clock is measured against this process's monotonic clock, which never jumps. So a step of this machine's own
//! wall clock does not spoil what is known of the others, and the own clock is one among equals.
//!
//! ```text
//! sample      one exchange of messages: the other clock's offset, and how wrong that can be
//! window      the recent samples of one clock: its offset by now, its error bound and its drift
//! agreement   what a majority of clocks agrees on (Marzullo's algorithm)
//! corrected   a clock that follows this agreement and never goes back
//! ```

mod agreement;
mod corrected;
mod sample;
#[cfg(test)]
mod tests;
mod window;

pub use agreement::{Interval, agreement, median};
pub use corrected::CorrectedClock;
pub use sample::{Exchange, MAX_DRIFT_PPM, Reading, Sample};
pub use window::{ClockWindow, Estimate};

/// Parts of a million.
const MILLION: i64 = 1_000_000;

/// The farthest that two clocks can be apart, in microseconds: 36,000 years. What a forged message claims beyond that
/// counts as this, so that no sum overflows.
const FARTHEST_US: i64 = 1 << 60;

/// `a - b`, at most [`FARTHEST_US`] either way.
fn difference_us(a: u64, b: u64) -> i64 {
    clamped(i128::from(a) - i128::from(b))
}

/// A value of microseconds, at most [`FARTHEST_US`] either way.
fn clamped(value: i128) -> i64 {
    let farthest = i128::from(FARTHEST_US);
    i64::try_from(value.clamp(-farthest, farthest)).expect("it was clamped to the range of an i64")
}

/// How far two clocks can drift apart within this time.
fn drifted_us(elapsed_us: u64) -> i64 {
    clamped(i128::from(elapsed_us) * i128::from(MAX_DRIFT_PPM) / i128::from(MILLION)).saturating_add(1)
}
