//! The client itself and how it handles failures. The calls are in the other files.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use url::Url;

use super::access::Access;
use super::call::{AttemptResult, Call, judge, lost};
use super::error::ClientError;
use super::retry::Budget;
use super::tls::{Tls, TlsFiles};
use super::{KeyLookup, KeyState, Payment, PaymentStatus, Problem};
use quorapay_api::limits::MAX_DEADLINE_MS;
use quorapay_api::{Code, ProblemPayment, headers};
use quorapay_core::domain::{IdempotencyKey, Rejection};

/// A node on this or a nearby machine accepts a connection at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The part of the deadline that is reserved to look an open outcome up by its key, as a divisor.
const LOOKUP_DIVISOR: u32 = 5;

/// The HTTP status of a refusal for good.
const CONFLICT: u16 = 409;

/// A write that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// The answer.
    pub value: T,
    /// Whether it was committed by an earlier request under the same key.
    pub replayed: bool,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It is on a majority of disks.
    Committed(Done<T>),
    /// It definitely did not happen. The problem has the stable code and, if one field is the cause, its name.
    Refused(Box<Problem>),
    /// It may or may not have happened. To repeat it under the same key is safe and settles it; so does
    /// [`Client::payment_by_key`]. After [`Client::fence`] it cannot happen any more.
    Unknown {
        /// Its idempotency key.
        key: IdempotencyKey,
        /// Where its outcome can be looked up.
        by_key_url: Option<String>,
    },
}

impl<T> Outcome<T> {
    fn committed(value: T, replayed: bool) -> Self {
        Self::Committed(Done { value, replayed })
    }
}

/// Makes the outcome of a write from a look-up of its key; `None` if the write has to be repeated to learn it.
pub(super) type Recorded<T> = fn(&KeyLookup) -> Option<Outcome<T>>;

/// For writes whose answers are not in look-ups.
pub(super) fn not_in_look_ups<T>(_: &KeyLookup) -> Option<Outcome<T>> {
    None
}

/// The problem of a payment that a look-up by key found refused in the ledger.
fn problem_of_rejected(payment: Payment) -> Problem {
    let code = payment.rejection.clone().unwrap_or(PaymentStatus::Rejected.as_str().into());
    Problem {
        payment: Some(Box::new(ProblemPayment::Refused(payment))),
        ..Problem::without_detail(CONFLICT, "The bank refused the payment", code)
    }
}

/// The problem of a write whose key was fenced before it came.
fn problem_of_fenced() -> Problem {
    let code = Code::Bank(Rejection::IdempotencyKeyFenced).as_str();
    Problem::without_detail(CONFLICT, "The idempotency key was fenced", code.into())
}

/// For payments.
pub(super) fn recorded_payment(lookup: &KeyLookup) -> Option<Outcome<Payment>> {
    let payment = lookup.payment.clone().filter(|_| lookup.state == KeyState::Committed)?;
    Some(match payment.status {
        PaymentStatus::Rejected => Outcome::Refused(Box::new(problem_of_rejected(payment))),
        _ => Outcome::committed(payment, true),
    })
}

/// For fences.
pub(super) fn recorded_fence(lookup: &KeyLookup) -> Option<Outcome<KeyLookup>> {
    let settled = matches!(lookup.state, KeyState::Committed | KeyState::Fenced);
    settled.then(|| Outcome::committed(lookup.clone(), true))
}

/// A client of one cluster. Cheap to keep, meant to be shared.
#[derive(Debug)]
pub struct Client {
    pub(super) http: reqwest::Client,
    pub(super) urls: Vec<Url>,
    pub(super) deadline: Duration,
    /// The URL that answered last; where the next call begins.
    pub(super) preferred: AtomicUsize,
}

/// The result of a call after all its attempts.
pub(super) enum CallResult {
    Succeeded { body: Bytes, replayed: bool, url: Url },
    Refused(Box<Problem>),
    Open { by_key_url: Option<String>, last: String },
}

