//! Compares answers to reads with the ledger as of the index that they name.

use super::answers::{AccountBody, KeyBody, PaymentBody, PaymentsBody, parse};
use super::fact::KeyContent;
use super::judge::Judge;
use super::model::AccountAsOf;
use super::order::OperationRef;
use super::report::Breach;
use crate::history::{Consistency, Micros, Operation, Read, Response, Subject};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{AccountId, IdempotencyKey, PaymentId};

const NOT_FOUND: u16 = 404;

/// A breach that a read shows, with its details.
pub(super) type BreachDetail = (Breach, String);

impl Judge<'_> {
    /// Checks a read that was answered.
    pub(super) fn read(
        &mut self,
        operation: &Operation,
        read: &Read,
        at: Micros,
        response: &Response,
        by: OperationRef,
    ) {
        self.report.counts.reads += 1;
        let key = if let Subject::Key(key) = &read.subject { Some(key) } else { None };
        let Some(as_of) = response.applied_index.or(response.index) else {
            let what = "the answer does not say as of which index it is".to_owned();
            self.breach(Breach::WrongIndex, by, key, None, what);
            return;
        };
        if let Some(wrong) = self.wrong_index(read, as_of) {
            self.breach(Breach::WrongIndex, by, key, Some(as_of), wrong);
            return;
        }
        self.order().observe(at, as_of, by);
        if read.consistency == Consistency::Linearizable {
            self.linearizable_read(operation.invoke.at, as_of, by);
        }
        if let Err((breach, what)) = self.content(read, as_of, response) {
            let node = response.node.as_deref().unwrap_or("the node");
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

    fn content(&self, read: &Read, as_of: LogIndex, response: &Response) -> Result<(), BreachDetail> {
        match &read.subject {
            Subject::Account(id) => self.account(id, as_of, response),
            Subject::Key(key) => self.key(key, as_of, response),
            Subject::Payment(id) => self.payment(id, as_of, response),
            Subject::Payments { account, limit } => self.payments(account.as_ref(), *limit, as_of, response),
        }
    }

    fn account(&self, id: &AccountId, as_of: LogIndex, response: &Response) -> Result<(), BreachDetail> {
        if response.status == NOT_FOUND {
            return match self.truth.model.account_as_of(id, as_of) {
                None => Ok(()),
                Some(_) => Err(wrong(format!("it says that account {id} does not exist, but it did by then"))),
            };
        }
        let body: AccountBody = parse(response.body.as_str()).map_err(wrong)?;
        // The balances may be newer than the index that the read waited for; the body names their index.
        if body.index < as_of || body.index > self.truth.last() {
            let what = format!("the balances of {id} claim to be as of entry {}", body.index);
            return Err((Breach::WrongIndex, what));
        }
        let Some(shown) = self.truth.model.account_as_of(id, body.index) else {
            return Err(wrong(format!("it shows account {id}, which did not exist as of entry {}", body.index)));
        };
        let said = AccountAsOf { overdraft: body.overdraft, status: body.status, money: body.money() };
        if body.id != id.as_str() || said != shown {
            let AccountAsOf { overdraft, status, money } = shown;
            return Err(wrong(format!(
                "account {id} as of entry {} is {status} with overdraft {overdraft} and these balances (posted, held): \
                 {money:?}; but the answer is {}",
                body.index,
                response.body.as_str()
            )));
        }
        Ok(())
    }

    fn key(&self, key: &IdempotencyKey, as_of: LogIndex, response: &Response) -> Result<(), BreachDetail> {
        let body: KeyBody = parse(response.body.as_str()).map_err(wrong)?;
        if body.as_of_index != Some(as_of) {
            let what = format!("its header says entry {as_of} and its body {:?}", body.as_of_index);
            return Err((Breach::WrongIndex, what));
        }
        let index = self.truth.index_of(key);
        let committed = index.filter(|index| *index <= as_of);
        match (body.state.as_str(), committed) {
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

    /// Whether a body matches the key's content, in the entry at `index`.
    pub(super) fn key_holds(
        &self,
        key: &IdempotencyKey,
        state: &str,
        index: LogIndex,
        body: &KeyBody,
    ) -> Result<(), BreachDetail> {
        let Some(held) = self.truth.content_of(key) else { return Ok(()) };
        let truth = self.truth;
        let differs = match held {
            held if (state == "fenced") != matches!(held, KeyContent::Fence) => {
                Some(format!("it says that it is {state}"))
            }
            KeyContent::Payment(_, id, outcome) => body
                .payment
                .as_ref()
                .map(|payment| payment.differs_from_decision(index, (id, outcome), truth))
                .unwrap_or_else(|| Some("it does not show the payment".to_owned())),
            KeyContent::Change(fact) => {
                body.change.as_ref().and_then(|change| change.differs_from_change(index, fact, truth))
            }
            KeyContent::Account(fact) => body.account.as_ref().and_then(|account| account.differs(index, fact, truth)),
            KeyContent::Batch(_) | KeyContent::Fence => None,
        };
        differs.map_or(Ok(()), |what| Err(wrong(format!("{what}; {}", truth.describe(index)))))
    }

    fn payment(&self, id: &str, as_of: LogIndex, response: &Response) -> Result<(), BreachDetail> {
        let parsed = PaymentId::parse(id).ok();
        let index = parsed.map(|id| id.index()).unwrap_or_default();
        let committed = parsed.filter(|id| index <= as_of && self.truth.model.payment(*id).is_some());
        if response.status == NOT_FOUND {
            let Some(_) = committed else { return Ok(()) };
            let what = format!("it says that there is no payment {id}, but {}", self.truth.describe(index));
            return Err(wrong(what));
        }
        let body: PaymentBody = parse(response.body.as_str()).map_err(wrong)?;
        let Some(id) = committed else {
            return Err((Breach::LostAck, format!("it shows payment {id}, which is in no ledger up to there")));
        };
        body.differs_from_amounts(id, as_of, self.truth).map_or(Ok(()), |what| Err(wrong(what)))
    }

    /// A page has the newest payments without a gap. It may be short, but only the last page has no cursor.
    fn payments(
        &self,
        account: Option<&AccountId>,
        limit: u32,
        as_of: LogIndex,
        response: &Response,
    ) -> Result<(), BreachDetail> {
        let body: PaymentsBody = parse(response.body.as_str()).map_err(wrong)?;
        if body.payments.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(wrong(format!("it shows {} payments where {limit} were asked for", body.payments.len())));
        }
        let mut newest = self.payments_down_from(account, as_of);
        for payment in &body.payments {
            let Some(id) = newest.next() else {
                return Err(wrong(format!("it shows payment {} where the list should have ended", payment.id)));
            };
            if let Some(what) = payment.differs_from_amounts(id, as_of, self.truth) {
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

const fn wrong(what: String) -> BreachDetail {
    (Breach::WrongRead, what)
}
