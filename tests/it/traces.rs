//! Traces: a collector of OpenTelemetry gets one trace of a payment, with spans of every node that worked on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::support::cluster::{Cluster, Options, wait_until};
use crate::support::http::{Request, Response};

const PAYMENT: &str = r#"{"from": "external:card", "to": "shop", "amount": 5, "currency": "EUR"}"#;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

/// A span as the collector got it.
#[derive(Clone, Debug)]
struct Received {
    node: String,
    span: Value,
}

impl Received {
    fn text(&self, name: &str) -> &str {
        self.span[name].as_str().unwrap_or_default()
    }

    fn time(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap()
    }
}

/// A collector: takes OTLP in JSON over HTTP and remembers every span.
struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Received>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, spans) = (listener.local_addr().unwrap().port(), Arc::default());
        let shared = Arc::clone(&spans);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let spans = Arc::clone(&shared);
                thread::spawn(move || serve(stream.unwrap(), &spans));
            }
        });
        Self { port, spans }
    }

    /// The spans of a trace.
    fn trace(&self, id: &str) -> Vec<Received> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|received| received.text("traceId") == id).cloned().collect()
    }

    fn traces(&self) -> BTreeSet<String> {
        self.spans.lock().unwrap().iter().map(|received| received.text("traceId").to_owned()).collect()
    }
}

/// Answers requests of one connection until it ends.
fn serve(stream: TcpStream, spans: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or_default() == 0 {
                return;
            }
        }
        let lower = head.to_ascii_lowercase();
        assert!(head.starts_with("POST /v1/traces ") && lower.contains("content-type: application/json"), "{head}");
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        spans.lock().unwrap().extend(spans_in(&serde_json::from_slice(&body).unwrap()));
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
    }
}

fn spans_in(body: &Value) -> Vec<Received> {
    let resources = body["resourceSpans"].as_array().unwrap().iter();
    let of_resource = |resource: &Value| {
        let attributes = resource["resource"]["attributes"].as_array().unwrap();
        let instance = attributes.iter().find(|attribute| attribute["key"] == "service.instance.id").unwrap();
        let node = instance["value"]["stringValue"].as_str().unwrap().to_owned();
        let scopes = resource["scopeSpans"].as_array().unwrap().iter();
        let spans = scopes.flat_map(|scope| scope["spans"].as_array().unwrap()).cloned();
        spans.map(|span| Received { node: node.clone(), span }).collect::<Vec<_>>()
    };
    resources.flat_map(of_resource).collect()
}

fn pay(cluster: &Cluster, node: usize, key: &str, flags: &str) -> Response {
    let traceparent = format!("00-{TRACE}-{CALLERS_SPAN}-{flags}");
    let request = Request::post("/v1/payments").key(key).json(PAYMENT).header("X-Request-Id", key);
    cluster.nodes[node].send(&request.header("traceparent", traceparent))
}

#[test]
fn a_payment_through_a_follower_is_one_trace_with_spans_of_every_node() {
    let collector = Collector::start();
    let settings = format!("trace_endpoint = \"http://127.0.0.1:{}/v1/traces\"", collector.port);
    let cluster = Cluster::start_with(3, &Options { settings, ..Options::default() });
    let (leader, follower) = (cluster.leader(), cluster.followers()[0]);
    // The caller keeps no part of this one, and no other reason to trace it is set.
    pay(&cluster, follower, "not traced", "00").expect(201);
    let index = {
        let answer = pay(&cluster, follower, "traced", "01");
        answer.expect(201);
        answer.number("Quorapay-Index")
    };
    wait_until("the trace has spans of the leader", || {
        collector.trace(TRACE).iter().any(|received| received.node == cluster.nodes[leader].id)
    });
    let spans = collector.trace(TRACE);
    let (leader, follower) = (&cluster.nodes[leader].id, &cluster.nodes[follower].id);
    let by_place: BTreeMap<(&str, &str), &Received> =
        spans.iter().map(|received| ((received.node.as_str(), received.text("name")), received)).collect();
    assert_eq!(by_place.len(), spans.len(), "each step once: {spans:?}");
    let find = |node: &str, name: &str| {
        *by_place.get(&(node, name)).unwrap_or_else(|| panic!("no {name} of {node} in {spans:?}"))
    };
    let root = find(follower, "payment_create");
    assert_eq!(root.text("parentSpanId"), CALLERS_SPAN);
    let attributes = root.span["attributes"].to_string();
    assert!(attributes.contains("\"traced\"") && attributes.contains(&format!("\"{index}\"")), "{attributes}");
    let forward = find(follower, &format!("forward to {leader}"));
    let send = find(leader, &format!("send to {follower}"));
    let receive = find(follower, "receive");
    for (child, parent) in [
        (find(follower, "parse"), root),
        (forward, root),
        (find(leader, "decide"), forward),
        (find(leader, "persist"), forward),
        (find(leader, "commit"), forward),
        (send, forward),
        (receive, send),
        (find(follower, "persist"), receive),
    ] {
        assert_eq!(child.text("parentSpanId"), parent.text("spanId"), "{child:?} in {parent:?}");
    }
    for received in &spans {
        assert!(received.time("startTimeUnixNano") <= received.time("endTimeUnixNano"), "{received:?}");
    }
    assert_eq!(collector.traces(), BTreeSet::from([TRACE.to_owned()]));
    let roots = spans.iter().filter(|received| received.text("name") == "payment_create").count();
    assert_eq!(roots, 1, "the other payment is not traced");
}
