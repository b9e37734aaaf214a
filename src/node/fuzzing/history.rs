//! Histories: a leader's bank decides a sequence of requests; every entry goes over the wire, through its row, to a
//! follower's bank and to a caller, and at the end all of them are undone.
//!
//! The bytes select from a few accounts, keys, orders and payments, so that requests interact.

use std::sync::Arc;

use crate::{http, ledger, transport};
use quorapay_core::domain::{
    AccountChangeKind, AccountId, AccountStatus, Bank, BatchItem, BatchRequest, Capture, Currency, IdempotencyKey,
    KeyHolders, MinorUnits, Operation, OperationRequest, OrderCap, OrderId, Overdraft, PaymentChangeKind, PaymentId,
    PaymentRequest, Proposal, Stamp, Undo,
};
use quorapay_core::domain::{Epoch, LogIndex, Timestamp};
use quorapay_core::replication::{EntryBody, Position, UnchainedEntry};

/// Requests of one history. More find nothing new and slow the fuzzer down.
const MAX_REQUESTS: usize = 40;
const ACCOUNTS: [&str; 5] = ["a", "b", "c", "external:card", "external:bank"];
const AMOUNTS: [i64; 8] = [1, 2, 99, 100, 1_000, i64::MAX / 2, i64::MAX - 1, i64::MAX];
const STATUSES: [AccountStatus; 3] = [AccountStatus::Active, AccountStatus::Frozen, AccountStatus::Closed];

/// Decides the requests in the bytes and checks that all readers of the entries agree.
pub(super) fn check(bytes: &[u8]) {
    let mut script = Script { bytes, made: Vec::new() };
    let mut history = History::default();
    while !script.bytes.is_empty() && history.done.len() < MAX_REQUESTS {
        history.now_ms += u64::from(script.byte()) * 100;
        history.expire();
        let request = script.request();
        history.decide(request, &mut script.made);
    }
    history.undo();
}

/// Reads requests from bytes, which are followed by zeros.
struct Script<'bytes> {
    bytes: &'bytes [u8],
    /// The payments that were decided so far.
    made: Vec<PaymentId>,
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.split_off_first().copied().unwrap_or_default()
    }

    fn choice<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    fn text(&mut self) -> Option<compact_str::CompactString> {
        let length = usize::from(self.byte() % 16).min(self.bytes.len());
        let text = self.bytes.split_off(..length).map(String::from_utf8_lossy).unwrap_or_default();
        (!text.is_empty()).then(|| text.into())
    }

    fn account(&mut self) -> AccountId {
        AccountId::parse(self.choice(&ACCOUNTS)).expect("valid")
    }

    fn amount(&mut self) -> MinorUnits {
        MinorUnits::new(self.choice(&AMOUNTS))
    }

    fn request(&mut self) -> OperationRequest {
        match self.byte() % 8 {
            0..=2 => OperationRequest::Payment(self.payment()),
            3 | 4 => OperationRequest::PaymentChange { payment: self.some_payment(), change: self.change() },
            5 => OperationRequest::Account { account: self.account(), change: self.account_change() },
            6 => self.batch(),
            _ => OperationRequest::KeyFence,
        }
    }

    fn payment(&mut self) -> PaymentRequest {
        let (from, to, amount) = (self.account(), self.account(), self.amount());
        let to = if from == to { AccountId::parse("other").expect("valid") } else { to };
        let currency = Currency::parse(self.choice(&["USD", "JPY"])).expect("known");
        let flags = self.byte();
        let order = (flags & 1 > 0).then(|| {
            let id = OrderId::parse(self.choice(&["o1", "o 2"])).expect("valid");
            Box::new(OrderCap { id, total: self.amount() })
        });
        let expires_in_s = u32::from(self.byte()) + 1;
        let (description, metadata) = if flags & 2 > 0 { (self.text(), self.text()) } else { (None, None) };
        PaymentRequest {
            capture: if flags & 4 > 0 { Capture::Manual { expires_in_s } } else { Capture::Automatic },
            opens_accounts: flags & 8 > 0,
            order,
            description,
            // A caller's metadata are a JSON object; the ledger keeps the text.
            metadata: metadata.map(|text| serde_json::json!({ "text": text.as_str() }).to_string().into()),
            ..PaymentRequest::plain(from, to, amount, currency)
        }
    }

    /// One of the decided payments, or one that does not exist.
    fn some_payment(&mut self) -> PaymentId {
        let at = usize::from(self.byte());
        let unknown = PaymentId::derive(Stamp { timestamp: Timestamp(1), epoch: Epoch(1), index: LogIndex(9_999) }, 0);
        if at == 255 || self.made.is_empty() { unknown } else { self.made[at % self.made.len()] }
    }

    fn change(&mut self) -> PaymentChangeKind {
        let kind = self.byte();
        let amount = (kind & 1 > 0).then(|| self.amount());
        match kind % 6 / 2 {
            0 => PaymentChangeKind::Capture(amount),
            1 => PaymentChangeKind::Refund(amount),
            _ => PaymentChangeKind::Void,
        }
    }

    fn account_change(&mut self) -> AccountChangeKind {
        let kind = self.byte();
        let overdraft = match kind % 3 {
            0 => Overdraft::None,
            1 => Overdraft::Limit(self.amount()),
            _ => Overdraft::Unlimited,
        };
        match kind / 3 % 3 {
            0 => AccountChangeKind::Open(overdraft),
            1 => AccountChangeKind::Change { overdraft: Some(overdraft), status: None },
            _ => AccountChangeKind::Change { overdraft: None, status: Some(self.choice(&STATUSES)) },
        }
    }

    fn batch(&mut self) -> OperationRequest {
        let shape = self.byte();
        let item = |at: u8| {
            let key = (shape & 2 > 0).then(|| IdempotencyKey::parse(&format!("item{at}")).expect("valid"));
            BatchItem { key, request: self.payment() }
        };
        let items = (0..=shape >> 6).map(item).collect();
        OperationRequest::Batch(BatchRequest { atomic: shape & 1 > 0, items })
    }
}