impl Client {
    /// Makes a client of the cluster whose nodes have these base URLs. `deadline` bounds every call as a whole. With
    /// `https://`, it trusts the authorities of the system.
    ///
    /// # Errors
    /// [`ClientError::Url`] for a base URL that cannot be used.
    pub fn new(urls: &[String], deadline: Duration) -> Result<Self, ClientError> {
        let tls = Tls::for_urls(urls, &TlsFiles::default())?;
        Self::with_access(urls, deadline, &Access { tls, api_key: None })
    }

    /// Like [`Self::new`], for a cluster that asks for an API key, whose certificates are of an authority of its own, or
    /// that demands one of its clients.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_access(urls: &[String], deadline: Duration, access: &Access) -> Result<Self, ClientError> {
        let urls = urls.iter().map(|url| base_url(url)).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Err(ClientError::Url { url: String::new(), reason: "at least one is needed".to_owned() });
        }
        let http = access.http().connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { http, urls, deadline, preferred: AtomicUsize::new(0) })
    }

    /// Sends a write and settles its outcome, if the time allows.
    pub(super) async fn decide<T: DeserializeOwned>(
        &self,
        key: &IdempotencyKey,
        call: &Call,
        recorded: Recorded<T>,
    ) -> Result<Outcome<T>, ClientError> {
        let lookup_time = self.deadline / LOOKUP_DIVISOR;
        let by_key_url = match self.run(call, self.deadline - lookup_time).await? {
            CallResult::Refused(problem) => return Ok(Outcome::Refused(problem)),
            CallResult::Succeeded { body, replayed, url } => match parse(&url, &body) {
                Ok(value) => return Ok(Outcome::committed(value, replayed)),
                // The write happened, but its answer cannot be read.
                Err(error) => {
                    tracing::warn!("{error}");
                    None
                }
            },
            CallResult::Open { by_key_url, .. } => by_key_url,
        };
        Ok(self.settle(key, call, recorded, Budget::new(lookup_time), by_key_url).await)
    }

    /// Looks the key up until the outcome is known or the time is over.
    async fn settle<T: DeserializeOwned>(
        &self,
        key: &IdempotencyKey,
        call: &Call,
        recorded: Recorded<T>,
        mut budget: Budget,
        by_key_url: Option<String>,
    ) -> Outcome<T> {
        let look_up = Call::read(&["v1", "payments", "by-key", key.as_str()], Vec::new());
        let by_key_url = by_key_url.unwrap_or_else(|| self.preferred_url(&look_up).to_string());
        while !budget.left().is_zero() {
            // A failed look-up leaves the outcome open, so its error is not the caller's.
            let Ok(lookup) = self.read::<KeyLookup>(&look_up, budget.left()).await else { break };
            if let Some(outcome) = recorded(&lookup) {
                return outcome;
            }
            match lookup.state {
                KeyState::Fenced => return Outcome::Refused(Box::new(problem_of_fenced())),
                // The key is used: the same request returns the recorded answer and changes nothing.
                KeyState::Committed => match self.run(call, budget.left()).await {
                    Ok(CallResult::Refused(problem)) => return Outcome::Refused(problem),
                    Ok(CallResult::Succeeded { body, url, .. }) => match parse(&url, &body) {
                        Ok(value) => return Outcome::committed(value, true),
                        Err(_) => break,
                    },
                    Ok(CallResult::Open { .. }) | Err(_) => {}
                },
                KeyState::InFlight | KeyState::Unknown => budget.pause().await,
            }
        }
        Outcome::Unknown { key: key.clone(), by_key_url: Some(by_key_url) }
    }

    pub(super) async fn read<T: DeserializeOwned>(&self, call: &Call, time: Duration) -> Result<T, ClientError> {
        match self.run(call, time).await? {
            CallResult::Succeeded { body, url, .. } => parse(&url, &body),
            CallResult::Refused(problem) => Err(ClientError::Refused(problem)),
            CallResult::Open { last, .. } => Err(self.unreachable(time, last)),
        }
    }

    /// Sends a call to one URL after another until it gets a final answer or its time is over. The boxed future is
    /// compiled here once, and not in each program that uses a call.
    fn run<'a>(&'a self, call: &'a Call, time: Duration) -> BoxFuture<'a, Result<CallResult, ClientError>> {
        Box::pin(self.run_attempts(call, time))
    }

    async fn run_attempts(&self, call: &Call, time: Duration) -> Result<CallResult, ClientError> {
        let mut budget = Budget::new(time);
        let (mut open, mut by_key_url, mut last) =
            (false, None, "the deadline is too short for one attempt".to_owned());
        let mut last_problem = None;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut attempts = 0;
        while let Some(attempt_time) = budget.attempt_timeout() {
            let at = (first + attempts) % self.urls.len();
            let url = call.url(&self.urls[at]);
            match self.attempt(call, url.clone(), attempt_time).await {
                AttemptResult::Succeeded { body, replayed } => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(CallResult::Succeeded { body, replayed, url });
                }
                // Whoever may not ask any more does not learn what an earlier attempt did.
                AttemptResult::Refused(problem) if open && is_about_the_caller(&problem) => {
                    return Ok(CallResult::Open { by_key_url, last: problem.to_string() });
                }
                AttemptResult::Refused(problem) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(CallResult::Refused(problem));
                }
                AttemptResult::Unexpected(reason) if !open => {
                    return Err(ClientError::Unexpected { url: url.to_string(), reason });
                }
                AttemptResult::Unexpected(why) => last = why,
                AttemptResult::Failed { open: may_have_applied, why, problem } => {
                    open |= may_have_applied;
                    by_key_url = problem.as_ref().and_then(|problem| look_up_url(&url, problem)).or(by_key_url);
                    last_problem = problem;
                    last = why;
                }
            }
            attempts += 1;
            if attempts % self.urls.len() == 0 {
                budget.pause().await;
            }
        }
        match last_problem {
            _ if open => Ok(CallResult::Open { by_key_url, last }),
            Some(problem) => Ok(CallResult::Refused(problem)),
            None => Err(self.unreachable(time, last)),
        }
    }

    async fn attempt(&self, call: &Call, url: Url, time: Duration) -> AttemptResult {
        // The node answers at its deadline. Its deadline is a little shorter than the timeout here, so that the answer
        // arrives in time.
        let time_ms = u64::try_from((time * 9 / 10).as_millis()).unwrap_or(u64::MAX);
        let time_ms = time_ms.clamp(1, MAX_DEADLINE_MS);
        let mut request =
            self.http.request(call.method.clone(), url).timeout(time).header(headers::DEADLINE_MS.lower, time_ms);
        if let Some(key) = &call.key {
            request = request.header(headers::IDEMPOTENCY_KEY.lower, key.as_str());
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, body.media_type).body(body.bytes.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return lost(&error),
        };
        let status = response.status();
        let replayed = response.headers().get(headers::REPLAYED.lower).is_some_and(|value| value == "true");
        match response.bytes().await {
            Ok(body) => judge(status, body, replayed),
            Err(error) => lost(&error),
        }
    }

    fn preferred_url(&self, call: &Call) -> Url {
        call.url(&self.urls[self.preferred.load(Ordering::Relaxed)])
    }

    pub(super) fn unreachable(&self, time: Duration, last: String) -> ClientError {
        let tried = self.urls.iter().map(Url::as_str).collect::<Vec<_>>().join(", ");
        ClientError::Unreachable { deadline_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX), tried, last }
    }
}

/// Whether a node refused whoever asked, and did not look at what was asked for.
fn is_about_the_caller(problem: &Problem) -> bool {
    [Code::ApiKeyRequired, Code::InvalidApiKey, Code::ApiKeyForbids].iter().any(|code| problem.code == code.as_str())
}

/// The URL of the look-up, which a node may give relative to its own.
fn look_up_url(node: &Url, problem: &Problem) -> Option<String> {
    let given = problem.by_key_url.as_deref()?;
    node.join(given).ok().map(String::from)
}

fn base_url(text: &str) -> Result<Url, ClientError> {
    let refuse = |reason: &str| ClientError::Url { url: text.to_owned(), reason: reason.to_owned() };
    let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    match (url.scheme(), url.has_host()) {
        ("http" | "https", true) => Ok(url),
        _ => Err(refuse("it must look like http://HOST:PORT or https://HOST:PORT")),
    }
}

fn parse<T: DeserializeOwned>(url: &Url, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|error| ClientError::Unexpected { url: url.to_string(), reason: error.to_string() })
}
