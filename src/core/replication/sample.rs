//! Sample logs for the tests of the code that stores and reads entries: every kind of entry, decided by a real bank.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Configuration, Entry, EntryBody, NodeId, Persist, Position, StoreId, UnchainedEntry, Voter};
use crate::domain::{
    AccountChangeKind, AccountId, AccountPrefix, AccountStatus, ApiKey, ApiKeyChangeKind, ApiKeyGrant, ApiKeyId,
    ApiKeyName, Bank, BatchItem, BatchRequest, Capture, Currency, Epoch, IdempotencyKey, KeyHolders, LogIndex,
    MinorUnits, OperationRequest, OrderCap, OrderId, Overdraft, PaymentChangeKind, PaymentId, PaymentRequest,
    PaymentState, Proposal, RuleVersion, Stamp, Timestamp,
};

/// A growing log with the bank that decides it.
#[derive(Default)]
pub struct Chain {
    /// The entries, from index 1.
    pub entries: Vec<Arc<Entry>>,
    /// The bank that decided them. It forgets nothing.
    pub bank: Bank,
    last: Position,
    /// Who asks for what is appended from now on.
    pub principal: Option<ApiKeyId>,
    /// Milliseconds added to the ledger's time so far.
    waited_ms: u64,
}

impl Chain {
    /// A log with the start of its first epoch and its first configuration, as every log begins.
    pub fn begun() -> Self {
        let mut chain = Self::default();
        chain.start_epoch(1);
        let voter = Voter { store_id: StoreId(7), peer_url: "http://127.0.0.1:7201".to_owned() };
        let voters = [(node("node1"), voter)].into_iter().collect();
        chain.append(EntryBody::Configuration(Configuration { voters }));
        chain
    }

    /// A log with this number of entries, most of them plain payments to a hundred accounts.
    pub fn of_payments(entries: usize) -> Self {
        let mut chain = Self::begun();
        while chain.entries.len() < entries {
            chain.pay();
        }
        chain
    }

    /// The position of the last entry.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Appends the `EpochStart` of an epoch; what follows is of that epoch.
    pub fn start_epoch(&mut self, epoch: u64) {
        self.start_epoch_by(epoch, RuleVersion::FIRST);
    }

    /// The same for an epoch by these rules, which no bank needs to know.
    pub fn start_epoch_by(&mut self, epoch: u64, rules: RuleVersion) {
        self.last.epoch = Epoch(epoch);
        self.append(EntryBody::EpochStart { leader: node("node1"), rules });
    }

    /// Appends a payment that succeeds.
    pub fn pay(&mut self) {
        let number = self.last.index.0 + 1;
        let to = format!("customer-{}", number * 7919 % 100);
        self.request(payment("external:card", &to, 100, None, None));
    }

    /// Appends the bank's decision on a request, under a new key.
    pub fn request(&mut self, request: OperationRequest) {
        let key = format!("key-{:08}", self.last.index.0 + 1);
        self.request_under(&key, request);
    }

    /// Appends the bank's decision on a request.
    pub fn request_under(&mut self, key: &str, request: OperationRequest) {
        if let OperationRequest::PaymentChange { payment, .. } = &request {
            self.recall(*payment);
        }
        let holders = self.holders(&request);
        let (operation, _) = self.bank.execute(self.next_stamp(), Proposal { key: self::key(key), request }, &holders);
        self.append(EntryBody::Operation(operation));
    }

    /// Brings a payment into the bank that has not changed since it was decided.
    fn recall(&mut self, payment: PaymentId) {
        let decided_at = usize::try_from(payment.index().0).expect("an index of a test").checked_sub(1);
        let entry = decided_at.and_then(|at| self.entries.get(at));
        let entry = entry.filter(|entry| PaymentId::derive(entry.stamp(), payment.item()) == payment);
        let decided = entry.and_then(|entry| entry.operation()?.payments().nth(usize::from(payment.item())));
        if let Some(state) = decided.and_then(|decided| PaymentState::decided(decided.request, decided.outcome)) {
            self.bank.recall_payment(payment, state);
        }
    }