/// A leader's bank and a follower's, with the undo records of all operations.
#[derive(Default)]
struct History {
    leader: Bank,
    follower: Bank,
    last: Position,
    now_ms: u64,
    done: Vec<(Undo, Undo)>,
}

impl History {
    fn stamp(&self) -> Stamp {
        Stamp { timestamp: Timestamp(self.now_ms), epoch: Epoch(1), index: LogIndex(self.last.index.0 + 1) }
    }

    /// Ends the holds that have expired, as a leader does by itself.
    fn expire(&mut self) {
        while let Some((expires_at_ms, payment)) = self.leader.first_expiry()
            && expires_at_ms <= self.now_ms
        {
            let (operation, undo) = self.leader.expire(self.stamp(), payment).expect("it has expired");
            self.distribute(operation, undo);
        }
    }

    fn decide(&mut self, request: OperationRequest, made: &mut Vec<PaymentId>) {
        let stamp = self.stamp();
        let key = IdempotencyKey::parse(&format!("key{}", stamp.index)).expect("valid");
        let (operation, undo) = self.leader.execute(stamp, Proposal { key, request }, &KeyHolders::new());
        made.extend(operation.payments().map(|payment| PaymentId::derive(stamp, payment.item)));
        self.distribute(operation, undo);
    }

    /// Gives an entry to everything that reads entries.
    fn distribute(&mut self, operation: Operation, undo: Undo) {
        let stamp = self.stamp();
        let applied = self.follower.apply(stamp, &operation).expect("every bank decides the same");
        self.done.push((undo, applied));
        let (epoch, timestamp) = (stamp.epoch, stamp.timestamp);
        let body = EntryBody::Operation(operation);
        let entry =
            UnchainedEntry { index: stamp.index, epoch, timestamp, principal: None, body }.chain(&self.last.hash);
        let entry = Arc::new(entry);
        transport::fuzzing::entry(&entry, &self.last.hash);
        ledger::fuzzing::entry(&entry);
        http::fuzzing::entry(&entry);
        self.last = entry.position();
        for bank in [&self.leader, &self.follower] {
            assert!(bank.totals().values().all(|sum| *sum == 0), "money came out of nothing");
        }
    }

    fn undo(mut self) {
        while let Some((undo, applied)) = self.done.pop() {
            self.leader.undo(&undo);
            self.follower.undo(&applied);
        }
        assert!(
            self.leader.is_empty() && self.follower.is_empty(),
            "the banks are not empty after everything was undone"
        );
        assert_eq!((self.leader.open_hold_count(), self.follower.open_hold_count()), (0, 0));
    }
}
