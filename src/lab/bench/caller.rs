//! One caller: takes a ticket, sends the payment, counts the result, repeats.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Deserialize;

use super::connection::{Connection, ExchangeError, HttpAnswer, Target, Template};
use super::pace::{Pace, Ticket};
use super::plan::{Plan, Retry};
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
    template: Template,
    tally: Rc<RefCell<Tally>>,
}

/// The result of one attempt.
enum AttemptResult {
    Decided(Verdict),
    /// A retry may succeed.
    Failed {
        may_be_applied: bool,
        kind: String,
    },
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
        template: Template,
        tally: Rc<RefCell<Tally>>,
    ) -> Self {
        let target = number % targets.len();
        Self { plan, targets, target, connection: None, template, tally }
    }

    /// Opens the connection before the run, so that no latency includes it.
    pub(super) async fn connect(&mut self) -> bool {
        self.connection = Connection::open(&self.targets[self.target]).await;
        self.connection.is_some()
    }

    /// Sends payments until there are no more tickets.
    pub(super) async fn run(mut self, pace: Arc<Pace>) {
        while let Some(ticket) = pace.next().await {
            let sent = Instant::now();
            if sent.saturating_duration_since(ticket.intended) > self.plan.deadline {
                if ticket.measured {
                    self.tally.borrow_mut().count_dropped();
                }
                continue;
            }
            let verdict = self.pay(ticket, sent).await;
            let times = Times { start: pace.start, intended: ticket.intended, sent, ended: Instant::now() };
            self.tally.borrow_mut().record(verdict, ticket.measured, times);
            if self.connection.is_none() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn pay(&mut self, ticket: Ticket, sent: Instant) -> Verdict {
        let mut may_be_applied = false;
        let mut attempts = 0;
        loop {
            let time_left = self.plan.deadline.saturating_sub(sent.elapsed());
            let timeout = time_left.min(self.plan.attempt_timeout());
            let kind = match self.attempt(ticket, timeout).await {
                AttemptResult::Decided(verdict) => return verdict,
                AttemptResult::Failed { may_be_applied: this_one, kind } => {
                    may_be_applied |= this_one;
                    kind
                }
            };
            if self.plan.retry == Retry::Never || sent.elapsed() >= self.plan.deadline {
                return if may_be_applied { Verdict::Unknown(kind) } else { Verdict::Failed(kind) };
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
        // The outcomes of a batch's payments are only in the body.
        let check = self.plan.batch.is_some() || ticket.number.is_multiple_of(CHECK_ONE_IN);
        match tokio::time::timeout(timeout, self.exchange(ticket, check)).await {
            Ok(Ok(answer)) => self.judge(&answer, check),
            Ok(Err(failed)) => {
                self.connection = None;
                failed
            }
            Err(_) => {
                // It is not known whether the request was sent, so it may have been applied.
                self.connection = None;
                failed(true, "timed_out")
            }
        }
    }

    async fn exchange(&mut self, ticket: Ticket, keep: bool) -> Result<HttpAnswer, AttemptResult> {
        let target = &self.targets[self.target];
        if !self.connection.as_ref().is_some_and(Connection::is_open) {
            self.connection = Connection::open(target).await;
        }
        let Some(connection) = &mut self.connection else { return Err(failed(false, "connect_failed")) };
        let request = self.template.request(target, ticket.number);
        connection.exchange(request, keep).await.map_err(|error| match error {
            ExchangeError::NotSent => failed(false, "connection_closed"),
            ExchangeError::Lost => failed(true, "connection_lost"),
        })
    }

    fn judge(&self, answer: &HttpAnswer, check: bool) -> AttemptResult {
        match answer.status {
            StatusCode::CREATED | StatusCode::OK if check => {
                self.tally.borrow_mut().checked += 1;
                AttemptResult::Decided(self.compare(&answer.body))
            }
            StatusCode::CREATED | StatusCode::OK => AttemptResult::Decided(Verdict::Ok),
            status => {
                let problem = Problem::parse(&answer.body);
                let may_be_applied =
                    problem.as_ref().is_some_and(|problem| problem.outcome == Some(ReportedOutcome::Unknown));
                let kind =
                    problem.map_or_else(|| format!("http_{}", status.as_u16()), |problem| problem.code.into_owned());
                if status.is_client_error() {
                    AttemptResult::Decided(Verdict::Refused(kind))
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
