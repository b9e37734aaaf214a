//! The run as a picture: payments per second, their latencies, and the faults, over one time axis.
//!
//! The colours have medium lightness and the background is transparent, so that it is readable on white and on black.

use std::fmt::Write;
use std::time::Duration;

use super::measure::Measurements;
use super::results::Report;
use crate::chaos::fault_record::FaultRecord;
use crate::chaos::kind::FaultKind;
use crate::history::Micros;

const WIDTH: f64 = 1_180.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 1_160.0;
const RATE_TOP: f64 = 86.0;
const RATE_BOTTOM: f64 = 226.0;
const LATENCY_TOP: f64 = 276.0;
const LATENCY_BOTTOM: f64 = 436.0;
const LANES_TOP: f64 = 478.0;
const LANE: f64 = 17.0;

/// Maximum number of columns: more cannot be told apart at this width.
const COLUMNS: u32 = 420;
const MIN_COLUMN_WIDTH: Duration = Duration::from_millis(200);

/// The grid lines of the logarithmic latency axis, in milliseconds.
const DECADES_MS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

const PAID: &str = "#3d85c6";
const FAILED: &str = "#d64545";
const SLOWEST: &str = "#d9822b";
const TEXT: &str = "#7b8490";

/// Draws the picture.
pub(super) fn draw(report: &Report) -> String {
    let columns = Columns::of(&report.measurements, report.duration());
    let lanes = Lanes::of(&report.faults);
    let mut svg = Svg { text: String::new(), seconds: report.duration().as_secs_f64().max(1.0) };
    let bottom = LANES_TOP + LANE * lanes.count();
    svg.open(bottom + 44.0);
    svg.head(report);
    svg.shades(&report.faults, bottom);
    svg.rates(&columns);
    svg.latencies(&columns);
    svg.lanes(&lanes, &report.faults);
    svg.time_axis(bottom);
    svg.text.push_str("</svg>\n");
    svg.text
}

/// The payments that ended within one interval.
#[derive(Clone, Debug, Default)]
struct Column {
    paid: u32,
    failed: u32,
    latencies: Vec<Duration>,
}

struct Columns {
    width: Duration,
    columns: Vec<Column>,
}

impl Columns {
    fn of(measurements: &Measurements, duration: Duration) -> Self {
        let width = (duration / COLUMNS).max(MIN_COLUMN_WIDTH);
        let column_of =
            |at: Micros| usize::try_from(at.since_start().as_nanos() / width.as_nanos()).unwrap_or(usize::MAX);
        let mut columns =
            vec![Column::default(); column_of(Micros(u64::try_from(duration.as_micros()).unwrap_or(0))) + 1];
        for paid in &measurements.paid {
            if let Some(column) = columns.get_mut(column_of(paid.ended)) {
                column.paid += 1;
                column.latencies.push(paid.latency());
            }
        }
        for failed in &measurements.failed {
            if let Some(column) = columns.get_mut(column_of(*failed)) {
                column.failed += 1;
            }
        }
        columns.iter_mut().for_each(|column| column.latencies.sort());
        Self { width, columns }
    }

    fn per_second(&self, count: u32) -> f64 {
        f64::from(count) / self.width.as_secs_f64()
    }

    /// The left edge of each column in seconds, and the column.
    fn iter(&self) -> impl Iterator<Item = (f64, &Column)> {
        (0..).zip(&self.columns).map(|(number, column)| ((self.width * number).as_secs_f64(), column))
    }
}

/// A row of the lower part for each kind of fault that was injected.
struct Lanes(Vec<FaultKind>);

impl Lanes {
    fn of(faults: &[FaultRecord]) -> Self {
        let occurred = |kind: &FaultKind| faults.iter().any(|fault| fault.kind == *kind);
        Self(FaultKind::ALL.into_iter().filter(occurred).collect())
    }

