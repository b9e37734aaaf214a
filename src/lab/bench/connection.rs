//! One kept-alive connection of one caller, and the template of its requests, which differ in key and receiver only.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use super::plan::{BatchForm, BatchPlan, Plan};
use crate::random::mix;
use quorapay_api::headers;

/// How much of a body is kept: more than any answer to a single payment, and more than a batch's answer has before its
/// results. The rest is read and discarded.
const MAX_KEPT_BODY_BYTES: usize = 64 * 1024;

/// Digits of a key's number: enough for any `u64`, so that all requests have the same length.
const NUMBER_DIGITS: usize = 20;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(headers::IDEMPOTENCY_KEY.lower);
static DEADLINE_MS: HeaderName = HeaderName::from_static(headers::DEADLINE_MS.lower);

/// A node to send to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: SocketAddr,
    uri: Uri,
    headers: HeaderMap,
}

impl Target {
    /// Resolves the host of a base URL.
    ///
    /// # Errors
    /// One line that says what is wrong with the URL.
    pub(super) fn resolve(base: &str, plan: &Plan) -> Result<Self, String> {
        let url = Url::parse(base).map_err(|error| format!("{base:?} is no URL: {error}"))?;
        let host = url.host_str().filter(|_| url.scheme() == "http");
        let host = host.ok_or_else(|| format!("{base:?} does not look like http://HOST:PORT"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let addresses = url.socket_addrs(|| None).map_err(|error| format!("{base}: {error}"))?;
        let address = *addresses.first().ok_or_else(|| format!("{base}: the host has no address"))?;
        let (call, media_type) = match plan.batch.map(|batch| batch.form) {
            None => ("payments", "application/json"),
            Some(BatchForm::Json) => ("payments/batch", "application/json"),
            Some(BatchForm::Ndjson) => ("payments/batch", "application/x-ndjson"),
        };
        let path = format!("{}/v1/{call}", url.path().trim_end_matches('/'));
        let uri = path.parse().map_err(|error| format!("{base:?}: {error}"))?;
        let mut headers = HeaderMap::with_capacity(4);
        let host = HeaderValue::from_str(&format!("{host}:{port}")).map_err(|error| format!("{base:?}: {error}"))?;
        headers.insert(HOST, host);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        let deadline_ms = u64::try_from(plan.attempt_timeout().as_millis()).unwrap_or(u64::MAX);
        headers.insert(&DEADLINE_MS, HeaderValue::from(deadline_ms));
        Ok(Self { address, uri, headers })
    }
}

/// The bytes of a request. From one request to the next only digits change.
#[derive(Clone, Debug)]
pub(super) struct Template {
    key: Vec<u8>,
    body: Vec<u8>,
    /// Offset of the first payment in the body.
    first_at: usize,
    /// Distance between two payments.
    stride: usize,
    payments: usize,
    /// Offset of the number of its key within a payment, if payments have keys.
    number_at: Option<usize>,
    /// Offset of the receiver's number within a payment.
    receiver_at: usize,
    receiver_digits: usize,
    accounts: u64,
}

impl Template {
    pub(super) fn new(plan: &Plan) -> Self {
        let receiver_digits = plan.accounts.saturating_sub(1).to_string().len();
        let zeros = "0".repeat(NUMBER_DIGITS);
        let mut payment = "{".to_owned();
        let number_at = plan.batch.is_some_and(|batch| batch.item_keys).then(|| {
            payment.push_str(&format!(r#""idempotency_key":"{}-p"#, plan.run_id));
            let at = payment.len();
            payment.push_str(&format!(r#"{zeros}","#));
            at
        });
        payment.push_str(r#""from":"external:bench","to":"bench:shop-"#);
        let receiver_at = payment.len();
        let (amount, currency, receiver) = (plan.amount, plan.currency, "0".repeat(receiver_digits));
        payment.push_str(&format!(r#"{receiver}","amount":{amount},"currency":"{currency}"}}"#));
        let (body, first_at, stride, payments) = Self::body(&payment, plan.batch);
        Self {
            key: format!("{}-{zeros}", plan.run_id).into_bytes(),
            body: body.into_bytes(),
            first_at,
            stride,
            payments,
            number_at,
            receiver_at,
            receiver_digits,
            accounts: u64::from(plan.accounts),
        }
    }

    /// The body, the offset of its first payment, the distance between two, and their number.
    fn body(payment: &str, batch: Option<BatchPlan>) -> (String, usize, usize, usize) {
        let Some(batch) = batch else { return (payment.to_owned(), 0, 0, 1) };
        let payments = usize::try_from(batch.size).expect("a usize holds 32 bits here");
        let (stride, all) = (payment.len() + 1, vec![payment; payments]);
        match batch.form {
            BatchForm::Ndjson => (all.join("\n"), 0, stride, payments),
            BatchForm::Json => (format!("[{}]", all.join(",")), 1, stride, payments),
        }
    }

    /// Builds a request. The same number gives the same request, so that a retry has the same key and content.
    pub(super) fn request(&mut self, target: &Target, number: u64) -> Request<Full<Bytes>> {
        let number_at = self.key.len() - NUMBER_DIGITS;
        write_digits(&mut self.key[number_at..], number);
        let first = number * u64::try_from(self.payments).expect("a usize fits into 64 bits");
        for (payment_number, payment) in (first..).zip(0..self.payments) {
            let at = self.first_at + payment * self.stride;
            if let Some(number_at) = self.number_at {
                write_digits(&mut self.body[at + number_at..at + number_at + NUMBER_DIGITS], payment_number);
            }
            // Spread evenly and without a pattern that caches could profit from.
            let receiver = mix(payment_number) % self.accounts;
            let receiver_at = at + self.receiver_at;
            write_digits(&mut self.body[receiver_at..receiver_at + self.receiver_digits], receiver);
        }
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(&self.body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&target.headers);
        let key = HeaderValue::from_bytes(&self.key).expect("a UUID, a dash and digits");
        headers.insert(&IDEMPOTENCY_KEY, key);
        request
    }
}

fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a decimal digit");
        number /= 10;
    }
}

/// An answer whose body was read to its end.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    /// The body, if it was asked for or if the answer is not a success.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExchangeError {
    /// The request was not sent.
    NotSent,
    /// It was sent at least in part.
    Lost,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Option<Self> {
        let stream = TcpStream::connect(target.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // The task ends with the sender or the peer. An error shows as an answer that does not come.
        tokio::spawn(connection);
        Some(Self { sender })
    }

    /// Whether another request may be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        keep: bool,
    ) -> Result<HttpAnswer, ExchangeError> {
        if self.sender.ready().await.is_err() {
            return Err(ExchangeError::NotSent);
        }
        match self.sender.send_request(request).await {
            Ok(response) => {
                let status = response.status();
                let body = read(response.into_body(), keep || !status.is_success()).await?;
                Ok(HttpAnswer { status, body })
            }
            Err(error) if error.is_canceled() => Err(ExchangeError::NotSent),
            Err(_) => Err(ExchangeError::Lost),
        }
    }
}

async fn read(mut body: Incoming, keep: bool) -> Result<Vec<u8>, ExchangeError> {
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ExchangeError::Lost)?;
        if let Some(data) = frame.data_ref().filter(|_| keep) {
            let room = MAX_KEPT_BODY_BYTES - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(kept)
}
