//! Chains of entries for tests of what stores and reads them: every kind of entry, decided by a real bank.

use std::sync::Arc;

use super::{
    Body, Configuration, Entry, Epoch, LogIndex, NodeId, Persist, Position, StoreId, Timestamp, UnchainedEntry, Voter,
};
use crate::domain::{
    AccountChangeKind, AccountId, Bank, Currency, IdempotencyKey, MinorUnits, OperationRequest, Overdraft,
    PaymentRequest, Proposal,
};

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
        let operation = self.bank.decide(Proposal { key, request });
        self.bank.apply(&operation).expect("it was decided by this very bank");
        self.append(Body::Operation(operation));
    }

    /// Appends one entry of every kind and outcome.
    pub(crate) fn one_of_each(&mut self) {
        let opened = account("shop:1");
        let open = |overdraft| AccountChangeKind::Open(overdraft);
        let limit = Overdraft::Limit(MinorUnits::new(500));
        self.request(OperationRequest::Account { account: opened.clone(), change: open(limit) });
        self.request(OperationRequest::Account { account: opened.clone(), change: open(Overdraft::None) });
        let raise = AccountChangeKind::SetOverdraft(Overdraft::Unlimited);
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
        let timestamp = Timestamp(1_700_000_000_000 + index.0 * 10);
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
        from: account(from),
        to: account(to),
        amount: MinorUnits::new(amount),
        currency: Currency::parse("EUR").expect("a currency"),
        description: description.map(Into::into),
        metadata: metadata.map(Into::into),
    })
}
