//! Figures from a history: when payments were committed, how long they took, and for how long there was none.

use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::chaos::error::ChaosError;
use crate::chaos::fault_record::FaultRecord;
use crate::history::{Ending, HistoryReader, Micros, Operation, Operations, Request};
use quorapay_core::domain::OperationRequest;

/// How long after the recovery a window still belongs to a fault.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Payments that start this shortly before the next fault count for neither window: that fault may affect them.
const LEAD_TIME: Duration = Duration::from_millis(100);

/// Upper bound of the histogram, one hour; longer latencies are counted as this long. Deadlines are shorter.
const MAX_LATENCY_US: u64 = 3_600_000_000;

/// A payment that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommittedPayment {
    pub(super) intended: Micros,
    pub(super) ended: Micros,
    /// The node that answered, by its place among the names.
    pub(super) node: usize,
}

impl CommittedPayment {
    pub(super) fn latency(&self) -> Duration {
        self.ended.since(self.intended)
    }
}

/// The times of all payments of a history.
#[derive(Clone, Debug, Default)]
pub(super) struct Measurements {
    /// Payments that were committed, in the order of their answers.
    pub(super) paid: Vec<CommittedPayment>,
    /// The names of the nodes that were asked, in the order of their first answers.
    pub(super) nodes: Vec<String>,
    /// When payments ended without a decision: refused by a node, or unknown.
    pub(super) failed: Vec<Micros>,
}

/// Availability of the cluster while a kind of fault lasted and shortly after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Availability {
    /// The name of the kind, `two at once`, or `nothing`.
    pub during: String,
    /// How many faults there were.
    pub faults: u64,
    /// Payments that were committed.
    pub paid: u64,
    /// Attempts that ended without a decision.
    pub failed: u64,
    /// The longest time without a committed payment, in milliseconds.
    pub longest_gap_ms: f64,
    /// Median latency of the committed payments, in milliseconds from their scheduled start.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Maximum.
    pub max_ms: f64,
}

impl Measurements {
    /// Reads a history.
    pub(super) fn of(history: &Path) -> Result<Self, ChaosError> {
        let mut operations = Operations::of(history);
        let mut measurements = Self::default();
        for event in HistoryReader::open(history)? {
            let (line, event) = event?;
            let taken = operations.take(line, event);
            let wrong = |error: crate::history::OperationError| error.to_string();
            let taken =
                taken.map_err(|error| ChaosError::History { path: history.to_owned(), reason: wrong(error) })?;
            taken.into_iter().for_each(|operation| measurements.count(&operation));
        }
        measurements.paid.sort_by_key(|paid| paid.ended);
        measurements.failed.sort();
        Ok(measurements)
    }

    fn count(&mut self, operation: &Operation) {
        let Request::Write(proposal) = &operation.invoke.request else { return };
        if !matches!(proposal.request, OperationRequest::Payment(_)) {
            return;
        }
        match &operation.ending {
            Ending::Ok { at, .. } => {
                let node = self.number_of(&operation.invoke.node);
                self.paid.push(CommittedPayment { intended: operation.invoke.intended, ended: *at, node });
            }
            // 409 is a decision of the bank: it is in the ledger like any other.
            Ending::Refused { response: Some(response), .. } if response.status == 409 => {}
            Ending::Refused { at, .. } | Ending::Unknown { at, .. } => self.failed.push(*at),
            Ending::Never => {}
        }
    }

    fn number_of(&mut self, name: &str) -> usize {
        self.nodes.iter().position(|known| known == name).unwrap_or_else(|| {
            self.nodes.push(name.to_owned());
            self.nodes.len() - 1
        })
    }

