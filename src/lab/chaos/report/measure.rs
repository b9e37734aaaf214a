//! Figures from a history: when payments were committed, how long they took, and for how long there was none.

use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::FaultRecord;
use crate::chaos::error::ChaosError;
use crate::history::{Ask, Ending, HistoryReader, Micros, Operation, Operations};
use quorapay_core::domain::OperationRequest;

/// What belongs to "right after": until this long after the cluster was whole again.
const AFTERMATH: Duration = Duration::from_millis(500);

/// What begins this shortly before the next fault belongs to neither: it may be hit by the one that comes.
const EVE: Duration = Duration::from_millis(100);

/// Longer latencies are counted as this long; deadlines are shorter.
const LONGEST_US: u64 = 3_600_000_000;

/// A payment that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paid {
    pub(super) intended: Micros,
    pub(super) ended: Micros,
}

impl Paid {
    pub(super) fn latency(&self) -> Duration {
        self.ended.since(self.intended)
    }
}

/// What a history says about time.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// In the order in which they were answered.
    pub(super) paid: Vec<Paid>,
    /// When payments ended otherwise than by a decision: refused by a node, or unknown.
    pub(super) failed: Vec<Micros>,
}

/// How the cluster served while a kind of fault lasted and right after it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Availability {
    /// The fault's name; `two at once`, or `nothing`.
    pub during: String,
    /// How many there were.
    pub faults: u64,
    /// Payments that were committed.
    pub paid: u64,
    /// Payments that were not decided at the first attempt, or not known to be.
    pub failed: u64,
    /// The longest time without a committed payment, in milliseconds.
    pub longest_gap_ms: f64,
    /// Half of the payments that were committed took no longer, in milliseconds from when they should have begun.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// All.
    pub max_ms: f64,
}

impl Measured {
    /// Reads a history.
    pub(super) fn of(history: &Path) -> Result<Self, ChaosError> {
        let mut operations = Operations::of(history);
        let mut measured = Self::default();
        for event in HistoryReader::open(history)? {
            let (line, event) = event?;
            let taken = operations.take(line, event);
            let wrong = |error: crate::history::OperationError| error.to_string();
            let taken =
                taken.map_err(|error| ChaosError::History { path: history.to_owned(), reason: wrong(error) })?;
            taken.into_iter().for_each(|operation| measured.count(&operation));
        }
        measured.paid.sort_by_key(|paid| paid.ended);
        measured.failed.sort();
        Ok(measured)
    }

    fn count(&mut self, operation: &Operation) {
        let Ask::Write(proposal) = &operation.invoke.ask else { return };
        if !matches!(proposal.request, OperationRequest::Payment(_)) {
            return;
        }
        match &operation.ending {
            Ending::Ok { at, .. } => self.paid.push(Paid { intended: operation.invoke.intended, ended: *at }),
            // The bank decided: the answer is on a majority of disks like any other.
            Ending::Refused { told: Some(told), .. } if told.status == 409 => {}
            Ending::Refused { at, .. } | Ending::Unknown { at, .. } => self.failed.push(*at),
            Ending::Never => {}
        }
    }

    /// One row per kind of fault that came alone, one for pairs, one for the rest of the time.
    pub(super) fn availability(&self, faults: &[FaultRecord]) -> Vec<Availability> {
        let mut rows: Vec<(String, Vec<Window>)> = Vec::new();
        for fault in faults {
            let window = Window::of(fault, faults);
            let alone = !faults.iter().any(|other| other.number != fault.number && window.shares_cause(other));
            let during = if alone { fault.kind.name() } else { "two at once" };
            match rows.iter_mut().find(|(name, _)| name == during) {
                Some((_, windows)) => windows.push(window),
                None => rows.push((during.to_owned(), vec![window])),
            }
        }
        rows.sort();
        // Pairs come last, and the windows of a pair are one.
        if let Some(at) = rows.iter().position(|(name, _)| name == "two at once") {
            let (name, mut pairs) = rows.remove(at);
            pairs.dedup_by_key(|window| window.from);
            rows.push((name, pairs));
        }
        let windows: Vec<Window> = faults.iter().map(|fault| Window::of(fault, faults)).collect();
        let mut result = vec![self.row("nothing", &calm(&windows, self.end()))];
        result.extend(rows.iter().map(|(during, windows)| self.row(during, windows)));
        result[0].faults = 0;
        result
    }

