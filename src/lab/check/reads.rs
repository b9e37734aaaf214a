//! Answers to reads against the ledger as of the index that they name.

use super::answers::{AccountBody, KeyBody, PaymentBody, PaymentsBody, parse};
use super::fact::Held;
use super::judge::Judge;
use super::model::Shown;
use super::order::Reference;
use super::report::Breach;
use crate::history::{Consistency, Micros, Operation, Read, Subject, Told};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{AccountId, IdempotencyKey, PaymentId};

const NOT_FOUND: u16 = 404;

/// A breach that a read shows.
pub(super) type Wrong = (Breach, String);

impl Judge<'_> {
    /// Judges a read that was answered.
    pub(super) fn read(&mut self, operation: &Operation, read: &Read, at: Micros, told: &Told, by: Reference) {
        self.report.counts.reads += 1;
        let key = if let Subject::Key(key) = &read.of { Some(key) } else { None };
        let Some(as_of) = told.applied_index.or(told.index) else {
            let what = "the answer does not say as of which index it is".to_owned();
            self.breach(Breach::WrongIndex, by, key, None, what);
            return;
        };
        if let Some(wrong) = self.wrong_index(read, as_of) {
            self.breach(Breach::WrongIndex, by, key, Some(as_of), wrong);
            return;
        }
        self.order().told(at, as_of, by);
        if read.consistency == Consistency::Linearizable {
            self.fresh_read(operation.invoke.at, as_of, by);
        }
        if let Err((breach, what)) = self.content(read, as_of, told) {
            let node = told.node.as_deref().unwrap_or("the node");
            let what = format!("{node} answered at {at} as of entry {as_of}: {what}");
            self.breach(breach, by, key, Some(as_of), what);
        }
    }

    fn wrong_index(&self, read: &Read, as_of: LogIndex) -> Option<String> {
        let last = self.truth.last();
        if as_of > last {
            return Some(format!("the answer is as of entry {as_of}, but the ledgers end at {last}"));
        }
        let wanted = read.min_index.filter(|wanted| as_of < *wanted)?;
        Some(format!("the answer is as of entry {as_of}, but at least {wanted} was asked for"))
    }

    fn content(&self, read: &Read, as_of: LogIndex, told: &Told) -> Result<(), Wrong> {
        match &read.of {
            Subject::Account(id) => self.account(id, as_of, told),
            Subject::Key(key) => self.key(key, as_of, told),
            Subject::Payment(id) => self.payment(id, as_of, told),
            Subject::Payments { account, limit } => self.payments(account.as_ref(), *limit, as_of, told),
        }
    }

    fn account(&self, id: &AccountId, as_of: LogIndex, told: &Told) -> Result<(), Wrong> {
        if told.status == NOT_FOUND {
            return match self.truth.model.shown(id, as_of) {
                None => Ok(()),
                Some(_) => Err(wrong(format!("it says that account {id} does not exist, but it did by then"))),
            };
        }
        let body: AccountBody = parse(told.body.as_str()).map_err(wrong)?;
        // The balances may be of a later moment than the one that the read waited for, and say of which.
        if body.index < as_of || body.index > self.truth.last() {
            let what = format!("the balances of {id} claim to be as of entry {}", body.index);
            return Err((Breach::WrongIndex, what));
        }
        let Some(shown) = self.truth.model.shown(id, body.index) else {
            return Err(wrong(format!("it shows account {id}, which did not exist as of entry {}", body.index)));
        };
        let said = Shown { overdraft: body.overdraft, status: body.status, money: body.money() };
        if body.id != id.as_str() || said != shown {
            let Shown { overdraft, status, money } = shown;
            return Err(wrong(format!(
                "account {id} as of entry {} is {status} with overdraft {overdraft} and these balances (posted, held): \
                 {money:?}; but the answer is {}",
                body.index,
                told.body.as_str()
            )));
        }
        Ok(())
    }

    fn key(&self, key: &IdempotencyKey, as_of: LogIndex, told: &Told) -> Result<(), Wrong> {
        let body: KeyBody = parse(told.body.as_str()).map_err(wrong)?;
        if body.as_of_index != Some(as_of) {
            let what = format!("its header says entry {as_of} and its body {:?}", body.as_of_index);
            return Err((Breach::WrongIndex, what));
        }
        let index = self.truth.index_of(key);
        let stands = index.filter(|index| *index <= as_of);
        match (body.state.as_str(), stands) {
            (state @ ("committed" | "fenced"), Some(index)) => self.key_holds(key, state, index, &body),
            (state @ ("committed" | "fenced"), None) => {
                let truly = match index {
                    Some(index) => format!("it came with entry {index}"),
                    None => "it is in no ledger".to_owned(),
                };
                let breach = if index.is_some() { Breach::WrongRead } else { Breach::LostAck };
                Err((breach, format!("it says that the key is {state}, but {truly}")))
            }
            (state @ ("unknown" | "in_flight"), Some(index)) => {
                let entry = self.truth.describe(index);
                Err((Breach::WronglyUnknown, format!("it says that the key is {state}, but {entry}")))
            }
            ("unknown" | "in_flight", None) => Ok(()),
            (other, _) => Err(wrong(format!("no key is {other:?}"))),
        }
    }

    /// Whether a body shows what a key holds, in the entry at `index`.
    pub(super) fn key_holds(
        &self,
        key: &IdempotencyKey,
        state: &str,
        index: LogIndex,
        body: &KeyBody,
    ) -> Result<(), Wrong> {
        let Some(held) = self.truth.held_by(key) else { return Ok(()) };
        let truth = self.truth;
        let differs = match held {
            held if (state == "fenced") != matches!(held, Held::Fence) => Some(format!("it says that it is {state}")),
            Held::Payment(_, id, outcome) => body
                .payment
                .as_ref()
                .map(|payment| payment.differs_from_decision(index, (id, outcome), truth))
                .unwrap_or_else(|| Some("it does not show the payment".to_owned())),
            Held::Change(fact) => {
                body.change.as_ref().and_then(|change| change.differs_from_change(index, fact, truth))
            }
            Held::Account(fact) => body.account.as_ref().and_then(|account| account.differs(index, fact, truth)),
            Held::Batch(_) | Held::Fence => None,
        };
        differs.map_or(Ok(()), |what| Err(wrong(format!("{what}; {}", truth.describe(index)))))
    }

    fn payment(&self, id: &str, as_of: LogIndex, told: &Told) -> Result<(), Wrong> {
        let parsed = PaymentId::parse(id).ok();
        let index = parsed.map(|id| id.index()).unwrap_or_default();
        let stands = parsed.filter(|id| index <= as_of && self.truth.model.payment(*id).is_some());
        if told.status == NOT_FOUND {
            let Some(_) = stands else { return Ok(()) };
            let what = format!("it says that there is no payment {id}, but {}", self.truth.describe(index));
            return Err(wrong(what));
        }
        let body: PaymentBody = parse(told.body.as_str()).map_err(wrong)?;
        let Some(id) = stands else {
            return Err((Breach::LostAck, format!("it shows payment {id}, which is in no ledger up to there")));
        };
        body.differs_from_standing(id, as_of, self.truth).map_or(Ok(()), |what| Err(wrong(what)))
    }

    /// A page shows the newest payments without a gap. It may end early, but only the last one has no cursor.
    fn payments(&self, account: Option<&AccountId>, limit: u32, as_of: LogIndex, told: &Told) -> Result<(), Wrong> {
        let body: PaymentsBody = parse(told.body.as_str()).map_err(wrong)?;
        if body.payments.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(wrong(format!("it shows {} payments where {limit} were asked for", body.payments.len())));
        }
        let mut newest = self.payments_down_from(account, as_of);
        for payment in &body.payments {
            let Some(id) = newest.next() else {
                return Err(wrong(format!("it shows payment {} where the list should have ended", payment.id)));
            };
            if let Some(what) = payment.differs_from_standing(id, as_of, self.truth) {
                return Err(wrong(format!("of the payment that should come next in the list, {what}")));
            }
        }
        match newest.next().filter(|_| body.next_cursor.is_none()) {
            Some(id) => Err(wrong(format!("the list ends without {}", self.truth.describe(id.index())))),
            None => Ok(()),
        }
    }

    fn payments_down_from(&self, account: Option<&AccountId>, as_of: LogIndex) -> impl Iterator<Item = PaymentId> {
        let truth = self.truth;
        let number = account.map(|account| truth.model.find(account));
        let concerns = move |id: &PaymentId| {
            let parties = truth.model.payment(*id).map(|known| [known.from, known.to]);
            number.is_none_or(|number| parties.is_some_and(|parties| parties.map(Some).contains(&number)))
        };
        let facts = (1..=as_of.0).rev().filter_map(|index| truth.fact(LogIndex(index)));
        facts.flat_map(|fact| fact.payments().rev().map(|(id, _)| id)).filter(concerns)
    }
}

const fn wrong(what: String) -> Wrong {
    (Breach::WrongRead, what)
}