    /// One row per kind of fault that came alone, one for pairs, and one for the time without faults.
    pub(super) fn availability(&self, faults: &[FaultRecord]) -> Vec<Availability> {
        let mut rows: Vec<(String, Vec<Window>)> = Vec::new();
        for fault in faults {
            let window = Window::of(fault, faults);
            let alone = !faults.iter().any(|other| other.number != fault.number && window.overlaps(other));
            let during = if alone { fault.kind.name() } else { "two at once" };
            match rows.iter_mut().find(|(name, _)| name == during) {
                Some((_, windows)) => windows.push(window),
                None => rows.push((during.to_owned(), vec![window])),
            }
        }
        rows.sort();
        // Pairs come last, and the two windows of a pair count as one.
        if let Some(at) = rows.iter().position(|(name, _)| name == "two at once") {
            let (name, mut pairs) = rows.remove(at);
            pairs.dedup_by_key(|window| window.from);
            rows.push((name, pairs));
        }
        let windows: Vec<Window> = faults.iter().map(|fault| Window::of(fault, faults)).collect();
        let mut result = vec![self.row("nothing", &quiet_windows(&windows, self.end()))];
        result.extend(rows.iter().map(|(during, windows)| self.row(during, windows)));
        result[0].faults = 0;
        result
    }

    fn end(&self) -> Micros {
        self.paid.last().map_or(Micros(0), |paid| paid.ended)
    }

    fn row(&self, during: &str, windows: &[Window]) -> Availability {
        let mut latencies = Histogram::<u64>::new_with_bounds(1, MAX_LATENCY_US, 3).expect("the bounds are sound");
        let paid = self.paid.iter().filter(|paid| windows.iter().any(|window| window.contains(paid.intended)));
        for paid in paid {
            latencies.saturating_record(micros(paid.latency()).max(1));
        }
        let failed = self.failed.iter().filter(|at| windows.iter().any(|window| window.contains(**at))).count();
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

    /// The longest time without a committed payment that overlaps the window.
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

/// An interval of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    from: Micros,
    /// Payments that start from here on are not counted.
    to: Micros,
    /// Where the next fault begins, or `to`. Gaps are counted up to here.
    end: Micros,
}

impl Window {
    /// The window of a fault: while it lasts and shortly after, but not into the next.
    fn of(fault: &FaultRecord, all: &[FaultRecord]) -> Self {
        let next = all.iter().map(|other| other.began).filter(|began| *began >= fault.recovered).min();
        let after = Micros(fault.recovered.0 + micros(AFTERMATH));
        match next {
            Some(next) => {
                let limit = Micros(next.0.saturating_sub(micros(LEAD_TIME)).max(fault.recovered.0));
                Self { from: fault.began, to: after.min(limit), end: next }
            }
            None => Self { from: fault.began, to: after, end: after },
        }
    }

    const fn contains(&self, at: Micros) -> bool {
        self.from.0 <= at.0 && at.0 < self.to.0
    }

