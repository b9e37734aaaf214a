//! The workload in which every key is sent by all callers at once: each key must be applied once, and all its answers must be
//! the same bytes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::plan::Plan;
use super::tally::Verdict;
use quorapay_core::domain::MinorUnits;

/// An answer to one of the requests under a key.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// Whether it says that it repeats the answer to an earlier request.
    pub(super) replayed: bool,
}

/// A key of which requests are under way. There are at most as many as callers, and one more.
#[derive(Debug, Default)]
struct OpenKey {
    ended: u64,
    first_answers: u64,
    body: Option<Vec<u8>>,
    unequal: bool,
    paid: bool,
}

#[derive(Debug, Default)]
struct Keys {
    open: BTreeMap<u64, OpenKey>,
    counts: KeyCounts,
}

/// What became of the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct KeyCounts {
    /// Keys that were sent.
    pub(super) keys: u64,
    /// Keys of which at least one caller was answered that the payment is made.
    pub(super) paid: u64,
    /// Keys under which more than one answer claims to be the first.
    pub(super) applied_twice: u64,
    /// Keys whose answers differ.
    pub(super) unequal: u64,
}

/// Follows the keys of all callers of all threads.
#[derive(Debug)]
pub(super) struct SameKey {
    /// Requests under each key.
    callers: u64,
    keys: Mutex<Keys>,
}

impl SameKey {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { callers: u64::from(plan.connections), keys: Mutex::default() }
    }

    /// The key's number, from the number of the request.
    pub(super) fn key_of(&self, request: u64) -> u64 {
        request / self.callers
    }

    /// A request has ended.
    pub(super) fn ended(&self, request: u64, verdict: &Verdict, answer: Option<Answer>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.key_of(request);
        let key = keys.open.entry(number).or_default();
        key.ended += 1;
        key.paid |= *verdict == Verdict::Ok;
        if let Some(answer) = answer {
            key.first_answers += u64::from(!answer.replayed);
            match &key.body {
                Some(body) => key.unequal |= *body != answer.body,
                None => key.body = Some(answer.body),
            }
        }
        if key.ended == self.callers {
            let key = keys.open.remove(&number).expect("it was just found");
            keys.counts.add(&key);
        }
    }

    /// What became of all keys, at the end of the run.
    pub(super) fn counts(&self) -> KeyCounts {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for key in std::mem::take(&mut keys.open).into_values() {
            keys.counts.add(&key);
        }
        keys.counts
    }
}

impl KeyCounts {
    fn add(&mut self, key: &OpenKey) {
        self.keys += 1;
        self.paid += u64::from(key.paid);
        self.applied_twice += u64::from(key.first_answers > 1);
        self.unequal += u64::from(key.unequal);
    }
}

/// The keys, and what the receiving account says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct KeyCheck {
    #[serde(flatten)]
    pub(super) counts: KeyCounts,
    /// Payments that have reached the account; `None` if it could not be read.
    pub(super) received: Option<u64>,
}

impl KeyCheck {
    /// From the account's balance at the end.
    pub(super) fn new(counts: KeyCounts, balance: Option<MinorUnits>, amount: MinorUnits) -> Self {
        let received = balance.and_then(|balance| u64::try_from(balance.get() / amount.get()).ok());
        Self { counts, received }
    }

    /// Whether each key was applied at most once, each paid one exactly once, and all answers to it were equal.
    pub(super) fn is_kept(&self) -> bool {
        let counts = &self.counts;
        // A key whose outcome no caller learnt may have been applied.
        let received = self.received.is_some_and(|received| (counts.paid..=counts.keys).contains(&received));
        counts.applied_twice == 0 && counts.unequal == 0 && received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request by its number, how it ended, and its answer, if it had one: the body, and whether it was a replay.
    type Ended<'a> = (u64, Verdict, Option<(&'a str, bool)>);

    fn followed(requests: &[Ended<'_>]) -> KeyCounts {
        let keys = SameKey { callers: 3, keys: Mutex::default() };
        for (number, verdict, answer) in requests {
            let answer = answer.map(|(body, replayed)| Answer { body: body.as_bytes().to_vec(), replayed });
            keys.ended(*number, verdict, answer);
        }
        keys.counts()
    }

    #[test]
    fn a_key_is_good_if_one_answer_is_the_first_and_all_are_equal() {
        let good = [
            (1, Verdict::Ok, Some(("a", false))),
            (0, Verdict::Ok, Some(("a", true))),
            (2, Verdict::Unknown("timed_out".to_owned()), None),
            (3, Verdict::Ok, Some(("b", true))),
        ];
        assert_eq!(followed(&good), KeyCounts { keys: 2, paid: 2, applied_twice: 0, unequal: 0 });
    }

    #[test]
    fn a_key_that_was_applied_twice_and_one_with_different_answers_are_found() {
        let bad = [
            (0, Verdict::Ok, Some(("a", false))),
            (1, Verdict::Ok, Some(("a", false))),
            (4, Verdict::Ok, Some(("b", false))),
            (5, Verdict::Ok, Some(("c", true))),
        ];
        let counts = followed(&bad);
        assert_eq!((counts.applied_twice, counts.unequal), (1, 1));
    }

    #[test]
    fn the_account_must_have_received_every_paid_key_and_no_more() {
        let counts = KeyCounts { keys: 12, paid: 10, applied_twice: 0, unequal: 0 };
        let kept =
            |balance: Option<i64>| KeyCheck::new(counts, balance.map(MinorUnits::new), MinorUnits::new(100)).is_kept();
        assert!(kept(Some(1_000)) && kept(Some(1_200)));
        assert!(!kept(Some(900)) && !kept(Some(1_300)) && !kept(None));
    }
}
