//! What an operation costs each node: processor time, bytes to the disk, memory.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::nodes::{NodeReadings, Observation, Reading};

/// Bytes of a megabyte.
const MEGABYTE: f64 = 1e6;

/// The nodes' share of a run.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Usage {
    nodes: Vec<NodeUsage>,
    /// Processor time of the generator itself for each operation.
    generator_cpu_us: Option<f64>,
    /// Why no node is known.
    problem: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct NodeUsage {
    node_id: String,
    url: Option<String>,
    /// Whether it led at the end.
    leads: bool,
    /// Null if it could not be asked, was restarted, or if nothing succeeded.
    per_operation: Option<PerOperation>,
    resident_bytes: Option<StartEndPeak>,
    views_lag_entries: Option<StartEndPeak>,
    problem: Option<String>,
}

/// Of one node, for each operation of the run that succeeded. Whatever else the node did meanwhile is included.
#[derive(Debug, PartialEq, Serialize)]
struct PerOperation {
    cpu_us: f64,
    disk_written_bytes: f64,
    /// By the names of its threads, as far as the system counts them: in steps of 10 ms.
    cpu_us_by_thread: BTreeMap<String, f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct StartEndPeak {
    start: u64,
    end: u64,
    /// Of the readings that were taken every second.
    peak: u64,
}

impl Usage {
    /// Of a run in which this many operations succeeded.
    pub(super) fn new(observation: &Observation, succeeded: u64) -> Self {
        let cpu_us = observation.own_cpu.as_secs_f64() * 1e6 / succeeded as f64;
        Self {
            nodes: observation.nodes.iter().map(|node| NodeUsage::new(node, succeeded)).collect(),
            generator_cpu_us: (succeeded > 0).then_some(cpu_us),
            problem: observation.problem.clone(),
        }
    }

    /// Adds the lines of the report.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, operations: &str) -> fmt::Result {
        if let Some(problem) = &self.problem {
            return write!(f, "\nnodes       could not be asked: {problem}");
        }
        let operation = operations.trim_end_matches('s');
        write!(
            f,
            "\nnodes       per {operation:<15} cpu µs  disk bytes   memory MB start/end/peak   views behind end/peak"
        )?;
        for node in &self.nodes {
            let name = format!("{}{}", node.node_id, if node.leads { " (leader)" } else { "" });
            write!(f, "\n  {name:<26}")?;
            match &node.per_operation {
                Some(per) => write!(f, "{:>9.1} {:>11.0}", per.cpu_us, per.disk_written_bytes)?,
                None => write!(f, "{:>9} {:>11}", "-", "-")?,
            }
            if let (Some(memory), Some(lag)) = (node.resident_bytes, node.views_lag_entries) {
                let [start, end, peak] = [memory.start, memory.end, memory.peak].map(|bytes| bytes as f64 / MEGABYTE);
                write!(
                    f,
                    "{:>27} {:>23}",
                    format!("{start:.0}/{end:.0}/{peak:.0}"),
                    format!("{}/{}", lag.end, lag.peak)
                )?;
            }
            if let Some(problem) = &node.problem {
                write!(f, "   {problem}")?;
            }
        }
        if let Some(cpu_us) = self.generator_cpu_us {
            write!(f, "\n  {:<26}{cpu_us:>9.1}", "generator")?;
        }
        self.write_threads(f)
    }

    fn write_threads(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let Some(per) = &node.per_operation else { continue };
            let mut threads: Vec<_> = per.cpu_us_by_thread.iter().filter(|(_, cpu_us)| **cpu_us >= 0.05).collect();
            threads.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            let threads: Vec<_> = threads.into_iter().map(|(name, cpu_us)| format!("{name} {cpu_us:.1}")).collect();
            write!(f, "\n  {} by thread: {}", node.node_id, threads.join(", "))?;
        }
        Ok(())
    }
}

impl NodeUsage {
    fn new(node: &NodeReadings, succeeded: u64) -> Self {
        let span = node.span.as_ref();
        let usable = succeeded > 0 && node.problem.is_none();
        let of = |peak: u64, figure: fn(&Reading) -> u64| {
            span.map(|(first, last)| StartEndPeak { start: figure(first), end: figure(last), peak })
        };
        Self {
            node_id: node.node_id.clone(),
            url: node.url.clone(),
            leads: node.leads,
            per_operation: span.filter(|_| usable).map(|(first, last)| PerOperation::new(first, last, succeeded)),
            resident_bytes: of(node.peak_resident_bytes, |reading| reading.resident_bytes),
            views_lag_entries: of(node.peak_views_lag, |reading| reading.views_lag),
            problem: node.problem.clone(),
        }
    }
}

impl PerOperation {
    fn new(first: &Reading, last: &Reading, succeeded: u64) -> Self {
        let each = |total: f64| total / succeeded as f64;
        let threads = last.threads.iter().map(|(name, cpu)| {
            let before = first.threads.get(name).copied().unwrap_or_default();
            (name.clone(), each(cpu.saturating_sub(before).as_secs_f64() * 1e6))
        });
        Self {
            cpu_us: each(last.cpu.saturating_sub(first.cpu).as_secs_f64() * 1e6),
            disk_written_bytes: each(last.written_bytes.saturating_sub(first.written_bytes) as f64),
            cpu_us_by_thread: threads.collect(),
        }
    }
}
