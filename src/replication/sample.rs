//! Chains of entries for tests of what stores and reads them: every kind of entry, decided by a real bank.

use std::sync::Arc;

use super::{
    Body, Configuration, Entry, Epoch, LogIndex, NodeId, Persist, Position, StoreId, Timestamp, UnchainedEntry, Voter,
};
use crate::domain::{
    AccountChangeKind, AccountId, AccountStatus, Bank, BatchItem, BatchRequest, Capture, Currency, IdempotencyKey,
    KeyHolders, MinorUnits, OperationRequest, OrderCap, OrderId, Overdraft, PaymentChangeKind, PaymentId,
    PaymentRequest, Proposal, Stamp,
};

/// When the first entry could have been appended.
const FIRST_MS: u64 = 1_700_000_000_000;

/// A growing log with the bank that decides it.
#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) bank: Bank,
    last: Position,
}

impl Chain {
    /// A log that begins as every log does, with its first epoch and its first configuration.
    pub(crate) fn begun() -> Self {
        let mut chain = Self::default();
        chain.start_epoch(1);
        let voter = Voter { store_id: StoreId(7), peer_url: "http://127.0.0.1:7201".to_owned() };
        let voters = [(node("node1"), voter)].into_iter().collect();
        chain.append(Body::Configuration(Configuration { voters }));
        chain
    }

    /// A log of this many entries, nearly all of them plain payments among a hundred accounts.
    pub(crate) fn of_payments(entries: usize) -> Self {
        let mut chain = Self::begun();
        while chain.entries.len() < entries {
            chain.pay();
        }
        chain
    }

    pub(crate) fn last(&self) -> Position {
        self.last
    }

    pub(crate) fn start_epoch(&mut self, epoch: u64) {
        self.last.epoch = Epoch(epoch);
        self.append(Body::EpochStart { leader: node("node1") });
    }

    /// Appends a payment that succeeds.
    pub(crate) fn pay(&mut self) {
        let number = self.last.index.0 + 1;
        let to = format!("customer-{}", number * 7919 % 100);
        self.request(payment("external:card", &to, 100, None, None));
    }

    /// Appends whatever the bank decides on a request, under a key of its own.
    pub(crate) fn request(&mut self, request: OperationRequest) {
        let key = format!("key-{:08}", self.last.index.0 + 1);
        let key = IdempotencyKey::parse(&key).expect("printable");
        let (operation, _) = self.bank.execute(self.next_stamp(), Proposal { key, request }, &KeyHolders::new());
        self.append(Body::Operation(operation));
    }

    /// What the next entry will be stamped with.
    fn next_stamp(&self) -> Stamp {
        let index = self.last.index.0 + 1;
        Stamp { timestamp_ms: FIRST_MS + index * 10, epoch: self.last.epoch.0, index }
    }

    /// The id of the payment that was appended last.
    pub(crate) fn last_payment(&self) -> PaymentId {
        let last = self.entries.last().expect("something was appended");
        PaymentId::derive(last.stamp(), 0)
    }