    fn holders(&self, request: &OperationRequest) -> KeyHolders {
        let OperationRequest::Batch(batch) = request else { return KeyHolders::new() };
        let keys: BTreeSet<&IdempotencyKey> = batch.items.iter().filter_map(|item| item.key.as_ref()).collect();
        let mut holders = KeyHolders::new();
        for (entry, operation) in self.entries.iter().filter_map(|entry| Some((entry, entry.operation()?))) {
            for key in operation.keys().filter(|key| keys.contains(key)) {
                holders.insert(key.digest(), operation.holder_of(key, entry.index));
            }
        }
        holders
    }

    /// The id of the payment that the last entry decided; for a batch, of its item with this number.
    pub fn last_payment(&self, item: u16) -> PaymentId {
        PaymentId::derive(self.entries.last().expect("something was appended").stamp(), item)
    }

    /// Appends the bank's decision on a capture, void or refund.
    pub fn change(&mut self, payment: PaymentId, change: PaymentChangeKind) {
        self.request(OperationRequest::PaymentChange { payment, change });
    }

    /// Appends the expiry of the first hold that expires, at that time.
    pub fn expire_first(&mut self) {
        let (expires_at_ms, id) = self.bank.first_expiry().expect("something is on hold");
        self.waited_ms += expires_at_ms.saturating_sub(self.next_stamp().timestamp.0);
        let (operation, _) = self.bank.expire(self.next_stamp(), id).expect("its time is up");
        self.append(EntryBody::Operation(operation));
    }

