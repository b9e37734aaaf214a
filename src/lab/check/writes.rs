//! Compares answers to writes with the entries that they name.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::answers::{BatchBody, ChangedBody, KeyBody, PaymentBody, RefusalBody, parse};
use super::describe;
use super::fact::KeyContent;
use super::judge::Judge;
use super::order::OperationRef;
use super::report::Breach;
use crate::history::{Ending, Micros, Operation, Response};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{IdempotencyKey, OperationRequest, Proposal, Rejection};

/// The code for a key that was used for another request.
const KEY_REUSED: &str = "idempotency_key_reused";
/// The code for a key that is closed.
const KEY_FENCED: &str = "idempotency_key_fenced";

/// An answer with a decision of the bank.
struct Decision<'a> {
    proposal: &'a Proposal,
    response: &'a Response,
    /// `None` if the write was applied.
    rejection: Option<&'a str>,
    at: Micros,
    by: OperationRef,
}

impl Judge<'_> {
    /// Checks a write.
    pub(super) fn write(&mut self, operation: &Operation, proposal: &Proposal, by: OperationRef) {
        let Proposal { key, request } = proposal;
        let attempts = self.attempts(key, request, operation.invoke.at, by);
        match &operation.ending {
            Ending::Unknown { .. } | Ending::Never => (attempts.may_apply, attempts.unknown) = (true, true),
            Ending::Ok { at, response } => {
                let decision = Decision { proposal, response, rejection: None, at: *at, by };
                if *request == OperationRequest::KeyFence
                    && let Some(body) = late_fence(response)
                {
                    attempts.refused.get_or_insert_with(|| (by, "its key had been used".into()));
                    self.report.counts.refused += 1;
                    self.late_fence(&decision, &body);
                    return;
                }
                attempts.may_apply = true;
                self.report.counts.writes += 1;
                self.report.counts.replays += u64::from(response.replayed);
                self.decision(&decision);
            }
            Ending::Refused { at, code, response: Some(response) } if is_decision(code) => {
                attempts.may_apply = true;
                self.report.counts.rejected += 1;
                self.decision(&Decision { proposal, response, rejection: Some(code), at: *at, by });
            }
            Ending::Refused { code, .. } => {
                attempts.refused.get_or_insert_with(|| (by, code.as_str().into()));
                self.report.counts.refused += 1;
                self.key_refusal(key, request, code, by);
            }
        }
    }

    /// If a write is refused because its key is used for something else or fenced, the ledger must show that.
    fn key_refusal(&mut self, key: &IdempotencyKey, request: &OperationRequest, code: &str, by: OperationRef) {
        let index = self.truth.index_of(key);
        let held = self.truth.content_of(key);
        let is_correct = match (code, held) {
            (KEY_FENCED, held) => matches!(held, Some(KeyContent::Fence)),
            (KEY_REUSED, Some(KeyContent::Fence) | None) => false,
            (KEY_REUSED, Some(held)) => held.fingerprint() != Some(request.fingerprint()),
            _ => true,
        };
        if !is_correct {
            let what = index.map_or("the key is in no ledger".to_owned(), |index| self.truth.describe(index));
            let what = format!("it was told {code}, but {what}");
            self.breach(Breach::WrongRefusal, by, Some(key), index, what);
        }
    }

    /// A fence of a key that was used before is answered with the content of the key.
    fn late_fence(&mut self, decision: &Decision<'_>, body: &KeyBody) {
        let Decision { proposal: Proposal { key, .. }, response, at, by, .. } = *decision;
        let index = self.truth.index_of(key);
        let compared = match index {
            Some(index) => self.key_holds(key, &body.state, index, body).map_err(|(_, what)| what),
            None => Err("the key is in no ledger".to_owned()),
        };
        if let Some(index) = index.filter(|_| response.index == index) {
            self.acknowledged(index);
            self.order().observe(at, index, by);
        }
        if let Err(what) = compared {
            let breach = if index.is_some() { Breach::WrongAnswer } else { Breach::LostAck };
            let what = format!("its fence was answered that the key is {}, but {what}", body.state);
            self.breach(breach, by, Some(key), index, what);
        }
    }

    fn decision(&mut self, decision: &Decision<'_>) {
        let Decision { proposal: Proposal { key, .. }, response, at, by, .. } = *decision;
        let Some(index) = response.index else {
            let what = "the answer names no entry of the ledger".to_owned();
            self.breach(Breach::WrongAnswer, by, Some(key), None, what);
            return;
        };
        self.acknowledged(index);
        self.order().observe(at, index, by);
        if let Some((breach, what)) = self.compare(decision, index) {
            let what = format!("{}; {what}", describe_decision(decision, index));
            self.breach(breach, by, Some(key), Some(index), what);
        }
        self.check_replay(decision);
    }

    /// How a decision differs from the entry that it names.
    fn compare(&self, decision: &Decision<'_>, index: LogIndex) -> Option<(Breach, String)> {
        let Proposal { key, request } = decision.proposal;
        let committed = self.truth.index_of(key);
        let Some(held) = self.truth.content_of(key).filter(|_| committed == Some(index)) else {
            let elsewhere = match committed {
                Some(at) => format!("the key stands at entry {at} instead"),
                None => "the key is in no ledger".to_owned(),
            };
            return Some((Breach::LostAck, format!("but {}, and {elsewhere}", self.truth.describe(index))));
        };
        let is_request = match (&held, request) {
            (KeyContent::Fence, OperationRequest::KeyFence) => true,
            _ => held.fingerprint() == Some(request.fingerprint()),
        };
        if !is_request {
            return Some((Breach::WrongRequest, format!("but {}", self.truth.describe(index))));
        }
        if held.rejection().map(Rejection::code) != decision.rejection {
            return Some((Breach::WrongAnswer, format!("but {}", self.truth.describe(index))));
        }
        let epoch = self.truth.fact(index).map(|fact| fact.epoch);
        if decision.response.epoch < epoch {
            return Some((Breach::WrongAnswer, format!("but it names an epoch before that of entry {index}")));
        }
        self.compare_body(decision, index, &held).map(|what| (Breach::WrongAnswer, what))
    }

    fn compare_body(&self, decision: &Decision<'_>, index: LogIndex, held: &KeyContent<'_>) -> Option<String> {
        let (body, truth) = (decision.response.body.as_str(), self.truth);
        let refused = decision.rejection.is_some();
        let compared = match held {
            KeyContent::Payment(_, id, outcome) if refused => parse::<RefusalBody>(body).map(|refusal| {
                refusal.payment.and_then(|payment| payment.differs_from_decision(index, (*id, *outcome), truth))
            }),
            KeyContent::Payment(_, id, outcome) => {
                parse::<PaymentBody>(body).map(|payment| payment.differs_from_decision(index, (*id, *outcome), truth))
            }
            KeyContent::Change(fact) if refused => parse::<RefusalBody>(body)
                .map(|refusal| refusal.payment.and_then(|payment| payment.differs_from_change(index, fact, truth))),
            KeyContent::Change(fact) => {
                parse::<PaymentBody>(body).map(|payment| payment.differs_from_change(index, fact, truth))
            }
            KeyContent::Account(fact) if !refused => {
                parse::<ChangedBody>(body).map(|changed| changed.differs(index, fact, truth))
            }
            KeyContent::Batch(batch) => parse::<BatchBody>(body).map(|results| results.differs(index, batch, truth)),
            KeyContent::Account(_) | KeyContent::Fence => return None,
        };
        compared.unwrap_or_else(Some)
    }

    /// The same request under the same key must get the identical answer, at every node and at any time.
    fn check_replay(&mut self, decision: &Decision<'_>) {
        let Decision { proposal: Proposal { key, request }, response, at, by, .. } = *decision;
        let mut hasher = DefaultHasher::new();
        (response.status, response.body.as_str()).hash(&mut hasher);
        let digest = hasher.finish();
        let (first, first_by) = *self.attempts(key, request, at, by).answer.get_or_insert((digest, by));
        if first != digest {
            let what = format!(
                "the answer (status {}) differs from the one that {} got to the same request: {}",
                response.status,
                self.pointer(first_by),
                response.body.as_str()
            );
            self.breach(Breach::WrongReplay, by, Some(key), response.index, what);
        }
    }
}

/// Whether a refusal is a decision of the bank, which has an entry like a success.
fn is_decision(code: &str) -> bool {
    let of_the_key =
        |rejection: &Rejection| matches!(rejection, Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced);
    Rejection::from_code(code).is_some_and(|rejection| !of_the_key(&rejection))
}

/// The answer to a fence of a key that was used before.
fn late_fence(response: &Response) -> Option<KeyBody> {
    parse::<KeyBody>(response.body.as_str()).ok().filter(|body| body.state != "fenced")
}

fn describe_decision(decision: &Decision<'_>, index: LogIndex) -> String {
    let node = decision.response.node.as_deref().unwrap_or("the node");
    let request = describe::request(&decision.proposal.request);
    let outcome = decision.rejection.map_or("is done".to_owned(), |code| format!("is refused as {code}"));
    format!("{node} said at {} that {request} {outcome}, as entry {index}", decision.at)
}