    /// Appends every kind of change of a payment, and what comes with holds, orders, batches and fences.
    pub(crate) fn one_of_each_change(&mut self) {
        let change = |payment, change| OperationRequest::PaymentChange { payment, change };
        let order = OrderCap { id: OrderId::parse("#1001").expect("an order id"), total: MinorUnits::new(50) };
        let held = |amount, expires_in_s| PaymentRequest {
            capture: Capture::Manual { expires_in_s },
            order: Some(Box::new(order.clone())),
            ..plain("a", "b", amount)
        };
        self.request(OperationRequest::Payment(held(30, 60)));
        let id = self.last_payment();
        self.request(change(id, PaymentChangeKind::Capture(Some(MinorUnits::new(10)))));
        self.request(change(id, PaymentChangeKind::Capture(Some(MinorUnits::new(1_000)))));
        self.request(change(id, PaymentChangeKind::Void));
        self.request(change(id, PaymentChangeKind::Refund(None)));
        self.request(change(PaymentId::derive(Stamp::default(), 0), PaymentChangeKind::Void));
        self.request(OperationRequest::Payment(PaymentRequest { opens_accounts: true, ..held(5, 90) }));
        self.request(OperationRequest::Payment(held(1, 0)));
        let stamp = self.next_stamp();
        let (_, first) = self.bank.first_expiry().expect("something is held");
        let (expiry, _) = self.bank.expire(stamp, first).expect("a hold of no seconds is over at once");
        self.append(Body::Operation(expiry));
        let items = vec![
            BatchItem { key: None, request: plain("a", "b", 1) },
            BatchItem { key: Some(IdempotencyKey::parse("item").expect("printable")), request: held(2, 60) },
            BatchItem { key: None, request: plain("nobody", "b", 1) },
        ];
        self.request(OperationRequest::Batch(BatchRequest { atomic: false, items: items.clone() }));
        self.request(OperationRequest::Batch(BatchRequest { atomic: true, items }));
        self.request(OperationRequest::Fence);
        let status = |status| AccountChangeKind::Change { overdraft: None, status: Some(status) };
        self.request(OperationRequest::Account { account: account("b"), change: status(AccountStatus::Frozen) });
        self.request(OperationRequest::Account { account: account("b"), change: status(AccountStatus::Closed) });
    }

    /// Appends one entry of every kind and outcome.
    pub(crate) fn one_of_each(&mut self) {
        let opened = account("shop:1");
        let open = |overdraft| AccountChangeKind::Open(overdraft);
        let limit = Overdraft::Limit(MinorUnits::new(500));
        self.request(OperationRequest::Account { account: opened.clone(), change: open(limit) });
        self.request(OperationRequest::Account { account: opened.clone(), change: open(Overdraft::None) });
        let raise = AccountChangeKind::Change { overdraft: Some(Overdraft::Unlimited), status: None };
        self.request(OperationRequest::Account { account: opened, change: raise });
        self.request(OperationRequest::Account { account: account("nobody"), change: raise });
        self.request(payment("external:card", "a", i64::MAX, None, None));
        self.request(payment("external:card", "a", 1, None, None));
        self.request(payment("a", "b", 1, Some(""), None));
        self.request(payment("a", "b", 2, Some("ein \u{1F600} \"Satz\"\n\0"), Some(r#"{"a":[1,2.50,null]}"#)));
        self.request(payment("nobody", "b", 3, Some("refused"), Some("{}")));
    }

    fn append(&mut self, body: Body) {
        let index = self.last.index.next();
        let timestamp = Timestamp(FIRST_MS + index.0 * 10);
        let entry = UnchainedEntry { index, epoch: self.last.epoch, timestamp, body }.chain(&self.last.hash);
        self.last = entry.position();
        self.entries.push(Arc::new(entry));
    }

    /// The write that stores the entries after `after`.
    pub(crate) fn persist_after(&self, after: LogIndex) -> Persist {
        let entries = self.entries.iter().filter(|entry| entry.index > after).cloned().collect();
        Persist { entries, ..Persist::default() }
    }
}

pub(crate) fn node(id: &str) -> NodeId {
    NodeId::parse(id).expect("a node id")
}

pub(crate) fn account(id: &str) -> AccountId {
    AccountId::parse(id).expect("an account id")
}

/// A request to pay in euros.
pub(crate) fn payment(
    from: &str,
    to: &str,
    amount: i64,
    description: Option<&str>,
    metadata: Option<&str>,
) -> OperationRequest {
    OperationRequest::Payment(PaymentRequest {
        description: description.map(Into::into),
        metadata: metadata.map(Into::into),
        ..plain(from, to, amount)
    })
}

fn plain(from: &str, to: &str, amount: i64) -> PaymentRequest {
    let currency = Currency::parse("EUR").expect("a currency");
    PaymentRequest::plain(account(from), account(to), MinorUnits::new(amount), currency)
}
