//! A sample: what one exchange of messages says about another node's clock.

use super::{clamped, difference_us, drifted_us};

/// How fast two clocks can drift apart, in parts per million: quartz oscillators are off by at most 500 each. A clock that
/// drifts faster contradicts its own samples and is measured anew again and again.
pub const MAX_DRIFT_PPM: i64 = 1_000;

/// Both clocks of a node, read at one moment. In microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Since a fixed moment of this process; never goes back.
    pub monotonic_us: u64,
    /// The wall clock, since 1970; may jump.
    pub wall_us: u64,
}

impl Reading {
    /// How far the wall clock is ahead of the monotonic one, in microseconds.
    #[must_use]
    pub fn offset_us(self) -> i64 {
        difference_us(self.wall_us, self.monotonic_us)
    }
}

/// The four times of a request and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the request was sent, by the monotonic clock here.
    pub sent_us: u64,
    /// When it arrived there, by the wall clock there.
    pub received_us: u64,
    /// How long it stayed there, by the monotonic clock there.
    pub held_us: u64,
    /// When the response arrived, by the monotonic clock here.
    pub answered_us: u64,
}

/// Another node's wall clock against the monotonic clock here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken, by the monotonic clock here.
    pub at_us: u64,
    /// How far the other clock was ahead of it.
    pub offset_us: i64,
    /// How far the offset can be from the true one: half of the time on the way, because the way there may have taken all
    /// of it and the way back nothing, or the reverse.
    pub error_us: i64,
}

impl Exchange {
    /// The sample; `None` if the times contradict each other.
    #[must_use]
    pub fn sample(&self) -> Option<Sample> {
        let span_us = self.answered_us.checked_sub(self.sent_us)?;
        let slack_us = drifted_us(span_us);
        let on_the_way_us = difference_us(span_us, self.held_us);
        if on_the_way_us < -slack_us {
            return None;
        }
        let middle_here_us = self.sent_us + span_us / 2;
        let middle_there_us = self.received_us.saturating_add(self.held_us / 2);
        Some(Sample {
            at_us: middle_here_us,
            offset_us: difference_us(middle_there_us, middle_here_us),
            // One more for the rounding of both middles.
            error_us: clamped(i128::from(on_the_way_us.max(0)) / 2 + i128::from(slack_us) + 1),
        })
    }
}

impl Sample {
    /// How far the offset can be from the true one at another moment.
    pub(super) fn error_at_us(&self, now_us: u64) -> i64 {
        self.error_us.saturating_add(drifted_us(now_us.abs_diff(self.at_us)))
    }

    /// Whether one clock, which nobody sets, can have given both samples.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let apart_us = self.offset_us.abs_diff(other.offset_us);
        let allowed_us = other.error_at_us(self.at_us).saturating_add(self.error_us);
        apart_us <= allowed_us.unsigned_abs()
    }
}
