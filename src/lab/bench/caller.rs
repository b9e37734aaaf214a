//! One caller: takes a ticket, pays or reads, counts the result, repeats.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Deserialize;

use super::connection::{Connection, ExchangeError, HttpAnswer, Target};
use super::pace::{Pace, Ticket};
use super::plan::{Plan, Retry, Workload};
use super::requests::{Readable, Requests};
use super::same_key::{Answer, SameKey};
use super::tally::{Tally, Times, Verdict};
use quorapay_client::{PaymentStatus, Problem, ReportedOutcome};
use quorapay_core::domain::MinorUnits;

/// One answer in this many is parsed and compared with its request. Parsing all would take CPU time from the nodes.
const CHECK_ONE_IN: u64 = 1_000;

/// Pause after a connection broke or every URL has failed once. A dead node refuses connections within microseconds; callers
/// that retry without a pause would take CPU time from the nodes that elect a leader.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// A caller with its connection.
pub(super) struct Caller {
    plan: Arc<Plan>,
    targets: Rc<[Target]>,
    /// Index of the target that the connection belongs to.
    target: usize,
    connection: Option<Connection>,
    requests: Requests,
    same_key: Arc<SameKey>,
    tally: Rc<RefCell<Tally>>,
}

/// The result of one attempt.
enum AttemptResult {
    Decided(Verdict, Option<Answer>),
    /// A retry may succeed.
    Failed {
        may_be_applied: bool,
        kind: String,
    },
}

/// The field of an answer to a read of one thing that is compared with the request.
#[derive(Deserialize)]
struct ReadAnswer {
    id: String,
}

/// The field of an answer to a list that is looked at. The run itself has made payments before it reads.
#[derive(Deserialize)]
struct ListAnswer {
    payments: Vec<serde::de::IgnoredAny>,
}

/// The fields of an answer that are compared with the request.
#[derive(Deserialize)]
struct PaymentAnswer {
    status: PaymentStatus,
    amount: MinorUnits,
}

impl Caller {
    pub(super) fn new(
        plan: Arc<Plan>,
        targets: Rc<[Target]>,
        number: usize,
        requests: Requests,
        same_key: Arc<SameKey>,
        tally: Rc<RefCell<Tally>>,
    ) -> Self {
        let target = number % targets.len();
        Self { plan, targets, target, connection: None, requests, same_key, tally }
    }

    /// Opens the connection before the run, so that no latency includes it.
    pub(super) async fn connect(&mut self) -> bool {
        self.connection = Connection::open(&self.targets[self.target]).await;
        self.connection.is_some()
    }

