//! A small HTTP server for tests, whose answers the test decides.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The `Idempotency-Key` header.
    pub key: Option<String>,
    /// The body as JSON; null if it is empty or has several lines.
    pub body: Value,
    /// The body's lines, if it has several: newline-delimited JSON.
    pub lines: Vec<Value>,
    /// How many requests came before it.
    pub number: usize,
}

impl Received {
    /// The payments of a batch of lines, each as a request of its own.
    pub fn payments(&self) -> Vec<Self> {
        self.lines.iter().map(|line| Self { body: line.clone(), ..self.clone() }).collect()
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with this status and this body.
    Answer(u16, Value),
    /// Answers only after this long.
    Late(Duration, u16, Value),
    /// Answers 200 with this text and this `Content-Length`, and closes the connection.
    Text(String, usize),
    /// Closes the connection.
    Drop,
    /// Keeps the connection open and never answers.
    Hang,
}

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

/// A server on a port and a thread of its own; it ends when it is dropped.
pub struct FakeNode {
    /// Its base URL.
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    runtime: Option<Runtime>,
}

impl FakeNode {
    /// Starts a server on a free port that answers as `handler` says.
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let std_listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std_listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", std_listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, handler): (_, Arc<Handler>) = (Arc::clone(&received), Arc::new(handler));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(std_listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&handler)));
            }
        });
        Self { url, received, runtime: Some(runtime) }
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// A base URL at which nothing listens.
pub fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// The payment that a node would answer the request with.
pub fn payment_for(request: &Received) -> Value {
    let field = |name: &str| request.body.get(name).cloned().unwrap_or(Value::Null);
    json!({
        "id": "0198c1f0-7c1e-7000-8000-00000000002a", "status": "succeeded", "from": field("from"), "to": field("to"),
        "amount": field("amount"), "currency": field("currency"), "created_at": "2026-01-01T00:00:00Z",
        "index": request.number + 1, "epoch": 3, "balances": {"from": -100, "to": 100},
    })
}

/// A problem document.
pub fn problem(status: u16, code: &str, retryable: bool, outcome: &str) -> Value {
    json!({
        "type": "about:blank", "title": code, "status": status, "detail": "as told", "code": code,
        "retryable": retryable, "outcome": outcome,
    })
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Received>>>, handler: Arc<Handler>) {
    let mut buffer = Vec::new();
    while let Some(mut request) = read_request(&mut stream, &mut buffer).await {
        {
            let mut log = log.lock().unwrap();
            request.number = log.len();
            log.push(request.clone());
        }
        let (status, body) = match handler(&request) {
            Reply::Answer(status, body) => (status, body),
            Reply::Late(time, status, body) => {
                tokio::time::sleep(time).await;
                (status, body)
            }
            Reply::Text(text, length) => {
                let head = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n");
                let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
                return;
            }
            Reply::Drop => return,
            Reply::Hang => std::future::pending().await,
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let body_length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < head_end + body_length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let text = &buffer[head_end..head_end + body_length];
    let body = serde_json::from_slice(text).unwrap_or(Value::Null);
    let lines = serde_json::Deserializer::from_slice(text).into_iter().map_while(Result::ok).collect();
    let mut first_line = head.split(' ').map(str::to_owned);
    let (method, path) = (first_line.next().unwrap(), first_line.next().unwrap());
    buffer.drain(..head_end + body_length);
    Some(Received { method, path, key: header("idempotency-key"), body, lines, number: 0 })
}
