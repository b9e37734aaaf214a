//! Spans as OTLP in JSON: the body of `POST /v1/traces` of a collector.

use serde_json::{Value, json};

use quorapay_core::replication::NodeId;

use super::spans::{Span, SpanKind};

/// The numbers of OTLP.
const fn kind_number(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    }
}
const STATUS_ERROR: u8 = 2;

/// The body. The spans of each node have a resource of their own.
pub(super) fn body(cluster_id: &str, spans: &[Span]) -> Vec<u8> {
    let mut nodes: Vec<&NodeId> = spans.iter().map(|span| &span.node).collect();
    nodes.sort();
    nodes.dedup();
    let resource_spans: Vec<Value> = nodes.into_iter().map(|node| resource_spans(cluster_id, node, spans)).collect();
    serde_json::to_vec(&json!({ "resourceSpans": resource_spans })).expect("values are JSON")
}

fn resource_spans(cluster_id: &str, node: &NodeId, spans: &[Span]) -> Value {
    let of_node: Vec<Value> = spans.iter().filter(|span| span.node == *node).map(span_value).collect();
    json!({
        "resource": { "attributes": [
            attribute("service.name", "quorapay"),
            attribute("service.namespace", cluster_id),
            attribute("service.instance.id", node.as_str()),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ] },
        "scopeSpans": [{ "scope": { "name": "quorapay" }, "spans": of_node }],
    })
}

fn span_value(span: &Span) -> Value {
    let mut value = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.span_id),
        "name": span.name,
        "kind": kind_number(span.kind),
        // In JSON, 64-bit numbers are texts.
        "startTimeUnixNano": format!("{}000", span.began_us),
        "endTimeUnixNano": format!("{}000", span.ended_us),
        "attributes": span.attributes.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
    });
    if span.parent_id != 0 {
        value["parentSpanId"] = format!("{:016x}", span.parent_id).into();
    }
    if span.failed {
        value["status"] = json!({ "code": STATUS_ERROR });
    }
    value
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_the_protocol_says() {
        let span = Span {
            node: NodeId::parse("node1").expect("valid"),
            trace_id: 0xab,
            span_id: 0xcd,
            parent_id: 0,
            name: "persist".to_owned(),
            kind: SpanKind::Internal,
            began_us: 1_700_000_000_000_001,
            ended_us: 1_700_000_000_000_002,
            attributes: vec![("quorapay.index", "7".to_owned())],
            failed: true,
        };
        let body: Value = serde_json::from_slice(&body("bank", &[span])).expect("JSON");
        let resource = &body["resourceSpans"][0]["resource"]["attributes"];
        assert_eq!(resource[2], json!({"key": "service.instance.id", "value": {"stringValue": "node1"}}));
        assert_eq!(
            body["resourceSpans"][0]["scopeSpans"][0]["spans"][0],
            json!({
                "traceId": "000000000000000000000000000000ab", "spanId": "00000000000000cd", "name": "persist", "kind": 1,
                "startTimeUnixNano": "1700000000000001000", "endTimeUnixNano": "1700000000000002000",
                "attributes": [{"key": "quorapay.index", "value": {"stringValue": "7"}}], "status": {"code": 2},
            })
        );
    }
}
