//! The client and its way through failures.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::ClientError;
use super::model::{
    Account, AccountPage, ClusterView, KeyLookup, KeyState, NewPayment, Page, Payment, PaymentFilter, PaymentPage,
    PaymentStatus, PolicyChange, Readiness, Statement,
};
use super::problem::{Problem, ReportedOutcome};
use super::retry::Budget;
use crate::domain::{AccountId, IdempotencyKey, Overdraft};

/// A node on this or a near machine accepts a connection at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What is kept of the deadline to look an open outcome up by its key, as a divisor of the whole.
const LOOKUP_SHARE: u32 = 5;

/// A write that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// The answer.
    pub value: T,
    /// Whether an earlier attempt under the same key had already brought it about.
    pub replayed: bool,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It is on a majority of disks.
    Committed(Done<T>),
    /// It definitely did not happen.
    Refused(Box<Problem>),
    /// It may or may not have happened. Repeating it under the same key is safe and tells.
    Unknown {
        /// Where its outcome can be looked up; `None` for writes that are no payments.
        by_key_url: Option<String>,
    },
}

/// A client of one cluster. Cheap to keep, meant to be shared.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    urls: Vec<Url>,
    deadline: Duration,
    /// The URL that answered last; where the next call begins.
    preferred: AtomicUsize,
}

/// One request, in a form that can be sent again.
struct Call {
    method: Method,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    key: Option<IdempotencyKey>,
    body: Option<Bytes>,
}

/// What one attempt brought.
enum Attempt {
    Succeeded {
        body: Bytes,
        replayed: bool,
    },
    Refused(Box<Problem>),
    /// Worth another attempt. `open` says whether this one may have been applied.
    Failed {
        open: bool,
        why: String,
        problem: Option<Box<Problem>>,
    },
    Unexpected(String),
}

/// How a call ended after all its attempts.
enum Ending {
    Succeeded { body: Bytes, replayed: bool, url: Url },
    Refused(Box<Problem>),
    Open { by_key_url: Option<String>, last: String },
}