    fn end(&self) -> Micros {
        self.paid.last().map_or(Micros(0), |paid| paid.ended)
    }

    fn row(&self, during: &str, windows: &[Window]) -> Availability {
        let mut latencies = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are sound");
        let paid = self.paid.iter().filter(|paid| windows.iter().any(|window| window.holds(paid.intended)));
        for paid in paid {
            latencies.saturating_record(micros(paid.latency()).max(1));
        }
        let failed = self.failed.iter().filter(|at| windows.iter().any(|window| window.holds(**at))).count();
        let gap = windows.iter().map(|window| self.longest_gap(*window)).max().unwrap_or_default();
        let ms = |us: u64| millis(Duration::from_micros(us));
        Availability {
            during: during.to_owned(),
            faults: u64::try_from(windows.len()).unwrap_or(u64::MAX),
            paid: latencies.len(),
            failed: u64::try_from(failed).unwrap_or(u64::MAX),
            longest_gap_ms: millis(gap),
            p50_ms: ms(latencies.value_at_quantile(0.5)),
            p99_ms: ms(latencies.value_at_quantile(0.99)),
            max_ms: ms(latencies.max()),
        }
    }

    /// The longest time without a committed payment that has a part in the window.
    fn longest_gap(&self, window: Window) -> Duration {
        let first = self.paid.partition_point(|paid| paid.ended < window.from);
        let mut previous = first.checked_sub(1).map_or(window.from, |before| self.paid[before].ended);
        let mut longest = Duration::ZERO;
        for paid in &self.paid[first..] {
            longest = longest.max(paid.ended.min(window.end).since(previous));
            previous = paid.ended;
            if previous > window.to {
                return longest;
            }
        }
        longest.max(window.end.since(previous))
    }
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    from: Micros,
    /// What begins from here on is not counted.
    to: Micros,
    /// Where another fault begins, or `to`: what lasts longer is counted up to here.
    end: Micros,
}

impl Window {
    /// While a fault lasts, and right after, but not into the next.
    fn of(fault: &FaultRecord, all: &[FaultRecord]) -> Self {
        let next = all.iter().map(|other| other.began).filter(|began| *began >= fault.whole).min();
        let after = Micros(fault.whole.0 + micros(AFTERMATH));
        match next {
            Some(next) => {
                let eve = Micros(next.0.saturating_sub(micros(EVE)).max(fault.whole.0));
                Self { from: fault.began, to: after.min(eve), end: next }
            }
            None => Self { from: fault.began, to: after, end: after },
        }
    }

    const fn holds(&self, at: Micros) -> bool {
        self.from.0 <= at.0 && at.0 < self.to.0
    }

    /// Whether another fault lasted at the same time.
    fn shares_cause(&self, other: &FaultRecord) -> bool {
        other.began < self.to && self.from < other.whole
    }
}

