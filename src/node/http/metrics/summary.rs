//! The metrics for people: a page of text.

use std::fmt::Write;

use serde_json::Number;

use quorapay_api::{Numbers, Timer};

/// Bytes for the page of a dozen routes.
const PAGE_BYTES: usize = 4_096;
/// Columns of the longest name.
const NAME_COLUMNS: usize = 36;

/// The page. `now` says in a few words what the node does.
pub(in crate::http) fn page(numbers: &Numbers<'_>, now: &str) -> String {
    let mut page = String::with_capacity(PAGE_BYTES);
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(page, "{line}").expect("writing to memory does not fail");
    line(format_args!("{}: {now}\n", numbers.node_id));
    let headings = ["requests", "answered", "mean ms", "p50 ms", "p95 ms", "p99 ms"];
    let [name, columns @ ..] = headings;
    line(format_args!("{name:<NAME_COLUMNS$}{}", columns.map(|column| format!("{column:>11}")).concat()));
    for (route, Timer { count, mean, p50, p95, p99 }) in &numbers.timers {
        let times = [mean, p50, p95, p99].map(|seconds| format!("{:>11.2}", seconds * 1e3)).concat();
        line(format_args!("{route:<NAME_COLUMNS$}{count:>11}{times}"));
    }
    for (heading, values) in [
        ("since the start", numbers.counters.iter().map(|(name, value)| (name.as_str(), value)).collect::<Vec<_>>()),
        ("now", numbers.gauges.iter().map(|(name, value)| (name.as_ref(), value)).collect()),
    ] {
        line(format_args!("\n{heading}"));
        for (name, value) in values {
            line(format_args!("{name:<NAME_COLUMNS$}{:>11}", shown(name, value)));
        }
    }
    page
}

/// A value with its unit, which the end of its name says.
fn shown(name: &str, value: &Number) -> String {
    let number = value.as_f64().unwrap_or_default();
    // Of threads, the name follows.
    let unit = name.split('.').next().unwrap_or_default();
    if unit.ends_with("_bytes") {
        format!("{:.1} MiB", number / 1_048_576.0)
    } else if unit.ends_with("_seconds") {
        format!("{number:.3} s")
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn a_person_reads_names_values_and_units() {
        let timer = Timer { count: 3, mean: 0.002, p50: 0.001_5, p95: 0.003, p99: 0.1 };
        let numbers = Numbers {
            counters: [("payment_create.201".to_owned(), 3.into())].into(),
            gauges: [
                (Cow::Borrowed("ledger_bytes"), 3_145_728.into()),
                (Cow::Borrowed("staleness_seconds"), Number::from_f64(0.25).expect("finite")),
            ]
            .into(),
            node_id: Cow::Owned(crate::http::samples::node("node1")),
            timers: [(Cow::Borrowed("payment_create"), timer)].into(),
        };
        let page = page(&numbers, "leader of epoch 3");
        for line in [
            "node1: leader of epoch 3",
            "requests                               answered    mean ms     p50 ms     p95 ms     p99 ms",
            "payment_create                                3       2.00       1.50       3.00     100.00",
            "payment_create.201                            3",
            "ledger_bytes                            3.0 MiB",
            "staleness_seconds                       0.250 s",
        ] {
            assert!(page.lines().any(|shown| shown == line), "{line} in\n{page}");
        }
    }
}
