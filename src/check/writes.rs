//! Answers to writes against the entries that they name.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::answers::{ChangedBody, PaymentBody, RefusalBody, parse};
use super::judge::Judge;
use super::order::Reference;
use super::report::Breach;
use super::truth::{Fact, What, told_request};
use crate::domain::{IdempotencyKey, OperationRequest, Proposal, Rejection};
use crate::history::{Ending, Micros, Operation, Told};
use crate::replication::LogIndex;

/// The bank's word against a write: as final as a success, and in the ledger like one.
const CONFLICT: u16 = 409;
/// What a key is answered with that stands for another request.
const KEY_REUSED: &str = "idempotency_key_reused";

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
                asked.may_apply = true;
                self.report.counts.writes += 1;
                self.report.counts.replays += u64::from(told.replayed);
                self.decision(&Decision { proposal, told, rejection: None, at: *at, by });
            }
            Ending::Refused { at, code, told: Some(told) } if is_decision(told, code) => {
                asked.may_apply = true;
                self.report.counts.rejected += 1;
                self.decision(&Decision { proposal, told, rejection: Some(code), at: *at, by });
            }
            Ending::Refused { code, .. } => {
                asked.refused.get_or_insert_with(|| (by, code.as_str().into()));
                self.report.counts.refused += 1;
                if code == KEY_REUSED {
                    self.reused(key, request, by);
                }
            }
        }
    }

    /// Whoever is told that a key stands for another request must find another request under it.
    fn reused(&mut self, key: &IdempotencyKey, request: &OperationRequest, by: Reference) {
        let index = self.truth.index_of(key);
        let stands = index.and_then(|index| self.truth.fact(index)).and_then(Fact::fingerprint);
        let what = match (index, stands) {
            (Some(index), Some(stands)) if stands == request.fingerprint() => {
                format!("it was told that its key stands for another request, but {}", self.truth.describe(index))
            }
            (Some(_), _) => return,
            (None, _) => "it was told that its key stands for another request, but the key is in no ledger".to_owned(),
        };
        self.breach(Breach::WrongRefusal, by, Some(key), index, what);
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
        let Some(fact) = self.truth.fact(index).filter(|fact| fact.key() == Some(key)) else {
            let elsewhere = match self.truth.index_of(key) {
                Some(at) => format!("the key stands at entry {at} instead"),
                None => "the key is in no ledger".to_owned(),
            };
            return Some((Breach::LostAck, format!("but {}, and {elsewhere}", self.truth.describe(index))));
        };
        if fact.fingerprint() != Some(request.fingerprint()) {
            return Some((Breach::WrongRequest, format!("but {}", self.truth.describe(index))));
        }
        if fact.rejection().map(Rejection::code) != decision.rejection {
            return Some((Breach::WrongAnswer, format!("but {}", self.truth.describe(index))));
        }
        if decision.told.epoch.is_some_and(|epoch| epoch < fact.epoch) {
            return Some((Breach::WrongAnswer, format!("but the entry is of epoch {}", fact.epoch)));
        }
        self.compare_body(decision, index, fact).map(|what| (Breach::WrongAnswer, what))
    }

    fn compare_body(&self, decision: &Decision<'_>, index: LogIndex, fact: &Fact) -> Option<String> {
        let body = decision.told.body.as_str();
        let differs = |payment: &PaymentBody| payment.differs(index, fact, self.truth);
        let compared = match (&fact.what, decision.rejection) {
            (What::Payment(_), None) => parse::<PaymentBody>(body).map(|payment| differs(&payment)),
            (What::Payment(_), Some(_)) => {
                parse::<RefusalBody>(body).map(|refusal| refusal.payment.as_ref().and_then(differs))
            }
            (What::Account(change), None) => {
                parse::<ChangedBody>(body).map(|changed| changed.differs(index, change, self.truth))
            }
            (What::Account(_), Some(_)) | (What::Protocol, _) => return None,
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

fn is_decision(told: &Told, code: &str) -> bool {
    told.status == CONFLICT && Rejection::from_code(code).is_some()
}

fn said(decision: &Decision<'_>, index: LogIndex) -> String {
    let node = decision.told.node.as_deref().unwrap_or("the node");
    let request = told_request(&decision.proposal.request);
    let outcome = decision.rejection.map_or("is done".to_owned(), |code| format!("is refused as {code}"));
    format!("{node} said at {} that {request} {outcome}, as entry {index}", decision.at)
}
