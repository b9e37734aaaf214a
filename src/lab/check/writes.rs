//! Answers to writes against the entries that they name.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::answers::{BatchBody, ChangedBody, KeyBody, PaymentBody, RefusalBody, parse};
use super::fact::Held;
use super::judge::Judge;
use super::order::Reference;
use super::report::Breach;
use super::words;
use crate::history::{Ending, Micros, Operation, Told};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{IdempotencyKey, OperationRequest, Proposal, Rejection};

/// What a key is answered with that stands for another request, or for none ever again.
const KEY_REUSED: &str = "idempotency_key_reused";
const KEY_FENCED: &str = "idempotency_key_fenced";

/// A decision that a client was told of.
struct Decision<'a> {
    proposal: &'a Proposal,
    told: &'a Told,
    /// `None` if it was done.
    rejection: Option<&'a str>,
    at: Micros,
    by: Reference,
}

impl Judge<'_> {
    /// Judges a write by how it ended.
    pub(super) fn write(&mut self, operation: &Operation, proposal: &Proposal, by: Reference) {
        let Proposal { key, request } = proposal;
        let asked = self.asked(key, request, operation.invoke.at, by);
        match &operation.ending {
            Ending::Unknown { .. } | Ending::Never => (asked.may_apply, asked.unknown) = (true, true),
            Ending::Ok { at, told } => {
                let decision = Decision { proposal, told, rejection: None, at: *at, by };
                if *request == OperationRequest::KeyFence
                    && let Some(body) = late_fence(told)
                {
                    asked.refused.get_or_insert_with(|| (by, "its key had been used".into()));
                    self.report.counts.refused += 1;
                    self.late_fence(&decision, &body);
                    return;
                }
                asked.may_apply = true;
                self.report.counts.writes += 1;
                self.report.counts.replays += u64::from(told.replayed);
                self.decision(&decision);
            }
            Ending::Refused { at, code, told: Some(told) } if is_decision(code) => {
                asked.may_apply = true;
                self.report.counts.rejected += 1;
                self.decision(&Decision { proposal, told, rejection: Some(code), at: *at, by });
            }
            Ending::Refused { code, .. } => {
                asked.refused.get_or_insert_with(|| (by, code.as_str().into()));
                self.report.counts.refused += 1;
                self.key_refusal(key, request, code, by);
            }
        }
    }

    /// Whoever is told that a key stands for something else must find something else under it.
    fn key_refusal(&mut self, key: &IdempotencyKey, request: &OperationRequest, code: &str, by: Reference) {
        let index = self.truth.index_of(key);
        let held = self.truth.held_by(key);
        let is_right = match (code, held) {
            (KEY_FENCED, held) => matches!(held, Some(Held::Fence)),
            (KEY_REUSED, Some(Held::Fence) | None) => false,
            (KEY_REUSED, Some(held)) => held.fingerprint() != Some(request.fingerprint()),
            _ => true,
        };
        if !is_right {
            let what = index.map_or("the key is in no ledger".to_owned(), |index| self.truth.describe(index));
            let what = format!("it was told {code}, but {what}");
            self.breach(Breach::WrongRefusal, by, Some(key), index, what);
        }
    }

    /// A fence that came too late is told what its key holds.
    fn late_fence(&mut self, decision: &Decision<'_>, body: &KeyBody) {
        let Decision { proposal: Proposal { key, .. }, told, at, by, .. } = *decision;
        let index = self.truth.index_of(key);
        let compared = match index {
            Some(index) => self.key_holds(key, &body.state, index, body).map_err(|(_, what)| what),
            None => Err("the key is in no ledger".to_owned()),
        };
        if let Some(index) = index.filter(|_| told.index == index) {
            self.acked(index);
            self.order().told(at, index, by);
        }
        if let Err(what) = compared {
            let breach = if index.is_some() { Breach::WrongAnswer } else { Breach::LostAck };
            let what = format!("its fence was answered that the key is {}, but {what}", body.state);
            self.breach(breach, by, Some(key), index, what);
        }
    }

    fn decision(&mut self, decision: &Decision<'_>) {
        let Decision { proposal: Proposal { key, .. }, told, at, by, .. } = *decision;
        let Some(index) = told.index else {
            let what = "the answer names no entry of the ledger".to_owned();
            self.breach(Breach::WrongAnswer, by, Some(key), None, what);
            return;
        };
        self.acked(index);
        self.order().told(at, index, by);
        if let Some((breach, what)) = self.compare(decision, index) {
            let what = format!("{}; {what}", said(decision, index));
            self.breach(breach, by, Some(key), Some(index), what);
        }
        self.check_replay(decision);
    }

    /// How what a client was told differs from the entry that it names.
    fn compare(&self, decision: &Decision<'_>, index: LogIndex) -> Option<(Breach, String)> {
        let Proposal { key, request } = decision.proposal;
        let stands = self.truth.index_of(key);
        let Some(held) = self.truth.held_by(key).filter(|_| stands == Some(index)) else {
            let elsewhere = match stands {
                Some(at) => format!("the key stands at entry {at} instead"),
                None => "the key is in no ledger".to_owned(),
            };
            return Some((Breach::LostAck, format!("but {}, and {elsewhere}", self.truth.describe(index))));
        };
        let is_request = match (&held, request) {
            (Held::Fence, OperationRequest::KeyFence) => true,
            _ => held.fingerprint() == Some(request.fingerprint()),
        };
        if !is_request {
            return Some((Breach::WrongRequest, format!("but {}", self.truth.describe(index))));
        }
        if held.rejection().map(Rejection::code) != decision.rejection {
            return Some((Breach::WrongAnswer, format!("but {}", self.truth.describe(index))));
        }
        let epoch = self.truth.fact(index).map(|fact| fact.epoch);
        if decision.told.epoch < epoch {
            return Some((Breach::WrongAnswer, format!("but it names an epoch before that of entry {index}")));
        }
        self.compare_body(decision, index, &held).map(|what| (Breach::WrongAnswer, what))
    }

    fn compare_body(&self, decision: &Decision<'_>, index: LogIndex, held: &Held<'_>) -> Option<String> {
        let (body, truth) = (decision.told.body.as_str(), self.truth);
        let refused = decision.rejection.is_some();
        let compared = match held {
            Held::Payment(_, id, outcome) if refused => parse::<RefusalBody>(body).map(|refusal| {
                refusal.payment.and_then(|payment| payment.differs_from_decision(index, (*id, *outcome), truth))
            }),
            Held::Payment(_, id, outcome) => {
                parse::<PaymentBody>(body).map(|payment| payment.differs_from_decision(index, (*id, *outcome), truth))
            }
            Held::Change(fact) if refused => parse::<RefusalBody>(body)
                .map(|refusal| refusal.payment.and_then(|payment| payment.differs_from_change(index, fact, truth))),
            Held::Change(fact) => {
                parse::<PaymentBody>(body).map(|payment| payment.differs_from_change(index, fact, truth))
            }
            Held::Account(fact) if !refused => {
                parse::<ChangedBody>(body).map(|changed| changed.differs(index, fact, truth))
            }
            Held::Batch(batch) => parse::<BatchBody>(body).map(|results| results.differs(index, batch, truth)),
            Held::Account(_) | Held::Fence => return None,
        };
        compared.unwrap_or_else(Some)
    }

    /// The same request under the same key gets the identical answer, whoever asks, wherever and whenever.
    fn check_replay(&mut self, decision: &Decision<'_>) {
        let Decision { proposal: Proposal { key, request }, told, at, by, .. } = *decision;
        let mut hasher = DefaultHasher::new();
        (told.status, told.body.as_str()).hash(&mut hasher);
        let digest = hasher.finish();
        let (first, first_by) = *self.asked(key, request, at, by).answer.get_or_insert((digest, by));
        if first != digest {
            let what = format!(
                "the answer (status {}) differs from the one that {} got to the same request: {}",
                told.status,
                self.pointer(first_by),
                told.body.as_str()
            );
            self.breach(Breach::WrongReplay, by, Some(key), told.index, what);
        }
    }
}

/// Whether a refusal is a decision of the bank, which is in the ledger like a success.
fn is_decision(code: &str) -> bool {
    let of_the_key =
        |rejection: &Rejection| matches!(rejection, Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced);
    Rejection::from_code(code).is_some_and(|rejection| !of_the_key(&rejection))
}

/// What a fence was told of a key that had been used before it.
fn late_fence(told: &Told) -> Option<KeyBody> {
    parse::<KeyBody>(told.body.as_str()).ok().filter(|body| body.state != "fenced")
}

fn said(decision: &Decision<'_>, index: LogIndex) -> String {
    let node = decision.told.node.as_deref().unwrap_or("the node");
    let request = words::request(&decision.proposal.request);
    let outcome = decision.rejection.map_or("is done".to_owned(), |code| format!("is refused as {code}"));
    format!("{node} said at {} that {request} {outcome}, as entry {index}", decision.at)
}