impl Client {
    /// Makes a client of the cluster whose nodes have these base URLs. `deadline` bounds every call as a whole.
    ///
    /// # Errors
    /// [`ClientError::Url`] for a base URL that cannot be used.
    pub fn new(urls: &[String], deadline: Duration) -> Result<Self, ClientError> {
        let urls = urls.iter().map(|url| base_url(url)).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Err(ClientError::Url { url: String::new(), reason: "at least one is needed".to_owned() });
        }
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { http, urls, deadline, preferred: AtomicUsize::new(0) })
    }

    /// Pays.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no node could be reached at all: nothing moved then.
    pub async fn pay(&self, key: &IdempotencyKey, payment: &NewPayment) -> Result<Outcome<Payment>, ClientError> {
        let call = Call::write(Method::POST, &["v1", "payments"], key, payment);
        let lookup_time = self.deadline / LOOKUP_SHARE;
        let ending = self.run(&call, self.deadline - lookup_time).await?;
        match Self::outcome(ending) {
            Outcome::Unknown { by_key_url } => self.settle(key, lookup_time, by_key_url).await,
            known => Ok(known),
        }
    }

    /// Asks what became of a key until it is known or the time is over.
    async fn settle(
        &self,
        key: &IdempotencyKey,
        time: Duration,
        by_key_url: Option<String>,
    ) -> Result<Outcome<Payment>, ClientError> {
        let call = Call::read(&["v1", "payments", "by-key", key.as_str()], Vec::new());
        let by_key_url = by_key_url.unwrap_or_else(|| self.preferred_url(&call).to_string());
        let mut budget = Budget::new(time);
        while !budget.left().is_zero() {
            // A look-up that fails leaves the outcome as open as it was, so its error is not the caller's.
            let Ok(lookup) = self.read::<KeyLookup>(&call, budget.left()).await else { break };
            match (lookup.state, lookup.payment) {
                (KeyState::Committed, Some(payment)) if payment.status == PaymentStatus::Rejected => {
                    return Ok(Outcome::Refused(Box::new(Problem::of_rejected(payment))));
                }
                (KeyState::Committed, Some(payment)) => {
                    return Ok(Outcome::Committed(Done { value: payment, replayed: true }));
                }
                _ => budget.rest().await,
            }
        }
        Ok(Outcome::Unknown { by_key_url: Some(by_key_url) })
    }

    /// Opens an account.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no node could be reached at all: nothing changed then.
    pub async fn open_account(
        &self,
        key: &IdempotencyKey,
        id: &AccountId,
        overdraft: Overdraft,
    ) -> Result<Outcome<Account>, ClientError> {
        let body = serde_json::json!({ "id": id, "overdraft": overdraft });
        let call = Call::write(Method::POST, &["v1", "accounts"], key, &body);
        self.run(&call, self.deadline).await.map(Self::outcome).map(without_lookup)
    }

    /// Gives an account another overdraft policy.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no node could be reached at all: nothing changed then.
    pub async fn set_overdraft(
        &self,
        key: &IdempotencyKey,
        id: &AccountId,
        overdraft: Overdraft,
    ) -> Result<Outcome<PolicyChange>, ClientError> {
        let body = serde_json::json!({ "overdraft": overdraft });
        let call = Call::write(Method::PATCH, &["v1", "accounts", id.as_str()], key, &body);
        self.run(&call, self.deadline).await.map(Self::outcome).map(without_lookup)
    }

    /// A payment by its id.
    ///
    /// # Errors
    /// [`ClientError`]; an unknown id is `Refused` with code `payment_not_found`.
    pub async fn payment(&self, id: &str) -> Result<Payment, ClientError> {
        self.read(&Call::read(&["v1", "payments", id], Vec::new()), self.deadline).await
    }

    /// What is known of an idempotency key.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn payment_by_key(&self, key: &IdempotencyKey) -> Result<KeyLookup, ClientError> {
        self.read(&Call::read(&["v1", "payments", "by-key", key.as_str()], Vec::new()), self.deadline).await
    }

    /// One page of payments, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn payments(&self, filter: &PaymentFilter, page: &Page) -> Result<PaymentPage, ClientError> {
        let mut query = page_query(page);
        let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
        add("account", filter.account.as_ref().map(ToString::to_string));
        add("status", filter.status.map(|status| status.to_string()));
        add("currency", filter.currency.map(|currency| currency.to_string()));
        add("from_time", filter.from_time.clone());
        add("to_time", filter.to_time.clone());
        self.read(&Call::read(&["v1", "payments"], query), self.deadline).await
    }

    /// An account with its balances.
    ///
    /// # Errors
    /// [`ClientError`]; an unknown account is `Refused` with code `account_not_found`.
    pub async fn account(&self, id: &AccountId) -> Result<Account, ClientError> {
        self.read(&Call::read(&["v1", "accounts", id.as_str()], Vec::new()), self.deadline).await
    }

    /// One page of accounts, in the order of their ids.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn accounts(&self, page: &Page) -> Result<AccountPage, ClientError> {
        self.read(&Call::read(&["v1", "accounts"], page_query(page)), self.deadline).await
    }

    /// One page of an account's statement.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn statement(&self, id: &AccountId, page: &Page) -> Result<Statement, ClientError> {
        self.read(&Call::read(&["v1", "accounts", id.as_str(), "statement"], page_query(page)), self.deadline).await
    }

    /// Every node as the first node that answers sees it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cluster(&self) -> Result<ClusterView, ClientError> {
        self.read(&Call::read(&["v1", "cluster"], Vec::new()), self.deadline).await
    }

    /// Waits until one of the nodes can serve, within the deadline.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the node's reasons if it answered to the end that it cannot.
    pub async fn ready(&self) -> Result<Readiness, ClientError> {
        self.read(&Call::read(&["readyz"], Vec::new()), self.deadline).await
    }

    async fn read<T: DeserializeOwned>(&self, call: &Call, time: Duration) -> Result<T, ClientError> {
        match self.run(call, time).await? {
            Ending::Succeeded { body, url, .. } => parse(&url, &body),
            Ending::Refused(problem) => Err(ClientError::Refused(problem)),
            Ending::Open { last, .. } => Err(self.unreachable(time, last)),
        }
    }

    /// A success that cannot be read is an open outcome: the write did happen, but nobody can be told what it brought.
    fn outcome<T: DeserializeOwned>(ending: Ending) -> Outcome<T> {
        match ending {
            Ending::Succeeded { body, replayed, url } => match parse(&url, &body) {
                Ok(value) => Outcome::Committed(Done { value, replayed }),
                Err(error) => {
                    tracing::warn!("{error}");
                    Outcome::Unknown { by_key_url: None }
                }
            },
            Ending::Refused(problem) => Outcome::Refused(problem),
            Ending::Open { by_key_url, .. } => Outcome::Unknown { by_key_url },
        }
    }

    /// Sends a call, to one URL after another, until it is answered for good or its time is over.
    async fn run(&self, call: &Call, time: Duration) -> Result<Ending, ClientError> {
        let mut budget = Budget::new(time);
        let (mut open, mut by_key_url, mut last) =
            (false, None, "the deadline is too short for one attempt".to_owned());
        let mut last_problem = None;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut attempts = 0;
        while let Some(attempt_time) = budget.attempt() {
            let at = (first + attempts) % self.urls.len();
            let url = call.url(&self.urls[at]);
            match self.attempt(call, url.clone(), attempt_time).await {
                Attempt::Succeeded { body, replayed } => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(Ending::Succeeded { body, replayed, url });
                }
                Attempt::Refused(problem) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(Ending::Refused(problem));
                }
                Attempt::Unexpected(reason) if !open => {
                    return Err(ClientError::Unexpected { url: url.to_string(), reason });
                }
                Attempt::Unexpected(why) => last = why,
                Attempt::Failed { open: may_have_applied, why, problem } => {
                    open |= may_have_applied;
                    by_key_url = problem.as_ref().and_then(|problem| look_up_url(&url, problem)).or(by_key_url);
                    last_problem = problem;
                    last = why;
                }
            }
            attempts += 1;
            if attempts % self.urls.len() == 0 {
                budget.rest().await;
            }
        }
        match last_problem {
            _ if open => Ok(Ending::Open { by_key_url, last }),
            Some(problem) => Ok(Ending::Refused(problem)),
            None => Err(self.unreachable(time, last)),
        }
    }

    async fn attempt(&self, call: &Call, url: Url, time: Duration) -> Attempt {
        // The node answers at its deadline; it is given a little less time, so that its answer is still waited for.
        let time_ms = u64::try_from((time * 9 / 10).as_millis()).unwrap_or(u64::MAX).max(1);
        let mut request =
            self.http.request(call.method.clone(), url).timeout(time).header("Quorapay-Deadline-Ms", time_ms);
        if let Some(key) = &call.key {
            request = request.header("Idempotency-Key", key.as_str());
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return lost(&error),
        };
        let status = response.status();
        let replayed = response.headers().get("Idempotent-Replayed").is_some_and(|value| value == "true");
        match response.bytes().await {
            Ok(body) => judge(status, body, replayed),
            Err(error) => lost(&error),
        }
    }

    fn preferred_url(&self, call: &Call) -> Url {
        call.url(&self.urls[self.preferred.load(Ordering::Relaxed)])
    }

    fn unreachable(&self, time: Duration, last: String) -> ClientError {
        let tried = self.urls.iter().map(Url::as_str).collect::<Vec<_>>().join(", ");
        ClientError::Unreachable { deadline_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX), tried, last }
    }
}