/// What is left of the time up to `end` outside the faults and their aftermaths.
fn calm(windows: &[Window], end: Micros) -> Vec<Window> {
    let mut calm = Vec::new();
    let mut from = Micros(0);
    let mut sorted = windows.to_vec();
    sorted.sort();
    for (begins, ends) in sorted.into_iter().map(|window| (window.from, window.to)).chain([(end, end)]) {
        let eve = Micros(begins.0.saturating_sub(micros(EVE)));
        if from < eve {
            calm.push(Window { from, to: eve, end: begins });
        }
        from = from.max(ends);
    }
    calm
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::FaultKind;

    const MS: u64 = 1_000;

    /// A payment every 10 ms that takes 2 ms, but for those that end within the gap.
    fn measured(gap_ms: std::ops::Range<u64>) -> Measured {
        let paid = (0..1_000).map(|number| number * 10).filter(|ms| !gap_ms.contains(&(ms + 2)));
        let paid = paid.map(|ms| Paid { intended: Micros(ms * MS), ended: Micros((ms + 2) * MS) });
        Measured { paid: paid.collect(), failed: vec![Micros(3_100 * MS)] }
    }

    fn fault(number: u64, kind: FaultKind, began_ms: u64, whole_ms: u64) -> FaultRecord {
        let [began, whole] = [began_ms, whole_ms].map(|ms| Micros(ms * MS));
        FaultRecord { number, kind, target: "node1".to_owned(), began, healed: began, whole }
    }

    fn row<'a>(rows: &'a [Availability], during: &str) -> &'a Availability {
        rows.iter().find(|row| row.during == during).expect("the row is there")
    }

    fn ms(value: f64) -> u64 {
        serde_json::json!(value.round()).as_f64().map_or(0, |rounded| format!("{rounded}").parse().unwrap_or(0))
    }

    #[test]
    fn the_longest_time_without_a_payment_counts_for_the_fault_that_it_touches() {
        let faults = [fault(1, FaultKind::KillLeader, 3_000, 4_000), fault(2, FaultKind::Loss, 6_000, 7_000)];
        let rows = measured(3_001..3_400).availability(&faults);
        let kill = row(&rows, "kill-leader");
        assert_eq!((ms(kill.longest_gap_ms), kill.failed, kill.faults), (410, 1, 1));
        assert_eq!(ms(row(&rows, "loss").longest_gap_ms), 10);
        assert_eq!(ms(row(&rows, "nothing").longest_gap_ms), 10);
    }

    #[test]
    fn a_gap_that_begins_before_a_fault_and_one_that_never_ends_count_in_full() {
        let faults = [fault(1, FaultKind::PauseLeader, 3_000, 4_000)];
        let rows = measured(2_900..3_500).availability(&faults);
        assert_eq!(ms(row(&rows, "pause-leader").longest_gap_ms), 610);
        let faults = [fault(1, FaultKind::PauseLeader, 9_000, 12_000)];
        let rows = measured(9_500..12_000).availability(&faults);
        assert_eq!(ms(row(&rows, "pause-leader").longest_gap_ms), 3_008, "up to the end of the aftermath");
    }

    #[test]
    fn a_gap_that_the_next_fault_makes_is_not_the_one_before_its() {
        let faults = [fault(1, FaultKind::Loss, 2_000, 2_800), fault(2, FaultKind::PauseLeader, 3_100, 4_000)];
        let rows = measured(3_101..3_600).availability(&faults);
        assert_eq!(ms(row(&rows, "loss").longest_gap_ms), 10);
        assert_eq!(ms(row(&rows, "pause-leader").longest_gap_ms), 510);
        assert_eq!(row(&rows, "loss").failed, 0);
    }

    #[test]
    fn two_faults_at_once_are_a_row_of_their_own() {
        let faults = [
            fault(1, FaultKind::KillLeader, 3_000, 4_000),
            fault(2, FaultKind::ZookeeperServer, 3_000, 4_000),
            fault(3, FaultKind::KillLeader, 4_700, 5_000),
        ];
        let rows = measured(0..0).availability(&faults);
        let names: Vec<&str> = rows.iter().map(|row| row.during.as_str()).collect();
        assert_eq!(names, ["nothing", "kill-leader", "two at once"]);
        assert_eq!((row(&rows, "two at once").faults, row(&rows, "kill-leader").faults), (1, 1));
    }

    #[test]
    fn latencies_count_from_when_a_payment_should_have_begun() {
        let late = Paid { intended: Micros(3_000 * MS), ended: Micros(3_900 * MS) };
        let mut measured = measured(3_000..3_900);
        measured.paid.push(late);
        measured.paid.sort_by_key(|paid| paid.ended);
        let rows = measured.availability(&[fault(1, FaultKind::PauseLeader, 2_990, 4_000)]);
        assert_eq!(ms(row(&rows, "pause-leader").max_ms), 900);
    }

    #[test]
    fn time_outside_all_faults_is_calm() {
        let window = |from, to, end| Window { from: Micros(from * MS), to: Micros(to * MS), end: Micros(end * MS) };
        let windows = [window(1_000, 2_000, 2_000), window(1_500, 3_000, 3_000), window(5_000, 9_000, 9_000)];
        assert_eq!(calm(&windows, Micros(8_000 * MS)), [window(0, 900, 1_000), window(3_000, 4_900, 5_000)]);
        assert_eq!(calm(&[], Micros(800 * MS)), [window(0, 700, 800)]);
    }
}