    /// Appends one entry of every kind and outcome.
    pub fn one_of_each(&mut self) {
        self.accounts_of_each();
        self.request(payment("external:card", "a", i64::MAX, None, None));
        self.request(payment("external:card", "a", 1, None, None));
        self.request(payment("a", "b", 1, Some(""), None));
        self.request(payment("a", "b", 2, Some("ein \u{1F600} \"Satz\"\n\0"), Some(r#"{"a":[1,2.50,null]}"#)));
        self.changes_of_each();
        self.batches_of_each();
        self.request(OperationRequest::KeyFence);
        self.api_keys_of_each();
        self.request(payment("nobody", "b", 3, Some("refused"), Some("{}")));
    }

    /// Keys that are created, rotated, revoked and refused, and entries that were asked for with one.
    fn api_keys_of_each(&mut self) {
        let (first, second) = (api_key(1), api_key(2));
        self.request(create_api_key(&first, everything("Büro \"1\"")));
        self.request(create_api_key(&first, everything("again")));
        let limited = ApiKeyGrant {
            debits: ["a", "external:"].map(prefix).into(),
            credits: [prefix("shop:")].into(),
            limits: [(euros(), MinorUnits::new(50))].into(),
            expires_at: Some(Timestamp(1_900_000_000_000)),
            ..everything("shop")
        };
        self.request(create_api_key(&second, limited));
        let rotate = ApiKeyChangeKind::Rotate { secret: api_key(3).digest(), old_valid_for_s: 60 };
        self.request(OperationRequest::ApiKey { id: second.id(), change: rotate });
        self.principal = Some(second.id());
        self.request(payment("external:card", "shop:2", 50, None, None));
        self.request(hold("external:card", "shop:2", 20, None));
        self.change(self.last_payment(0), PaymentChangeKind::Void);
        self.principal = Some(first.id());
        self.request(batch(true, vec![item("external:card", "c", 9, None)]));
        self.request(OperationRequest::ApiKey { id: second.id(), change: ApiKeyChangeKind::Revoke });
        self.request(OperationRequest::ApiKey { id: second.id(), change: ApiKeyChangeKind::Revoke });
        self.request(OperationRequest::ApiKey { id: api_key(9).id(), change: ApiKeyChangeKind::Revoke });
        self.principal = None;
    }

    fn accounts_of_each(&mut self) {
        let opened = account("shop:1");
        let open = |overdraft| AccountChangeKind::Open(overdraft);
        let limit = Overdraft::Limit(MinorUnits::new(500));
        self.request(OperationRequest::Account { account: opened.clone(), change: open(limit) });
        self.request(OperationRequest::Account { account: opened.clone(), change: open(Overdraft::None) });
        let raise = AccountChangeKind::Change { overdraft: Some(Overdraft::Unlimited), status: None };
        self.request(OperationRequest::Account { account: opened.clone(), change: raise });
        self.request(OperationRequest::Account { account: account("nobody"), change: raise });
        let freeze = AccountChangeKind::Change { overdraft: None, status: Some(AccountStatus::Frozen) };
        self.request(OperationRequest::Account { account: opened, change: freeze });
    }

    fn changes_of_each(&mut self) {
        // Makes sure that "a" can pay for everything below.
        self.request(payment("external:bank", "a", 1_000_000, None, None));
        let ordered = |amount| hold("a", "shop:2", amount, Some(("#1", 1_000)));
        self.request(ordered(600));
        let held = self.last_payment(0);
        self.request(ordered(600));
        self.change(held, PaymentChangeKind::Capture(Some(MinorUnits::new(150))));
        self.change(held, PaymentChangeKind::Capture(Some(MinorUnits::new(1_000))));
        self.change(held, PaymentChangeKind::Refund(Some(MinorUnits::new(50))));
        self.change(held, PaymentChangeKind::Void);
        self.change(held, PaymentChangeKind::Void);
        self.change(held, PaymentChangeKind::Refund(None));
        self.request(ordered(400));
        self.change(self.last_payment(0), PaymentChangeKind::Capture(None));
        self.request(hold("a", "shop:2", 70, None));
        self.expire_first();
        self.request(hold("a", "shop:2", 80, Some(("#2", 80))));
        self.request(payment("a", "b", 9, None, None));
        let plain = self.last_payment(0);
        self.change(plain, PaymentChangeKind::Refund(Some(MinorUnits::new(4))));
        self.change(plain, PaymentChangeKind::Refund(Some(MinorUnits::new(6))));
        let unknown = PaymentId::derive(Stamp { timestamp: Timestamp(1), epoch: Epoch(1), index: LogIndex(3) }, 0);
        self.change(unknown, PaymentChangeKind::Refund(None));
    }

    fn batches_of_each(&mut self) {
        let items = |numbers: std::ops::Range<i64>| numbers.map(|number| item("a", "c", number, None));
        self.request(batch(false, items(1..20).chain([item("nobody", "c", 1, None)]).collect()));
        self.change(self.last_payment(3), PaymentChangeKind::Refund(Some(MinorUnits::new(1))));
        self.request(batch(true, items(1..5).chain([item("nobody", "c", 1, Some("item-1"))]).collect()));
        self.request(batch(true, items(1..5).collect()));
        let keyed = || vec![item("a", "c", 5, Some("item-1")), item("a", "d", 6, Some("item-2"))];
        self.request(batch(false, keyed()));
        self.request_under("item-3", OperationRequest::KeyFence);
        let others = [item("a", "d", 7, Some("item-2")), item("a", "d", 8, Some("item-3"))];
        self.request(batch(false, keyed().into_iter().chain(others).collect()));
        let OperationRequest::Payment(held) = hold("a", "c", 30, Some(("#3", 100))) else { unreachable!() };
        let held = BatchItem { key: None, request: held };
        let opens = PaymentRequest { opens_accounts: true, ..held.request.clone() };
        let opens =
            PaymentRequest { from: account("new:1"), to: account("new:2"), capture: Capture::Automatic, ..opens };
        self.request(batch(false, vec![held.clone(), BatchItem { key: None, request: opens }, held]));
        self.change(self.last_payment(2), PaymentChangeKind::Capture(Some(MinorUnits::new(10))));
    }

    fn next_stamp(&self) -> Stamp {
        let index = self.last.index.0 + 1;
        Stamp {
            timestamp: Timestamp(1_700_000_000_000 + index * 10 + self.waited_ms),
            epoch: self.last.epoch,
            index: LogIndex(index),
        }
    }

    /// Appends an entry.
    pub fn append(&mut self, body: EntryBody) {
        let Stamp { timestamp, .. } = self.next_stamp();
        let (index, timestamp) = (self.last.index.next(), timestamp);
        let principal = self.principal.filter(|_| matches!(body, EntryBody::Operation(_)));
        let entry = UnchainedEntry { index, epoch: self.last.epoch, timestamp, principal, body }.chain(&self.last.hash);
        self.last = entry.position();
        self.entries.push(Arc::new(entry));
    }

    /// The write that stores the entries after `after`.
    pub fn persist_after(&self, after: LogIndex) -> Persist {
        let entries = self.entries.iter().filter(|entry| entry.index > after).cloned().collect();
        Persist { entries, ..Persist::default() }
    }
}

/// An API key whose bytes are all this number.
pub fn api_key(number: u8) -> ApiKey {
    ApiKey::from_random([number; 8], [number; 32])
}

/// A grant of everything.
pub fn everything(name: &str) -> ApiKeyGrant {
    ApiKeyGrant::everything(ApiKeyName::parse(name).expect("a name"))
}

/// A prefix from a literal.
pub fn prefix(text: &str) -> AccountPrefix {
    AccountPrefix::parse(text).expect("an account prefix")
}

/// A request to create an API key.
pub fn create_api_key(key: &ApiKey, grant: ApiKeyGrant) -> OperationRequest {
    let change = ApiKeyChangeKind::Create { grant: Box::new(grant), secret: key.digest() };
    OperationRequest::ApiKey { id: key.id(), change }
}

/// A node id from a literal.
pub fn node(id: &str) -> NodeId {
    NodeId::parse(id).expect("a node id")
}

/// An account id from a literal.
pub fn account(id: &str) -> AccountId {
    AccountId::parse(id).expect("an account id")
}

/// A request to pay in euros.
pub fn payment(
    from: &str,
    to: &str,
    amount: i64,
    description: Option<&str>,
    metadata: Option<&str>,
) -> OperationRequest {
    let (from, to) = (account(from), account(to));
    OperationRequest::Payment(PaymentRequest {
        description: description.map(Into::into),
        metadata: metadata.map(Into::into),
        ..PaymentRequest::plain(from, to, MinorUnits::new(amount), euros())
    })
}

/// A request to hold euros for ten minutes.
pub fn hold(from: &str, to: &str, amount: i64, order: Option<(&str, i64)>) -> OperationRequest {
    let cap = |(id, total)| {
        Box::new(OrderCap { id: OrderId::parse(id).expect("an order id"), total: MinorUnits::new(total) })
    };
    OperationRequest::Payment(PaymentRequest {
        capture: Capture::Manual { expires_in_s: 600 },
        order: order.map(cap),
        ..PaymentRequest::plain(account(from), account(to), MinorUnits::new(amount), euros())
    })
}

/// An item of a batch, in euros.
pub fn item(from: &str, to: &str, amount: i64, key: Option<&str>) -> BatchItem {
    let request = PaymentRequest::plain(account(from), account(to), MinorUnits::new(amount), euros());
    BatchItem { key: key.map(self::key), request }
}

/// The request of a batch.
pub fn batch(atomic: bool, items: Vec<BatchItem>) -> OperationRequest {
    OperationRequest::Batch(BatchRequest { atomic, items })
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).expect("printable")
}

fn euros() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

/// Asserts that accounts and open holds are equal. Closed payments and orders may differ: memory may have forgotten
/// them.
pub fn assert_same_money(one: &Bank, other: &Bank) {
    assert!(one.accounts_after(None).eq(other.accounts_after(None)), "accounts differ");
    assert!(one.open_holds().eq(other.open_holds()), "holds differ");
    for (_, state) in one.open_holds() {
        let order = |bank: &Bank| state.order.as_ref().and_then(|order| bank.order(order));
        assert_eq!(order(one), order(other));
    }
}