    fn count(&self) -> f64 {
        f64::from(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }

    fn top(&self, kind: FaultKind) -> f64 {
        let above = self.0.iter().take_while(|other| **other != kind).count();
        LANES_TOP + LANE * f64::from(u32::try_from(above).unwrap_or(u32::MAX))
    }
}

fn colour(kind: FaultKind) -> &'static str {
    match kind.name().split('-').next().unwrap_or_default() {
        "kill" | "restart" => "#c94f4f",
        "pause" => "#c9803a",
        "partition" => "#8e6bbf",
        "delay" | "loss" => "#3f9c9c",
        "disk" | "fsync" | "bit" | "power" => "#a1743f",
        "clock" => "#b09a30",
        _ => "#5a9e58",
    }
}

struct Svg {
    text: String,
    /// Length of the time axis.
    seconds: f64,
}

impl Svg {
    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        self.text.write_fmt(element).expect("writing to a string does not fail");
        self.text.push('\n');
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    fn x_at(&self, at: Micros) -> f64 {
        self.x(at.since_start().as_secs_f64())
    }

    fn open(&mut self, height: f64) {
        self.put(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12" fill="{TEXT}">"#
        ));
    }

    fn head(&mut self, report: &Report) {
        let verdict = if report.is_kept() { "every promise kept" } else { "PROMISES BROKEN" };
        let duration = duration_label(report.duration().as_secs_f64().round());
        self.put(format_args!(
            r#"<text x="{LEFT}" y="28" font-size="17" font-weight="600">quorapay chaos, seed {}: {verdict}</text>"#,
            report.seed
        ));
        self.put(format_args!(
            r#"<text x="{LEFT}" y="48">{} nodes, {} ZooKeeper servers, {} operations per second for {duration}, {} faults, version {}</text>"#,
            report.nodes,
            report.zookeepers,
            report.rate,
            report.faults.len(),
            report.version
        ));
    }

    /// Draws the faults as shaded areas behind both charts.
    fn shades(&mut self, faults: &[FaultRecord], bottom: f64) {
        for fault in faults {
            let (from, to) = (self.x_at(fault.began), self.x_at(fault.healed));
            let width = (to - from).max(1.0);
            let fill = colour(fault.kind);
            for (top, height) in [(RATE_TOP, RATE_BOTTOM - RATE_TOP), (LATENCY_TOP, LATENCY_BOTTOM - LATENCY_TOP)] {
                self.put(format_args!(
                    r#"<rect x="{from:.1}" y="{top}" width="{width:.1}" height="{height}" fill="{fill}" fill-opacity="0.16"/>"#
                ));
            }
            self.put(format_args!(
                r#"<line x1="{from:.1}" y1="{LANES_TOP}" x2="{from:.1}" y2="{bottom}" stroke="{fill}" stroke-opacity="0.25"/>"#
            ));
        }
    }

    fn rates(&mut self, columns: &Columns) {
        let most = columns.columns.iter().map(|column| column.paid.max(column.failed)).max().unwrap_or(1);
        let top = ceiling(columns.per_second(most));
        let y = |rate: f64| RATE_BOTTOM - (RATE_BOTTOM - RATE_TOP) * (rate / top).min(1.0);
        for rate in [0.0, top / 2.0, top] {
            self.grid(y(rate), &format!("{rate:.0}"));
        }
        self.axis_title(RATE_TOP, "payments per second");
        self.legend(RATE_TOP, &[(PAID, "committed"), (FAILED, "refused by a node, or unknown")]);
        let steps = |of: fn(&Column) -> u32| {
            let mut path = String::new();
            for (seconds, column) in columns.iter() {
                let height = y(columns.per_second(of(column)));
                let right = self.x(seconds + columns.width.as_secs_f64());
                let verb = if path.is_empty() { 'M' } else { 'L' };
                write!(path, "{verb}{:.1} {height:.1} L{right:.1} {height:.1} ", self.x(seconds))
                    .expect("writing to a string does not fail");
            }
            path
        };
        let (paid, failed) = (steps(|column| column.paid), steps(|column| column.failed));
        self.put(format_args!(
            r#"<path d="{paid}L{RIGHT} {RATE_BOTTOM} L{LEFT} {RATE_BOTTOM} Z" fill="{PAID}" fill-opacity="0.18"/>"#
        ));
        self.put(format_args!(r#"<path d="{paid}" fill="none" stroke="{PAID}" stroke-width="1.3"/>"#));
        self.put(format_args!(r#"<path d="{failed}" fill="none" stroke="{FAILED}" stroke-width="1.1"/>"#));
    }

    fn latencies(&mut self, columns: &Columns) {
        let (low, high) = (DECADES_MS[0].log10(), DECADES_MS[DECADES_MS.len() - 1].log10());
        let y = |ms: f64| {
            let share = (ms.max(f64::MIN_POSITIVE).log10() - low) / (high - low);
            LATENCY_BOTTOM - (LATENCY_BOTTOM - LATENCY_TOP) * share.clamp(0.0, 1.0)
        };
        for ms in DECADES_MS {
            let label = if ms < 1_000.0 { format!("{ms:.0} ms") } else { format!("{:.0} s", ms / 1_000.0) };
            self.grid(y(ms), &label);
        }
        self.axis_title(LATENCY_TOP, "latency from the intended start");
        self.legend(LATENCY_TOP, &[(SLOWEST, "slowest"), (PAID, "median")]);
        let mut median = String::new();
        for (seconds, column) in columns.iter() {
            let x = self.x(seconds + columns.width.as_secs_f64() / 2.0);
            if let Some(slowest) = column.latencies.last() {
                let y = y(slowest.as_secs_f64() * 1e3);
                self.put(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="1.9" fill="{SLOWEST}"/>"#));
            }
            // The line is interrupted where no payment was made.
            let verb = if median.ends_with("- ") || median.is_empty() { 'M' } else { 'L' };
            match column.latencies.get(column.latencies.len() / 2) {
                Some(half) => {
                    median.truncate(median.trim_end_matches("- ").len());
                    write!(median, "{verb}{x:.1} {:.1} ", y(half.as_secs_f64() * 1e3))
                        .expect("writing to a string does not fail");
                }
                None if median.is_empty() => {}
                None => median.push_str("- "),
            }
        }
        let median = median.replace("- ", "");
        self.put(format_args!(r#"<path d="{median}" fill="none" stroke="{PAID}" stroke-width="1.4"/>"#));
    }

    fn lanes(&mut self, lanes: &Lanes, faults: &[FaultRecord]) {
        self.put(format_args!(
            r#"<text x="{LEFT}" y="{:.1}">faults: full while they last, pale until every node is back and caught up</text>"#,
            LANES_TOP - 10.0
        ));
        for kind in &lanes.0 {
            let y = lanes.top(*kind) + 12.5;
            self.put(format_args!(r#"<text x="{:.1}" y="{y:.1}" text-anchor="end">{kind}</text>"#, LEFT - 10.0));
            self.put(format_args!(
                r#"<line x1="{LEFT}" y1="{0:.1}" x2="{RIGHT}" y2="{0:.1}" stroke="{TEXT}" stroke-opacity="0.18"/>"#,
                y - 4.0
            ));
        }
        for fault in faults {
            let (top, fill) = (lanes.top(fault.kind) + 3.0, colour(fault.kind));
            for (from, to, opacity) in [(fault.began, fault.healed, 0.9), (fault.healed, fault.recovered, 0.35)] {
                let (from, to) = (self.x_at(from), self.x_at(to));
                self.put(format_args!(
                    r#"<rect x="{from:.1}" y="{top:.1}" width="{:.1}" height="11" rx="1.5" fill="{fill}" fill-opacity="{opacity}"><title>{} {}, at {:.1} s</title></rect>"#,
                    (to - from).max(1.5),
                    fault.kind,
                    fault.target,
                    fault.began.since_start().as_secs_f64()
                ));
            }
        }
    }

    fn time_axis(&mut self, bottom: f64) {
        let step = time_step(self.seconds);
        let mut at = 0.0;
        while at <= self.seconds {
            let x = self.x(at);
            self.put(format_args!(
                r#"<line x1="{x:.1}" y1="{bottom}" x2="{x:.1}" y2="{:.1}" stroke="{TEXT}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 5.0,
                bottom + 18.0,
                duration_label(at)
            ));
            at += step;
        }
        self.put(format_args!(r#"<line x1="{LEFT}" y1="{bottom}" x2="{RIGHT}" y2="{bottom}" stroke="{TEXT}"/>"#));
        self.put(format_args!(
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">time since the clients began</text>"#,
            f64::midpoint(LEFT, RIGHT),
            bottom + 36.0
        ));
    }

    fn grid(&mut self, y: f64, label: &str) {
        self.put(format_args!(
            r#"<line x1="{LEFT}" y1="{y:.1}" x2="{RIGHT}" y2="{y:.1}" stroke="{TEXT}" stroke-opacity="0.28"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
            LEFT - 8.0,
            y + 4.0
        ));
    }

    fn axis_title(&mut self, top: f64, title: &str) {
        self.put(format_args!(r#"<text x="{LEFT}" y="{:.1}" font-weight="600">{title}</text>"#, top - 10.0));
    }

    fn legend(&mut self, top: f64, entries: &[(&str, &str)]) {
        let mut x = LEFT + 260.0;
        for (fill, label) in entries {
            let y = top - 19.0;
            self.put(format_args!(
                r#"<rect x="{x:.1}" y="{y:.1}" width="11" height="11" rx="2" fill="{fill}"/><text x="{:.1}" y="{:.1}">{label}</text>"#,
                x + 17.0,
                y + 9.5
            ));
            x += 120.0;
        }
    }
}

/// The smallest round number that is not less than a value.
fn ceiling(value: f64) -> f64 {
    let decade = 10.0_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * decade)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

/// Distance between two labels of the time axis, so that there are at most about a dozen.
fn time_step(seconds: f64) -> f64 {
    let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0];
    steps.into_iter().find(|step| seconds / step <= 14.0).unwrap_or(7_200.0)
}

fn duration_label(seconds: f64) -> String {
    let minutes = (seconds / 60.0).floor();
    if seconds < 60.0 {
        format!("{seconds:.0} s")
    } else if (seconds - minutes * 60.0).abs() < 0.5 {
        format!("{minutes:.0} min")
    } else {
        format!("{minutes:.0} min {:.0} s", seconds - minutes * 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axes_have_round_numbers() {
        assert_eq!(
            [7.0, 95.0, 110.0, 1_900.0].map(ceiling).map(|top| format!("{top:.0}")),
            ["8", "100", "200", "2000"]
        );
        assert_eq!([60.0, 7_200.0].map(time_step).map(|step| format!("{step:.0}")), ["5", "600"]);
        assert_eq!([45.0, 120.0, 95.0].map(duration_label), ["45 s", "2 min", "1 min 35 s"]);
    }

    #[test]
    fn payments_that_end_in_the_same_interval_are_one_column() {
        let paid = |ended_ms: u64| super::super::measure::CommittedPayment {
            intended: Micros(0),
            ended: Micros(ended_ms * 1_000),
            node: 0,
        };
        let paid = vec![paid(10), paid(190), paid(210)];
        let measurements = Measurements { paid, nodes: Vec::new(), failed: vec![Micros(999_000)] };
        let columns = Columns::of(&measurements, Duration::from_secs(1));
        let counts: Vec<(u32, u32)> = columns.columns.iter().map(|column| (column.paid, column.failed)).collect();
        assert_eq!(counts, [(2, 0), (1, 0), (0, 0), (0, 0), (0, 1), (0, 0)]);
    }
}