impl Call {
    fn read(segments: &[&str], query: Vec<(&'static str, String)>) -> Self {
        Self { method: Method::GET, segments: owned(segments), query, key: None, body: None }
    }

    fn write<B: Serialize>(method: Method, segments: &[&str], key: &IdempotencyKey, body: &B) -> Self {
        let body = serde_json::to_vec(body).expect("requests are made of strings, numbers and maps with string keys");
        let (key, body) = (Some(key.clone()), Some(Bytes::from(body)));
        Self { method, segments: owned(segments), query: Vec::new(), key, body }
    }

    fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        url.path_segments_mut().expect("checked when the client was made").pop_if_empty().extend(&self.segments);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// A request without an answer: it changed nothing only if it never got a connection.
fn lost(error: &reqwest::Error) -> Attempt {
    Attempt::Failed { open: !error.is_connect(), why: root_cause(error), problem: None }
}

fn judge(status: StatusCode, body: Bytes, replayed: bool) -> Attempt {
    if status.is_success() {
        return Attempt::Succeeded { body, replayed };
    }
    match Problem::parse(&body) {
        Some(problem) if problem.outcome == Some(ReportedOutcome::Unknown) || problem.retryable => {
            let open = problem.outcome == Some(ReportedOutcome::Unknown);
            Attempt::Failed { open, why: problem.to_string(), problem: Some(Box::new(problem)) }
        }
        Some(problem) => Attempt::Refused(Box::new(problem)),
        // A proxy's word: it may have passed the request on before it failed.
        None if status.is_server_error() => {
            Attempt::Failed { open: true, why: format!("HTTP status {status}"), problem: None }
        }
        None => Attempt::Unexpected(format!("HTTP status {status} without a problem document")),
    }
}

/// Where the node says that the outcome can be looked up; it may say so relative to itself.
fn look_up_url(node: &Url, problem: &Problem) -> Option<String> {
    let given = problem.by_key_url.as_deref()?;
    node.join(given).ok().map(String::from)
}

fn without_lookup<T>(outcome: Outcome<T>) -> Outcome<T> {
    match outcome {
        Outcome::Unknown { .. } => Outcome::Unknown { by_key_url: None },
        known => known,
    }
}

fn base_url(text: &str) -> Result<Url, ClientError> {
    let refuse = |reason: &str| ClientError::Url { url: text.to_owned(), reason: reason.to_owned() };
    let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    match (url.scheme(), url.has_host()) {
        ("http", true) => Ok(url),
        _ => Err(refuse("it must look like http://HOST:PORT")),
    }
}

fn page_query(page: &Page) -> Vec<(&'static str, String)> {
    let cursor = page.cursor.iter().map(|cursor| ("cursor", cursor.clone()));
    cursor.chain(page.limit.iter().map(|limit| ("limit", limit.to_string()))).collect()
}

fn parse<T: DeserializeOwned>(url: &Url, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|error| ClientError::Unexpected { url: url.to_string(), reason: error.to_string() })
}

fn owned(segments: &[&str]) -> Vec<String> {
    segments.iter().map(|&segment| segment.to_owned()).collect()
}

/// The innermost cause: "Connection refused" tells more than the layers around it.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
