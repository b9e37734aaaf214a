//! A run as a picture: throughput and latencies over time, as self-contained SVG.
//!
//! The latencies have a logarithmic axis, so that a stall of a second hides no change of the median.

use std::fmt::Write;
use std::time::Duration;

use super::series::Series;
use super::tally::Bucket;
use super::windows::WindowFigures;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;

/// More points than this would overlap at the picture's width.
const MAX_POINTS: usize = 400;

/// Where the legend of a panel begins, and how far apart its entries are.
const LEGEND_LEFT: f64 = 300.0;
const LEGEND_STEP: f64 = 150.0;

/// Grid lines of the logarithmic axis, in milliseconds. The axis begins and ends at one of them.
const DECADES_MS: [f64; 7] = [0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// One chart of the picture.
struct Panel {
    top: f64,
    height: f64,
}

const THROUGHPUT: Panel = Panel { top: 40.0, height: 190.0 };
const LATENCY: Panel = Panel { top: 280.0, height: 190.0 };

const RATE: &str = "#1f6feb";
const WINDOW_RATE: &str = "#0a3069";
const SLOWEST: &str = "#e3a96f";
const P99: &str = "#b35900";
const P50: &str = "#116329";
const ERRORS: &str = "#d1242f";

/// The values at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at_s: f64,
    per_second: f64,
    latency_ms: f64,
    errors: u64,
}

