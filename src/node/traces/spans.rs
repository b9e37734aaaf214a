//! A trace, made of the times of a request at the node that answered it and of what all nodes noted of its entry.

use tokio::time::Instant;

use quorapay_core::domain::LogIndex;
use quorapay_core::replication::NodeId;

use super::context::TraceContext;
use super::timeline::{Noted, Step, unix_us};

/// When a traced write was where at the node that answered it.
#[derive(Clone, Debug)]
pub struct RequestTimes {
    /// The caller's trace, or one of this request alone.
    pub context: Option<TraceContext>,
    /// What the request asked for, as metrics name it.
    pub route: &'static str,
    /// What the logs name it by.
    pub request_id: String,
    /// The status of the answer.
    pub status: u16,
    /// Its head had arrived.
    pub began: Instant,
    /// It was parsed.
    pub parsed: Instant,
    /// Its outcome was known.
    pub decided: Instant,
    /// Its answer was made.
    pub answered: Instant,
    /// The leader and the entry of a write that is committed.
    pub entry: Option<(NodeId, LogIndex)>,
}

/// What one node noted of an entry.
pub type NodeStretches = (NodeId, Vec<Noted>);

/// Whose work a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A node's own.
    Internal,
    /// For a caller over the network.
    Server,
    /// Of another node, for which this one waited.
    Client,
}

/// A part of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The node whose span it is.
    pub node: NodeId,
    /// The trace.
    pub trace_id: u128,
    /// This span.
    pub span_id: u64,
    /// The span that it is a part of; 0 for none.
    pub parent_id: u64,
    /// What was done.
    pub name: String,
    /// Whose work it was.
    pub kind: SpanKind,
    /// Since the Unix epoch, in microseconds.
    pub began_us: u64,
    /// Since the Unix epoch, in microseconds.
    pub ended_us: u64,
    /// Names with values.
    pub attributes: Vec<(&'static str, String)>,
    /// Whether it failed.
    pub failed: bool,
}

/// The spans of a request at `me`. `fresh_ids` gives ids that no other trace has; `unix_ms` is what the wall clock shows now.
pub fn spans_of(
    me: &NodeId,
    times: &RequestTimes,
    noted: &[NodeStretches],
    mut fresh_ids: impl FnMut() -> u128,
    unix_ms: u64,
) -> Vec<Span> {
    let now = Instant::now();
    let at = |moment| unix_us(moment, now, unix_ms);
    let trace_id = times.context.map_or_else(&mut fresh_ids, |context| context.trace_id);
    let mut ids = SpanIds(first_span_id(fresh_ids()));
    let mut trace = Trace { trace_id, ids: &mut ids, spans: Vec::new() };
    let parent = times.context.map_or(0, |context| context.parent_span_id);
    let whole = trace.add(me, parent, times.route.to_owned(), SpanKind::Server, (at(times.began), at(times.answered)));
    let root = trace.spans.last_mut().expect("just added");
    root.failed = times.status >= 500;
    root.attributes = vec![
        ("http.response.status_code", times.status.to_string()),
        ("quorapay.request_id", times.request_id.clone()),
    ];
    root.attributes.extend(times.entry.as_ref().map(|(_, index)| ("quorapay.index", index.to_string())));
    trace.add(me, whole, "parse".to_owned(), SpanKind::Internal, (at(times.began), at(times.parsed)));
    let leader = times.entry.as_ref().map(|(leader, _)| leader);
    let steps_parent = match leader {
        Some(leader) if leader != me => {
            let name = format!("forward to {leader}");
            trace.add(me, whole, name, SpanKind::Client, (at(times.parsed), at(times.decided)))
        }
        _ => {
            let mut own = noted.iter().filter(|(node, _)| node == me).flat_map(|(_, noted)| noted);
            let turn = own.find(|noted| noted.step == Step::Decide).map(|noted| noted.began_us);
            let queued_us = turn.unwrap_or_else(|| at(times.decided));
            trace.add(me, whole, "queue".to_owned(), SpanKind::Internal, (at(times.parsed), queued_us));
            whole
        }
    };
    // The leader's first: those of followers belong to its.
    let of_leader = noted.iter().filter(|(node, _)| Some(node) == leader);
    let of_others = noted.iter().filter(|(node, _)| Some(node) != leader);
    for (node, noted) in of_leader.chain(of_others) {
        trace.add_noted(node, noted, steps_parent);
    }
    trace.spans
}