    /// Sends requests until there are no more tickets.
    pub(super) async fn run(mut self, pace: Arc<Pace>) {
        while let Some(ticket) = pace.next().await {
            let sent = Instant::now();
            if sent.saturating_duration_since(ticket.intended) > self.plan.deadline {
                if ticket.measured {
                    self.tally.borrow_mut().count_dropped();
                }
                self.follow_key(ticket, &Verdict::Failed("dropped".to_owned()), None);
                continue;
            }
            let (verdict, answer) = self.perform(ticket, sent).await;
            self.follow_key(ticket, &verdict, answer);
            let (start, measured_from, ended) = (pace.start, pace.measured_from, Instant::now());
            pace.stalls.ended(ticket.intended, ended, verdict.is_decided());
            let times = Times { start, measured_from, intended: ticket.intended, sent, ended };
            self.tally.borrow_mut().record(verdict, ticket.measured, times);
            if self.connection.is_none() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    fn follow_key(&self, ticket: Ticket, verdict: &Verdict, answer: Option<Answer>) {
        if self.plan.workload == Workload::SameKey {
            self.same_key.ended(ticket.number, verdict, answer);
        }
    }

    async fn perform(&mut self, ticket: Ticket, sent: Instant) -> (Verdict, Option<Answer>) {
        let mut may_be_applied = false;
        let mut attempts = 0;
        loop {
            let time_left = self.plan.deadline.saturating_sub(sent.elapsed());
            let timeout = time_left.min(self.plan.attempt_timeout());
            let kind = match self.attempt(ticket, timeout).await {
                AttemptResult::Decided(verdict, answer) => return (verdict, answer),
                AttemptResult::Failed { may_be_applied: this_one, kind } => {
                    may_be_applied |= this_one;
                    kind
                }
            };
            if self.plan.retry == Retry::Never || sent.elapsed() >= self.plan.deadline {
                return (if may_be_applied { Verdict::Unknown(kind) } else { Verdict::Failed(kind) }, None);
            }
            attempts += 1;
            let mut every_url_failed = true;
            if self.plan.retry == Retry::NextUrl {
                self.target = (self.target + 1) % self.targets.len();
                self.connection = None;
                every_url_failed = attempts % self.targets.len() == 0;
            }
            if every_url_failed {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            if ticket.measured {
                self.tally.borrow_mut().retries += 1;
            }
        }
    }

    async fn attempt(&mut self, ticket: Ticket, timeout: Duration) -> AttemptResult {
        // The outcomes of a batch's payments are only in the body. All answers under the same key are compared.
        let check = self.plan.batch.is_some()
            || self.plan.workload == Workload::SameKey
            || ticket.number.is_multiple_of(CHECK_ONE_IN);
        match tokio::time::timeout(timeout, self.exchange(ticket, check)).await {
            Ok(Ok(answer)) => self.judge(ticket, answer, check),
            Ok(Err(failed)) => {
                self.connection = None;
                failed
            }
            Err(_) => {
                // It is not known whether the request was sent, so a payment may have been made.
                self.connection = None;
                failed(self.pays(), "timed_out")
            }
        }
    }

    async fn exchange(&mut self, ticket: Ticket, keep: bool) -> Result<HttpAnswer, AttemptResult> {
        let target = &self.targets[self.target];
        if !self.connection.as_ref().is_some_and(Connection::is_open) {
            self.connection = Connection::open(target).await;
        }
        let Some(connection) = &mut self.connection else { return Err(failed(false, "connect_failed")) };
        let request = self.requests.request(target, ticket.number);
        let exchanged = connection.exchange(request, keep).await;
        exchanged.map_err(|error| match error {
            ExchangeError::NotSent => failed(false, "connection_closed"),
            ExchangeError::Lost => failed(self.pays(), "connection_lost"),
        })
    }

    /// Whether a request that fails may have moved money.
    fn pays(&self) -> bool {
        !matches!(self.plan.workload, Workload::Read(..))
    }

    fn judge(&self, ticket: Ticket, answer: HttpAnswer, check: bool) -> AttemptResult {
        match answer.status {
            StatusCode::CREATED | StatusCode::OK if check => {
                self.tally.borrow_mut().checked += 1;
                let verdict = match self.requests.reads(ticket.number) {
                    Some(readable) => compare_read(readable, &answer.body),
                    None => self.compare(&answer.body),
                };
                let kept = Answer { body: answer.body, replayed: answer.replayed };
                AttemptResult::Decided(verdict, Some(kept))
            }
            StatusCode::CREATED | StatusCode::OK => AttemptResult::Decided(Verdict::Ok, None),
            status => {
                let problem = Problem::parse(&answer.body);
                let may_be_applied =
                    problem.as_ref().is_some_and(|problem| problem.outcome == Some(ReportedOutcome::Unknown));
                let kind =
                    problem.map_or_else(|| format!("http_{}", status.as_u16()), |problem| problem.code.into_owned());
                if status.is_client_error() {
                    AttemptResult::Decided(Verdict::Refused(kind), None)
                } else {
                    AttemptResult::Failed { may_be_applied, kind }
                }
            }
        }
    }

    fn compare(&self, body: &[u8]) -> Verdict {
        if self.plan.batch.is_some() {
            return self.compare_counts(body);
        }
        match serde_json::from_slice::<PaymentAnswer>(body) {
            Ok(answer) if answer.status == PaymentStatus::Succeeded && answer.amount == self.plan.amount => Verdict::Ok,
            _ => Verdict::Failed("wrong_answer".to_owned()),
        }
    }

    /// Compares the counts at the beginning of a batch's answer with the size of the batch.
    fn compare_counts(&self, body: &[u8]) -> Verdict {
        match (count(body, "\"succeeded\":"), count(body, "\"rejected\":")) {
            (Some(ok), Some(refused)) if ok + refused == u64::from(self.plan.per_request()) => {
                if refused == 0 {
                    Verdict::Ok
                } else {
                    Verdict::Partly { ok, refused }
                }
            }
            _ => Verdict::Failed("wrong_answer".to_owned()),
        }
    }
}

/// Compares an answer to a read with what was asked for.
fn compare_read(readable: &Readable, body: &[u8]) -> Verdict {
    let right = match &readable.id {
        Some(id) => serde_json::from_slice::<ReadAnswer>(body).is_ok_and(|answer| answer.id == *id),
        None => serde_json::from_slice::<ListAnswer>(body).is_ok_and(|answer| !answer.payments.is_empty()),
    };
    if right { Verdict::Ok } else { Verdict::Failed("wrong_answer".to_owned()) }
}

/// The number after the first occurrence of a member's name. The answer's own counts come before its results.
fn count(body: &[u8], name: &str) -> Option<u64> {
    let name_at = body.windows(name.len()).position(|window| window == name.as_bytes())?;
    let digits = body[name_at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let digits: Vec<u8> = digits.copied().collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

fn failed(may_be_applied: bool, kind: &str) -> AttemptResult {
    AttemptResult::Failed { may_be_applied, kind: kind.to_owned() }
}
