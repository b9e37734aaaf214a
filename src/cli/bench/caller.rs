//! One caller: takes a ticket, pays, counts, again.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Deserialize;

use super::connection::{Answer, Broken, Connection, Target, Template};
use super::pace::{Pace, Ticket};
use super::plan::{Persistence, Plan};
use super::tally::{Tally, Times, Verdict};
use quorapay_client::{PaymentStatus, Problem, ReportedOutcome};
use quorapay_core::domain::MinorUnits;

/// One answer in so many is parsed and compared with what was asked for; all of them would cost the nodes their share.
const CHECK_ONE_IN: u64 = 1_000;

/// Rest after a connection broke or every URL has failed once: a node that is gone refuses in microseconds, and callers
/// that ask without a pause would take the processor from the nodes that elect.
const REST: Duration = Duration::from_millis(10);

/// A caller with its connection.
pub(super) struct Caller {
    plan: Arc<Plan>,
    targets: Rc<[Target]>,
    /// Which target the connection is to, or is to be opened to.
    at: usize,
    connection: Option<Connection>,
    template: Template,
    tally: Rc<RefCell<Tally>>,
}

/// What one attempt brought.
enum Attempt {
    Ended(Verdict),
    /// Another attempt may fare better. `open`: this one may have been applied.
    Failed {
        open: bool,
        kind: String,
    },
}

/// What an answer must say to be believed.
#[derive(Deserialize)]
struct Sample {
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
        let at = number % targets.len();
        Self { plan, targets, at, connection: None, template, tally }
    }

    /// Opens the connection before the run, so that no payment pays for it.
    pub(super) async fn connect(&mut self) -> bool {
        self.connection = Connection::open(&self.targets[self.at]).await;
        self.connection.is_some()
    }

    /// Pays until there are no more tickets.
    pub(super) async fn run(mut self, pace: Arc<Pace>) {
        while let Some(ticket) = pace.next().await {
            let sent = Instant::now();
            if sent.saturating_duration_since(ticket.intended) > self.plan.deadline {
                if ticket.measured {
                    self.tally.borrow_mut().drop_one();
                }
                continue;
            }
            let verdict = self.pay(ticket, sent).await;
            let times = Times { start: pace.start, intended: ticket.intended, sent, ended: Instant::now() };
            self.tally.borrow_mut().record(verdict, ticket.measured, times);
            if self.connection.is_none() {
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn pay(&mut self, ticket: Ticket, sent: Instant) -> Verdict {
        let mut may_have_moved = false;
        let mut attempts = 0;
        loop {
            let time_left = self.plan.deadline.saturating_sub(sent.elapsed());
            let kind = match self.attempt(ticket, time_left.min(self.plan.attempt_time())).await {
                Attempt::Ended(verdict) => return verdict,
                Attempt::Failed { open, kind } => {
                    may_have_moved |= open;
                    kind
                }
            };
            if self.plan.persistence == Persistence::Never || sent.elapsed() >= self.plan.deadline {
                return if may_have_moved { Verdict::Unknown(kind) } else { Verdict::Failed(kind) };
            }
            attempts += 1;
            let mut every_url_failed = true;
            if self.plan.persistence == Persistence::NextUrl {
                self.at = (self.at + 1) % self.targets.len();
                self.connection = None;
                every_url_failed = attempts % self.targets.len() == 0;
            }
            if every_url_failed {
                tokio::time::sleep(REST).await;
            }
            if ticket.measured {
                self.tally.borrow_mut().retries += 1;
            }
        }
    }

    async fn attempt(&mut self, ticket: Ticket, time: Duration) -> Attempt {
        // What became of a batch's payments is only in its body.
        let check = self.plan.batch.is_some() || ticket.number.is_multiple_of(CHECK_ONE_IN);
        match tokio::time::timeout(time, self.exchange(ticket, check)).await {
            Ok(Ok(answer)) => self.judge(&answer, check),
            Ok(Err(failed)) => {
                self.connection = None;
                failed
            }
            Err(_) => {
                // Whether the request got out is not known here, so it may have been applied.
                self.connection = None;
                failed(true, "timed_out")
            }
        }
    }

    async fn exchange(&mut self, ticket: Ticket, keep: bool) -> Result<Answer, Attempt> {
        let target = &self.targets[self.at];
        if !self.connection.as_ref().is_some_and(Connection::is_open) {
            self.connection = Connection::open(target).await;
        }
        let Some(connection) = &mut self.connection else { return Err(failed(false, "connect_failed")) };
        let request = self.template.request(target, ticket.number);
        connection.exchange(request, keep).await.map_err(|broken| match broken {
            Broken::NotSent => failed(false, "connection_closed"),
            Broken::Lost => failed(true, "connection_lost"),
        })
    }

    fn judge(&self, answer: &Answer, check: bool) -> Attempt {
        match answer.status {
            StatusCode::CREATED | StatusCode::OK if check => {
                self.tally.borrow_mut().checked += 1;
                Attempt::Ended(self.compare(&answer.body))
            }
            StatusCode::CREATED | StatusCode::OK => Attempt::Ended(Verdict::Ok),
            status => {
                let problem = Problem::parse(&answer.body);
                let open = problem.as_ref().is_some_and(|problem| problem.outcome == Some(ReportedOutcome::Unknown));
                let kind = problem.map_or_else(|| format!("http_{}", status.as_u16()), |problem| problem.code);
                if status.is_client_error() {
                    Attempt::Ended(Verdict::Refused(kind))
                } else {
                    Attempt::Failed { open, kind }
                }
            }
        }
    }

    fn compare(&self, body: &[u8]) -> Verdict {
        if self.plan.batch.is_some() {
            return self.compare_counts(body);
        }
        match serde_json::from_slice::<Sample>(body) {
            Ok(sample) if sample.status == PaymentStatus::Succeeded && sample.amount == self.plan.amount => Verdict::Ok,
            _ => Verdict::Failed("wrong_answer".to_owned()),
        }
    }
}

impl Caller {
    /// What a batch's answer says before its results: how many payments were made and how many refused.
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

/// The number behind a member's name; the first one is the answer's own.
fn count(body: &[u8], name: &str) -> Option<u64> {
    let name_at = body.windows(name.len()).position(|window| window == name.as_bytes())?;
    let digits = body[name_at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let digits: Vec<u8> = digits.copied().collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

fn failed(open: bool, kind: &str) -> Attempt {
    Attempt::Failed { open, kind: kind.to_owned() }
}