/// Ids of the spans of one trace.
struct SpanIds(u64);

fn first_span_id(fresh: u128) -> u64 {
    // The upper half: the lower one may be that of the trace.
    u64::try_from(fresh >> 64).expect("64 bits remain")
}

struct Trace<'a> {
    trace_id: u128,
    ids: &'a mut SpanIds,
    spans: Vec<Span>,
}

impl Trace<'_> {
    fn add(
        &mut self,
        node: &NodeId,
        parent_id: u64,
        name: String,
        kind: SpanKind,
        (began_us, ended_us): (u64, u64),
    ) -> u64 {
        // 0 is no id.
        self.ids.0 = self.ids.0.wrapping_add(1).max(1);
        let span_id = self.ids.0;
        self.spans.push(Span {
            node: node.clone(),
            trace_id: self.trace_id,
            span_id,
            parent_id,
            name,
            kind,
            began_us,
            ended_us: ended_us.max(began_us),
            attributes: Vec::new(),
            failed: false,
        });
        span_id
    }

    /// Adds what a node noted. What a follower received belongs to what the leader sent to it, and its write to that.
    fn add_noted(&mut self, node: &NodeId, noted: &[Noted], leaders_parent: u64) {
        let sent = format!("send to {node}");
        let mut parent = self.spans.iter().find(|span| span.name == sent).map_or(leaders_parent, |span| span.span_id);
        let mut noted: Vec<&Noted> = noted.iter().collect();
        noted.sort_by_key(|noted| (noted.began_us, noted.step != Step::Receive));
        for Noted { step, began_us, ended_us } in noted {
            let (name, kind) = match step {
                Step::Decide => ("decide".to_owned(), SpanKind::Internal),
                Step::Persist => ("persist".to_owned(), SpanKind::Internal),
                Step::Send(to) => (format!("send to {to}"), SpanKind::Client),
                Step::Receive => ("receive".to_owned(), SpanKind::Server),
                Step::Commit => ("commit".to_owned(), SpanKind::Internal),
            };
            let span = self.add(node, parent, name, kind, (*began_us, *ended_us));
            if *step == Step::Receive {
                parent = span;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).expect("valid")
    }

    fn noted(step: Step, began_us: u64, ended_us: u64) -> Noted {
        Noted { step, began_us, ended_us }
    }

    #[tokio::test(start_paused = true)]
    async fn a_payment_through_a_follower_is_one_trace_of_all_nodes() {
        let began = Instant::now();
        let times = RequestTimes {
            context: TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            route: "payment_create",
            request_id: "r".to_owned(),
            status: 201,
            began,
            parsed: began + Duration::from_millis(1),
            decided: began + Duration::from_millis(9),
            answered: began + Duration::from_millis(10),
            entry: Some((node("node1"), LogIndex(7))),
        };
        tokio::time::advance(Duration::from_millis(10)).await;
        let noted = [
            (node("node2"), vec![noted(Step::Persist, 4_000, 6_000), noted(Step::Receive, 4_000, 6_500)]),
            (
                node("node1"),
                vec![
                    noted(Step::Decide, 2_000, 3_000),
                    noted(Step::Persist, 3_000, 5_000),
                    noted(Step::Send(node("node2")), 3_000, 7_000),
                    noted(Step::Commit, 7_000, 8_000),
                ],
            ),
        ];
        let spans = spans_of(&node("node2"), &times, &noted, || 7 << 64, 10);
        let shown: Vec<String> = spans
            .iter()
            .map(|span| {
                let parent = spans.iter().find(|parent| parent.span_id == span.parent_id);
                let parent = parent.map_or_else(|| format!("{:x}", span.parent_id), |parent| parent.name.clone());
                format!("{} {} < {parent}: {} {}", span.node, span.name, span.began_us, span.ended_us)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "node2 payment_create < f067aa0ba902b7: 0 10000",
                "node2 parse < payment_create: 0 1000",
                "node2 forward to node1 < payment_create: 1000 9000",
                "node1 decide < forward to node1: 2000 3000",
                "node1 persist < forward to node1: 3000 5000",
                "node1 send to node2 < forward to node1: 3000 7000",
                "node1 commit < forward to node1: 7000 8000",
                "node2 receive < send to node2: 4000 6500",
                "node2 persist < receive: 4000 6000",
            ]
        );
        assert!(spans.iter().all(|span| span.trace_id == 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
    }
}