/// Draws a run of these operations. The warm-up is shaded, errors are red marks under the throughput.
pub(super) fn draw(
    timeline: &Series<Bucket>,
    windows: &[WindowFigures],
    warm_up: Duration,
    operations: &str,
) -> String {
    let points = points(timeline);
    let total_s = timeline.width().as_secs_f64() * timeline.intervals().len().max(1) as f64;
    let warm_up_s = warm_up.as_secs_f64();
    let x = |at_s: f64| LEFT + at_s.min(total_s) / total_s * (WIDTH - LEFT - RIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for Panel { top, height } in [&THROUGHPUT, &LATENCY] {
        let width = x(warm_up_s) - LEFT;
        add(
            &mut svg,
            format_args!("<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"#eee\"/>"),
        );
    }
    // A horizontal line for each window.
    let steps = |of: &dyn Fn(&WindowFigures) -> f64| -> Vec<(f64, f64, f64)> {
        let step = |window: &WindowFigures| {
            let from = warm_up_s + window.from_s;
            (x(from), x(from + window.seconds), of(window))
        };
        windows.iter().map(step).collect()
    };
    draw_throughput(&mut svg, &points, &steps(&|window| window.per_second), operations, x);
    draw_latencies(
        &mut svg,
        &points,
        &[
            (P99, "p99 of a window", steps(&|window| window.p99_us as f64 / 1e3)),
            (P50, "p50 of a window", steps(&|window| window.p50_us as f64 / 1e3)),
        ],
        x,
    );
    draw_time_axis(&mut svg, total_s, x);
    svg.push_str("</svg>\n");
    svg
}

fn draw_throughput(
    svg: &mut String,
    points: &[Point],
    windows: &[(f64, f64, f64)],
    operations: &str,
    x: impl Fn(f64) -> f64,
) {
    let Panel { top, height } = THROUGHPUT;
    let highest = points.iter().map(|point| point.per_second).fold(0.0, f64::max);
    let step = nice_step(highest / 4.0);
    let axis_max = step * (highest / step).ceil().max(1.0);
    let y = |value: f64| top + height - value / axis_max * height;
    let mut value = 0.0;
    // The factor absorbs rounding, so that the last grid line is drawn.
    while value <= axis_max * 1.001 {
        draw_grid_line(svg, y(value), &label(value, step));
        value += step;
    }
    let line: Vec<_> = points.iter().map(|point| format!("{:.1},{:.1}", x(point.at_s), y(point.per_second))).collect();
    let line = line.join(" ");
    add(svg, format_args!("<polyline fill=\"none\" stroke=\"{RATE}\" stroke-width=\"1.2\" points=\"{line}\"/>"));
    draw_steps(svg, windows, WINDOW_RATE, y);
    let errors_at = top + height;
    for point in points.iter().filter(|point| point.errors > 0) {
        let (at, errors) = (x(point.at_s), point.errors);
        add(
            svg,
            format_args!(
                "<rect x=\"{at:.1}\" y=\"{errors_at}\" width=\"3\" height=\"8\" fill=\"{ERRORS}\"><title>{errors} \
                 errors</title></rect>"
            ),
        );
    }
    draw_title(
        svg,
        top,
        &format!("{operations}/s"),
        &[(RATE, "now"), (WINDOW_RATE, "mean of a window"), (ERRORS, "errors")],
    );
}

/// A line over the windows: its colour, its name, and from where to where it has which value.
type Line<'a> = (&'a str, &'a str, Vec<(f64, f64, f64)>);

fn draw_latencies(svg: &mut String, points: &[Point], lines: &[Line<'_>; 2], x: impl Fn(f64) -> f64) {
    let Panel { top, height } = LATENCY;
    let shown = || points.iter().map(|point| point.latency_ms).filter(|ms| *ms > 0.0);
    let medians = lines.iter().flat_map(|(_, _, steps)| steps.iter().map(|(_, _, ms)| *ms)).filter(|ms| *ms > 0.0);
    let (lowest, highest) = (medians.chain(shown()).fold(1.0, f64::min), shown().fold(1.0, f64::max));
    let axis_min = DECADES_MS.into_iter().rev().find(|decade| *decade <= lowest).unwrap_or(DECADES_MS[0]);
    let axis_max = DECADES_MS.into_iter().find(|decade| *decade >= highest).unwrap_or(DECADES_MS[DECADES_MS.len() - 1]);
    let axis_max = axis_max.max(axis_min * 10.0);
    let y = |ms: f64| {
        let share = (ms.max(axis_min) / axis_min).log10() / (axis_max / axis_min).log10();
        top + height - share.min(1.0) * height
    };
    for decade in DECADES_MS.into_iter().filter(|decade| (axis_min..=axis_max).contains(decade)) {
        draw_grid_line(svg, y(decade), &label(decade, decade));
    }
    let base = top + height;
    let bar = |point: &Point| format!("M{:.1} {base:.1}V{:.1}", x(point.at_s), y(point.latency_ms));
    let path: String = points.iter().filter(|point| point.latency_ms > 0.0).map(bar).collect();
    add(svg, format_args!("<path d=\"{path}\" stroke=\"{SLOWEST}\" stroke-width=\"2\"/>"));
    for (colour, _, steps) in lines {
        draw_steps(svg, steps, colour, y);
    }
    let [(first, first_name, _), (second, second_name, _)] = lines;
    draw_title(svg, top, "latency, ms", &[(SLOWEST, "longest"), (*first, *first_name), (*second, *second_name)]);
}

fn draw_grid_line(svg: &mut String, y: f64, label: &str) {
    let (right, label_x, label_y) = (WIDTH - RIGHT, LEFT - 8.0, y + 4.0);
    add(svg, format_args!("<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"));
    add(svg, format_args!("<text x=\"{label_x}\" y=\"{label_y:.1}\" text-anchor=\"end\">{label}</text>"));
}

fn draw_steps(svg: &mut String, steps: &[(f64, f64, f64)], colour: &str, y: impl Fn(f64) -> f64) {
    let step = |(from, to, value): &(f64, f64, f64)| format!("M{from:.1} {:.1}H{to:.1}", y(*value));
    let path: String = steps.iter().map(step).collect();
    add(svg, format_args!("<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2.5\"/>"));
}

fn draw_title(svg: &mut String, top: f64, title: &str, legend: &[(&str, &str)]) {
    let y = top - 12.0;
    add(svg, format_args!("<text x=\"{LEFT}\" y=\"{y}\" font-weight=\"bold\">{title}</text>"));
    let mut at = LEGEND_LEFT;
    for (colour, name) in legend {
        let (mark_y, text_x) = (y - 9.0, at + 16.0);
        add(svg, format_args!("<rect x=\"{at}\" y=\"{mark_y}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"));
        add(svg, format_args!("<text x=\"{text_x}\" y=\"{y}\">{name}</text>"));
        at += LEGEND_STEP;
    }
}

/// Merges neighbouring buckets until there are at most [`MAX_POINTS`].
fn points(timeline: &Series<Bucket>) -> Vec<Point> {
    let together = timeline.intervals().len().div_ceil(MAX_POINTS).max(1);
    let span_s = timeline.width().as_secs_f64();
    let point = |(number, buckets): (usize, &[Bucket])| Point {
        at_s: (number * together) as f64 * span_s,
        per_second: buckets.iter().map(|bucket| bucket.ok).sum::<u64>() as f64 / buckets.len() as f64 / span_s,
        latency_ms: buckets.iter().map(|bucket| bucket.max_latency_us).max().unwrap_or(0) as f64 / 1_000.0,
        errors: buckets.iter().map(|bucket| bucket.errors).sum(),
    };
    timeline.intervals().chunks(together).enumerate().map(point).collect()
}

fn draw_time_axis(svg: &mut String, total_s: f64, x: impl Fn(f64) -> f64) {
    let step = nice_step(total_s / 8.0);
    let y = LATENCY.top + LATENCY.height + 18.0;
    let mut at_s = 0.0;
    while at_s <= total_s * 1.001 {
        add(
            svg,
            format_args!("<text x=\"{:.1}\" y=\"{y}\" text-anchor=\"middle\">{} s</text>", x(at_s), label(at_s, step)),
        );
        at_s += step;
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn nice_step(at_least: f64) -> f64 {
    let power = 10_f64.powf(at_least.max(1e-3).log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= at_least).unwrap_or(10.0 * power)
}

/// A number with as many decimals as its step needs and commas between thousands.
fn label(value: f64, step: f64) -> String {
    let decimals = if step >= 1.0 {
        0
    } else if step >= 0.1 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

fn add(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(buckets: &[(u64, u64)]) -> Series<Bucket> {
        let mut series = Series::new(Duration::from_millis(100), 10_000);
        for (at, (ok, errors)) in (0..).zip(buckets) {
            *series.at(Duration::from_millis(100) * at) = Bucket { ok: *ok, errors: *errors, max_latency_us: 1_500 };
        }
        series
    }

    #[test]
    fn a_long_run_is_drawn_with_a_bounded_number_of_points() {
        let points = points(&timeline(&[(100, 1); 1_000]));
        assert_eq!(points.len(), 334);
        let first = Point { at_s: 0.0, per_second: 1_000.0, latency_ms: 1.5, errors: 3 };
        assert_eq!(points[0], first);
    }

    #[test]
    fn a_picture_has_the_rates_the_latencies_and_a_mark_for_errors() {
        let (from_s, seconds, per_second) = (0.0, 0.2, 750.0);
        let window =
            WindowFigures { from_s, seconds, per_second, errors: 7, p50_us: 900, p99_us: 1_400, max_us: 1_500 };
        let warm_up = Duration::from_millis(100);
        let svg = draw(&timeline(&[(0, 0), (100, 0), (50, 7)]), &[window], warm_up, "payments");
        // Besides the longest latencies a path of steps for the rate and for two percentiles.
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<path").count()), (1, 4));
        assert!(svg.contains("<title>7 errors</title>") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let empty = draw(&timeline(&[]), &[], Duration::ZERO, "reads");
        assert!(empty.ends_with("</svg>\n") && !empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }

    #[test]
    fn steps_are_round_and_labels_readable() {
        let steps = [0.3, 1.0, 7.0, 23.0, 5_100.0].map(|least| nice_step(least).to_string());
        assert_eq!(steps, ["0.5", "1", "10", "50", "10000"]);
        assert_eq!(label(1_234_000.0, 1_000.0), "1,234,000");
        assert_eq!(label(0.5, 0.5), "0.5");
    }
}
