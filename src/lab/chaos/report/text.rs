//! The report for people.

use std::fmt::Write;
use std::path::Path;

use super::results::Report;
use crate::check::Verdict;

/// The whole report. The verdict comes last, where it stays visible in a terminal.
pub(super) fn describe(report: &Report, folder: &Path) -> String {
    let mut text = String::new();
    write_head(&mut text, report).expect("writing to a string does not fail");
    write_availability(&mut text, report).expect("writing to a string does not fail");
    write_interruptions(&mut text, report).expect("writing to a string does not fail");
    write_verdict(&mut text, report, folder).expect("writing to a string does not fail");
    text
}

fn write_head(text: &mut String, report: &Report) -> std::fmt::Result {
    let Report { nodes, zookeepers, rate, seed, .. } = report;
    let seconds = report.duration().as_secs_f64();
    writeln!(text, "{nodes} nodes, {zookeepers} ZooKeeper servers, {rate} operations/s, {seconds:.0} s, seed {seed}")?;
    let counts = &report.check.counts;
    writeln!(
        text,
        "{} operations: {} writes done, {} refused by the bank, {} reads, {} not done, {} unknown, {} not sent in time",
        counts.operations, counts.writes, counts.rejected, counts.reads, counts.refused, counts.unknown, counts.late
    )?;
    writeln!(
        text,
        "of the unknown keys {} are in the ledger and {} are not",
        counts.unknown_applied, counts.unknown_not_applied
    )?;
    for skipped in &report.skipped {
        writeln!(text, "skipped {}: {} ({})", skipped.kind, skipped.reason, skipped.remedy)?;
    }
    report.notes.iter().try_for_each(|note| writeln!(text, "note: {note}"))
}

fn write_availability(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text, "\nduring               faults      paid   failed   longest gap       p50       p99       max")?;
    for row in &report.availability {
        writeln!(
            text,
            "{:<20} {:>6} {:>9} {:>8} {:>10.1} ms {:>6.1} ms {:>6.1} ms {:>6.1} ms",
            row.during, row.faults, row.paid, row.failed, row.longest_gap_ms, row.p50_ms, row.p99_ms, row.max_ms
        )?;
    }
    writeln!(text, "(gap: time without a committed payment; latencies count from when a payment was meant to begin)")
}

fn write_interruptions(text: &mut String, report: &Report) -> std::fmt::Result {
    if report.interruptions.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\none direction fails                   faults        min     median        max    cut off   longest"
    )?;
    for row in &report.interruptions {
        let cut_off = row.cut_off_max_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        writeln!(
            text,
            "{:<36} {:>7} {:>7.0} ms {:>7.0} ms {:>7.0} ms {cut_off:>10}   {}",
            row.form, row.faults, row.min_ms, row.median_ms, row.max_ms, row.longest_at
        )?;
    }
    writeln!(
        text,
        "(longest time without a payment committed at the node where it was longest, while the fault lasted; cut off: at a \
         node with which no majority can exchange messages in both directions)"
    )
}

fn write_verdict(text: &mut String, report: &Report, folder: &Path) -> std::fmt::Result {
    writeln!(text)?;
    for violation in &report.check.violations {
        writeln!(text, "{violation}\n")?;
    }
    for finding in &report.findings {
        writeln!(text, "WRONG: {finding}")?;
    }
    writeln!(text, "report.json, history.jsonl, timeline.svg and the logs are in {}", folder.display())?;
    match report.verdict {
        Verdict::Kept => {
            writeln!(
                text,
                "{} entries in {} equal ledgers, every currency sums to zero",
                report.check.counts.entries,
                report.check.ledgers.len()
            )?;
            write!(text, "KEPT: no payment lost, none doubled, no stale read")
        }
        Verdict::Broken => {
            writeln!(text, "the ledgers are kept in {}", folder.join("evidence").display())?;
            writeln!(text, "repeat with: {}", report.command)?;
            let (broken, findings) = (report.check.total_broken(), report.findings.len());
            write!(text, "BROKEN: {broken} broken promises, {findings} other findings")
        }
    }
}
