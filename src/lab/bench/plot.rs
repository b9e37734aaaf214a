//! A run as a picture: throughput and longest latency over time, as self-contained SVG.

use std::fmt::Write;
use std::time::Duration;

use super::tally::{BUCKET, Bucket};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;

/// More points than this would overlap at the picture's width.
const MAX_POINTS: usize = 400;

/// One chart of the picture.
struct Panel {
    top: f64,
    height: f64,
    title: &'static str,
    colour: &'static str,
    /// Whether values are drawn as bars, without a line down to zero where a value is missing.
    bars: bool,
}

const THROUGHPUT: Panel = Panel { top: 40.0, height: 190.0, title: "payments/s", colour: "#1f6feb", bars: false };
const LATENCY: Panel = Panel { top: 280.0, height: 190.0, title: "longest latency, ms", colour: "#b35900", bars: true };

/// The values at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at_s: f64,
    per_second: f64,
    latency_ms: f64,
    errors: u64,
}

/// Draws a timeline. The warm-up is shaded, errors are red marks under the throughput.
pub(super) fn draw(timeline: &[Bucket], warm_up: Duration) -> String {
    let points = points(timeline);
    let total_s = BUCKET.as_secs_f64() * timeline.len().max(1) as f64;
    let x = |at_s: f64| LEFT + at_s / total_s * (WIDTH - LEFT - RIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for panel in [&THROUGHPUT, &LATENCY] {
        let width = x(warm_up.as_secs_f64().min(total_s)) - LEFT;
        let Panel { top, height, .. } = panel;
        add(
            &mut svg,
            format_args!("<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"#eee\"/>"),
        );
    }
    let throughput: Vec<_> = points.iter().map(|point| (x(point.at_s), point.per_second)).collect();
    let latency: Vec<_> = points.iter().map(|point| (x(point.at_s), point.latency_ms)).collect();
    draw_panel(&mut svg, &THROUGHPUT, &throughput);
    draw_panel(&mut svg, &LATENCY, &latency);
    let errors_at = THROUGHPUT.top + THROUGHPUT.height;
    for point in points.iter().filter(|point| point.errors > 0) {
        let (at, errors) = (x(point.at_s), point.errors);
        add(
            &mut svg,
            format_args!(
                "<rect x=\"{at:.1}\" y=\"{errors_at}\" width=\"3\" height=\"8\" fill=\"#d1242f\"><title>{errors} \
                 errors</title></rect>"
            ),
        );
    }
    draw_time_axis(&mut svg, total_s, x);
    svg.push_str("</svg>\n");
    svg
}

/// Merges neighbouring buckets until there are at most [`MAX_POINTS`].
fn points(timeline: &[Bucket]) -> Vec<Point> {
    let together = timeline.len().div_ceil(MAX_POINTS).max(1);
    let (span_s, per_second) = (BUCKET.as_secs_f64(), 1_000.0 / BUCKET.as_millis() as f64);
    let point = |(number, buckets): (usize, &[Bucket])| Point {
        at_s: (number * together) as f64 * span_s,
        per_second: buckets.iter().map(|bucket| bucket.ok).sum::<u64>() as f64 / buckets.len() as f64 * per_second,
        latency_ms: buckets.iter().map(|bucket| bucket.max_latency_us).max().unwrap_or(0) as f64 / 1_000.0,
        errors: buckets.iter().map(|bucket| bucket.errors).sum(),
    };
    timeline.chunks(together).enumerate().map(point).collect()
}

fn draw_panel(svg: &mut String, panel: &Panel, points: &[(f64, f64)]) {
    let Panel { top, height, title, colour, bars } = panel;
    let highest = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let step = nice_step(highest / 4.0);
    let axis_max = step * (highest / step).ceil().max(1.0);
    let y = |value: f64| top + height - value / axis_max * height;
    let right = WIDTH - RIGHT;
    let mut value = 0.0;
    // The factor absorbs rounding, so that the last grid line is drawn.
    while value <= axis_max * 1.001 {
        let at = y(value);
        add(svg, format_args!("<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>"));
        let (label_x, label_y, label) = (LEFT - 8.0, at + 4.0, label(value, step));
        add(svg, format_args!("<text x=\"{label_x}\" y=\"{label_y:.1}\" text-anchor=\"end\">{label}</text>"));
        value += step;
    }
    if *bars {
        let base = top + height;
        let bar = |(x, value): &(f64, f64)| format!("M{x:.1} {base:.1}V{:.1}", y(*value));
        let path: String = points.iter().filter(|(_, value)| *value > 0.0).map(bar).collect();
        add(svg, format_args!("<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
    } else {
        let line: Vec<_> = points.iter().map(|(x, value)| format!("{x:.1},{:.1}", y(*value))).collect();
        let line = line.join(" ");
        add(svg, format_args!("<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{line}\"/>"));
    }
    let title_y = top - 12.0;
    add(svg, format_args!("<text x=\"{LEFT}\" y=\"{title_y}\" font-weight=\"bold\" fill=\"{colour}\">{title}</text>"));
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

    fn bucket(ok: u64, errors: u64) -> Bucket {
        Bucket { ok, errors, max_latency_us: 1_500 }
    }

    #[test]
    fn a_long_run_is_drawn_with_a_bounded_number_of_points() {
        let points = points(&vec![bucket(100, 1); 1_000]);
        assert_eq!(points.len(), 334);
        let first = Point { at_s: 0.0, per_second: 1_000.0, latency_ms: 1.5, errors: 3 };
        assert_eq!(points[0], first);
    }

    #[test]
    fn a_picture_has_both_lines_and_a_mark_for_errors() {
        let svg = draw(&[bucket(0, 0), bucket(100, 0), bucket(50, 7)], Duration::from_millis(100));
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<path").count()), (1, 1));
        assert!(svg.contains("<title>7 errors</title>") && svg.ends_with("</svg>\n"));
        assert!(draw(&[], Duration::ZERO).ends_with("</svg>\n"));
    }

    #[test]
    fn steps_are_round_and_labels_readable() {
        let steps = [0.3, 1.0, 7.0, 23.0, 5_100.0].map(|least| nice_step(least).to_string());
        assert_eq!(steps, ["0.5", "1", "10", "50", "10000"]);
        assert_eq!(label(1_234_000.0, 1_000.0), "1,234,000");
        assert_eq!(label(0.5, 0.5), "0.5");
    }
}
