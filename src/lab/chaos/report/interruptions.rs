//! For how long each node committed no payment while a fault lasted, by the form of the fault.

use serde::Serialize;

use super::measure::{Measurements, millis};
use crate::chaos::cluster::node_id;
use crate::chaos::fault_record::FaultRecord;
use crate::history::Micros;

/// The interruptions of all faults of one form.
///
/// The interruption of a fault is the longest time that passed, at the node where it was longest, without a payment that
/// this node answered as committed. It ends with the fault at the latest: what only healing repairs counts as lasting as
/// long as the fault. A node that is cut off counts for itself: nobody can serve its clients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interruptions {
    /// The form of the faults.
    pub form: &'static str,
    /// How many there were.
    pub faults: u64,
    /// The shortest, in milliseconds.
    pub min_ms: f64,
    /// The median.
    pub median_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The fault with the longest, and the node.
    pub longest_at: String,
    /// The longest at the nodes that were cut off, in milliseconds, if any was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_off_max_ms: Option<f64>,
}

impl Measurements {
    /// One row per form, in the order of their names.
    pub(super) fn interruptions(&self, faults: &[FaultRecord]) -> Vec<Interruptions> {
        let mut forms: Vec<&'static str> = faults.iter().filter_map(|fault| fault.form).collect();
        forms.sort_unstable();
        forms.dedup();
        forms.into_iter().filter_map(|form| self.interruptions_of(form, faults)).collect()
    }

    fn interruptions_of(&self, form: &'static str, faults: &[FaultRecord]) -> Option<Interruptions> {
        let of_form = faults.iter().filter(|fault| fault.form == Some(form));
        let at_node = |fault: &FaultRecord, node| millis(self.longest_gap_at(node, fault.began, fault.healed));
        // The nodes stand here in the order in which they first answered.
        let place = |number| self.nodes.iter().position(|node| *node == node_id(number));
        let cut_off = of_form.clone().filter_map(|fault| Some(at_node(fault, place(fault.cut_off?)?)));
        let cut_off_max_ms = cut_off.reduce(f64::max);
        let mut all: Vec<(f64, String)> = of_form
            .flat_map(|fault| {
                let nodes = (0..self.nodes.len()).filter(|node| fault.cut_off.and_then(place) != Some(*node));
                let longest = nodes.map(|node| (at_node(fault, node), node));
                let longest = longest.max_by(|one, other| one.0.total_cmp(&other.0));
                longest.map(|(ms, node)| (ms, format!("fault {} at {}", fault.number, self.nodes[node])))
            })
            .collect();
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (max_ms, longest_at) = all.last().cloned()?;
        Some(Interruptions {
            form,
            faults: u64::try_from(all.len()).unwrap_or(u64::MAX),
            min_ms: all[0].0,
            median_ms: all[all.len() / 2].0,
            max_ms,
            longest_at,
            cut_off_max_ms,
        })
    }

    fn longest_gap_at(&self, node: usize, from: Micros, to: Micros) -> std::time::Duration {
        let ends = self.paid.iter().filter(|paid| paid.node == node).map(|paid| paid.ended);
        let ends = ends.skip_while(|ended| *ended < from).take_while(|ended| *ended < to).chain([to]);
        let mut previous = from;
        let gaps = ends.map(|ended| {
            let gap = ended.since(previous);
            previous = ended;
            gap
        });
        gaps.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::FaultKind;
    use crate::chaos::report::measure::CommittedPayment;

    fn fault(number: u64, form: Option<&'static str>, began: u64, healed: u64) -> FaultRecord {
        let [began, healed] = [began, healed].map(Micros);
        let target = "node1 to node2".to_owned();
        let (kind, cut_off) = (FaultKind::PartitionLink, None);
        FaultRecord { number, kind, target, form, cut_off, began, healed, recovered: healed }
    }

    #[test]
    fn the_node_that_waits_longest_counts_and_healing_ends_what_the_fault_lasted() {
        let paid = |ended, node| CommittedPayment { intended: Micros(0), ended: Micros(ended), node };
        let paid = vec![paid(900, 0), paid(1_500, 0), paid(1_700, 1), paid(4_000, 0), paid(5_200, 1), paid(9_000, 1)];
        let nodes = vec!["node1".to_owned(), "node2".to_owned()];
        let measurements = Measurements { paid, nodes, failed: Vec::new() };
        let faults = [fault(1, Some("a"), 1_000, 2_000), fault(2, Some("a"), 5_000, 8_000), fault(3, None, 0, 9_000)];
        let rows = measurements.interruptions(&faults);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].faults, rows[0].min_ms, rows[0].max_ms), (2, 0.7, 3.0));
        assert_eq!((rows[0].longest_at.as_str(), rows[0].cut_off_max_ms), ("fault 2 at node1", None));
    }

    #[test]
    fn a_node_that_is_cut_off_counts_for_itself() {
        let paid = |ended, node| CommittedPayment { intended: Micros(0), ended: Micros(ended), node };
        let nodes = vec!["node2".to_owned(), "node1".to_owned()];
        let measurements = Measurements { paid: vec![paid(1_400, 0)], nodes, failed: Vec::new() };
        let fault = FaultRecord { cut_off: Some(0), ..fault(1, Some("a"), 1_000, 2_000) };
        let rows = measurements.interruptions(&[fault]);
        assert_eq!((rows[0].max_ms, rows[0].longest_at.as_str()), (0.6, "fault 1 at node2"));
        assert_eq!(rows[0].cut_off_max_ms, Some(1.0));
    }
}
