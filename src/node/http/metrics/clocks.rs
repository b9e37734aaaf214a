//! What a node's own clock is worth, by the judgement of a majority of all nodes' clocks.

use crate::runtime::{ClockStatus, NodeStatus};

/// Whether this node's own clock is judged false.
pub(super) fn own_is_false(status: &NodeStatus) -> bool {
    status.clocks.get(&status.node_id).is_some_and(|clock| clock.falseticker)
}

/// Gauges: name, help text and value. An offset, its error and the drift are left out while they are not known.
pub(super) fn gauges(status: &NodeStatus) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
    let unknown = ClockStatus { offset_us: None, error_us: None, drift_ppb: None, falseticker: false };
    let own = status.clocks.get(&status.node_id).copied().unwrap_or(unknown);
    let shown = [
        (
            "clock_offset_seconds",
            "How far this node's wall clock is ahead of the time that a majority of clocks shows",
            own.offset_us.map(|us| parts(us, 1e6)),
        ),
        (
            "clock_error_seconds",
            "How far that offset can be from the offset from true time, while a majority of clocks is right",
            own.error_us.map(|us| parts(us, 1e6)),
        ),
        (
            "clock_drift_ppm",
            "How much faster than the other clocks this node's wall clock runs, in parts per million",
            own.drift_ppb.map(|ppb| parts(ppb, 1e3)),
        ),
        (
            "time_error_seconds",
            "How far the stamps that the leader gives can be from true time",
            status.time_error_ms.map(|ms| parts(i64::try_from(ms).unwrap_or(i64::MAX), 1e3)),
        ),
    ];
    shown.into_iter().filter_map(|(name, help, value)| Some((name, help, value?)))
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years; beyond that a clock is wrong anyway")]
fn parts(value: i64, of: f64) -> f64 {
    value as f64 / of
}