    /// Whether another fault was active at the same time.
    fn overlaps(&self, other: &FaultRecord) -> bool {
        other.began < self.to && self.from < other.recovered
    }
}

/// The time up to `end` outside the windows of all faults.
fn quiet_windows(windows: &[Window], end: Micros) -> Vec<Window> {
    let mut quiet = Vec::new();
    let mut from = Micros(0);
    let mut sorted = windows.to_vec();
    sorted.sort();
    for (begins, ends) in sorted.into_iter().map(|window| (window.from, window.to)).chain([(end, end)]) {
        let limit = Micros(begins.0.saturating_sub(micros(LEAD_TIME)));
        if from < limit {
            quiet.push(Window { from, to: limit, end: begins });
        }
        from = from.max(ends);
    }
    quiet
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::FaultKind;

    const MS: u64 = 1_000;

    /// A payment every 10 ms that takes 2 ms, without those that end within the gap.
    fn measurements(gap_ms: std::ops::Range<u64>) -> Measurements {
        let paid = (0..1_000).map(|number| number * 10).filter(|ms| !gap_ms.contains(&(ms + 2)));
        let paid = paid.map(|ms| CommittedPayment { intended: Micros(ms * MS), ended: Micros((ms + 2) * MS), node: 0 });
        Measurements { paid: paid.collect(), nodes: vec!["node1".to_owned()], failed: vec![Micros(3_100 * MS)] }
    }

    fn fault(number: u64, kind: FaultKind, began_ms: u64, recovered_ms: u64) -> FaultRecord {
        let [began, recovered] = [began_ms, recovered_ms].map(|ms| Micros(ms * MS));
        FaultRecord {
            number,
            kind,
            target: "node1".to_owned(),
            form: None,
            cut_off: None,
            began,
            healed: began,
            recovered,
        }
    }

    fn row<'a>(rows: &'a [Availability], during: &str) -> &'a Availability {
        rows.iter().find(|row| row.during == during).expect("the row is there")
    }

    fn ms(value: f64) -> u64 {
        serde_json::json!(value.round()).as_f64().map_or(0, |rounded| format!("{rounded}").parse().unwrap_or(0))
    }

    #[test]
    fn the_longest_gap_counts_for_the_fault_that_it_overlaps() {
        let faults = [fault(1, FaultKind::KillLeader, 3_000, 4_000), fault(2, FaultKind::Loss, 6_000, 7_000)];
        let rows = measurements(3_001..3_400).availability(&faults);
        let kill = row(&rows, "kill-leader");
        assert_eq!((ms(kill.longest_gap_ms), kill.failed, kill.faults), (410, 1, 1));
        assert_eq!(ms(row(&rows, "loss").longest_gap_ms), 10);
        assert_eq!(ms(row(&rows, "nothing").longest_gap_ms), 10);
    }

    #[test]
    fn a_gap_that_begins_before_a_fault_and_one_without_end_count_in_full() {
        let faults = [fault(1, FaultKind::PauseLeader, 3_000, 4_000)];
        let rows = measurements(2_900..3_500).availability(&faults);
        assert_eq!(ms(row(&rows, "pause-leader").longest_gap_ms), 610);
        let faults = [fault(1, FaultKind::PauseLeader, 9_000, 12_000)];
        let rows = measurements(9_500..12_000).availability(&faults);
        assert_eq!(ms(row(&rows, "pause-leader").longest_gap_ms), 3_008, "up to the end of the aftermath");
    }

    #[test]
    fn a_gap_of_the_next_fault_does_not_count_for_the_one_before() {
        let faults = [fault(1, FaultKind::Loss, 2_000, 2_800), fault(2, FaultKind::PauseLeader, 3_100, 4_000)];
        let rows = measurements(3_101..3_600).availability(&faults);
        assert_eq!(ms(row(&rows, "loss").longest_gap_ms), 10);
        assert_eq!(ms(row(&rows, "pause-leader").longest_gap_ms), 510);
        assert_eq!(row(&rows, "loss").failed, 0);
    }

    #[test]
    fn two_faults_at_once_are_a_separate_row() {
        let faults = [
            fault(1, FaultKind::KillLeader, 3_000, 4_000),
            fault(2, FaultKind::ZookeeperServer, 3_000, 4_000),
            fault(3, FaultKind::KillLeader, 4_700, 5_000),
        ];
        let rows = measurements(0..0).availability(&faults);
        let names: Vec<&str> = rows.iter().map(|row| row.during.as_str()).collect();
        assert_eq!(names, ["nothing", "kill-leader", "two at once"]);
        assert_eq!((row(&rows, "two at once").faults, row(&rows, "kill-leader").faults), (1, 1));
    }

    #[test]
    fn latencies_count_from_the_scheduled_start() {
        let late = CommittedPayment { intended: Micros(3_000 * MS), ended: Micros(3_900 * MS), node: 0 };
        let mut measurements = measurements(3_000..3_900);
        measurements.paid.push(late);
        measurements.paid.sort_by_key(|paid| paid.ended);
        let rows = measurements.availability(&[fault(1, FaultKind::PauseLeader, 2_990, 4_000)]);
        assert_eq!(ms(row(&rows, "pause-leader").max_ms), 900);
    }

    #[test]
    fn time_outside_all_windows_is_quiet() {
        let window = |from, to, end| Window { from: Micros(from * MS), to: Micros(to * MS), end: Micros(end * MS) };
        let windows = [window(1_000, 2_000, 2_000), window(1_500, 3_000, 3_000), window(5_000, 9_000, 9_000)];
        assert_eq!(quiet_windows(&windows, Micros(8_000 * MS)), [window(0, 900, 1_000), window(3_000, 4_900, 5_000)]);
        assert_eq!(quiet_windows(&[], Micros(800 * MS)), [window(0, 700, 800)]);
    }
}
