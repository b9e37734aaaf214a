//! A simulated cluster: correct entries in real ledger files, correct answers in a real history, and ways to forge both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

use crate::check::{Breach, Report, Subjects, check};
use crate::history::{
    Answered, Consistency, Event, Header, Invoke, Micros, Read, Recorder, Refused, Request, Response, ResponseBody,
    Subject, Unknown,
};
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountStatus, Bank, BatchOutcome, Capture, Currency, IdempotencyKey,
    KeyHolder, KeyHolders, MinorUnits, Operation, OperationRequest, Overdraft, PaymentChange, PaymentChangeOutcome,
    PaymentId, PaymentOutcome, PaymentRequest, PaymentState, Proposal, Rejection, Stamp,
};
use quorapay_core::domain::{Epoch, LogIndex, RuleVersion, Timestamp};
use quorapay_core::replication::{Entry, EntryBody, NodeId, Persist, Position, StoreId, UnchainedEntry};
use quorapay_node::ledger::{Identity, open};

/// Timestamp before the first entry. Each entry is a second later than the one before.
const FIRST_MS: u64 = 1_700_000_000_000;

/// Time from one event to the next.
const STEP: u64 = 10;

pub(super) struct World {
    bank: Bank,
    pub(super) entries: Vec<Arc<Entry>>,
    last: Position,
    pub(super) events: Vec<Event>,
    now: u64,
    operations: u64,
}

pub(super) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

pub(super) fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

/// A payment in euros that is captured at once.
pub(super) fn plain(from: &str, to: &str, amount: i64) -> PaymentRequest {
    let currency = Currency::parse("EUR").unwrap();
    PaymentRequest::plain(account(from), account(to), MinorUnits::new(amount), currency)
}

pub(super) fn payment(from: &str, to: &str, amount: i64) -> OperationRequest {
    OperationRequest::Payment(plain(from, to, amount))
}

/// A hold in euros that expires after this many seconds, and thus after as many entries.
pub(super) fn hold(from: &str, to: &str, amount: i64, expires_in_s: u32) -> OperationRequest {
    OperationRequest::Payment(PaymentRequest { capture: Capture::Manual { expires_in_s }, ..plain(from, to, amount) })
}

pub(super) fn opening(id: &str, overdraft: Overdraft) -> OperationRequest {
    OperationRequest::Account { account: account(id), change: AccountChangeKind::Open(overdraft) }
}

impl World {
    /// A ledger with the first entry of its first epoch, and an empty history.
    pub(super) fn new() -> Self {
        let (entries, events) = (Vec::new(), Vec::new());
        let last = Position { epoch: Epoch(1), ..Position::default() };
        let mut world = Self { bank: Bank::default(), entries, last, events, now: 0, operations: 0 };
        world.append(EntryBody::EpochStart { leader: NodeId::parse("node1").unwrap(), rules: RuleVersion::FIRST });
        world
    }

    /// The end of the ledger.
    pub(super) fn last(&self) -> u64 {
        self.last.index.0
    }

    fn append(&mut self, body: EntryBody) -> u64 {
        let index = self.last.index.next();
        let timestamp = self.next_stamp().timestamp;
        let entry =
            UnchainedEntry { index, epoch: self.last.epoch, timestamp, principal: None, body }.chain(&self.last.hash);
        self.last = entry.position();
        self.entries.push(Arc::new(entry));
        index.0
    }

    /// When the next entry is made.
    fn next_stamp(&self) -> Stamp {
        let index = self.last.index.next().0;
        Stamp { timestamp: Timestamp(FIRST_MS + 1_000 * index), epoch: self.last.epoch, index: LogIndex(index) }
    }

    /// What the bank decides on a request, without anything happening.
    pub(super) fn decided(&self, under: &str, request: OperationRequest) -> Operation {
        let proposal = Proposal { key: key(under), request };
        let mut bank = self.bank.clone();
        self.recall(&mut bank, &proposal.request);
        bank.execute(self.next_stamp(), proposal, &self.holders()).0
    }

    /// The bank keeps only payments with open holds; any other is for the ledger to remember.
    fn recall(&self, bank: &mut Bank, request: &OperationRequest) {
        let OperationRequest::PaymentChange { payment, .. } = request else { return };
        let Some(entry) = usize::try_from(payment.index().0).ok().and_then(|index| self.entries.get(index - 1)) else {
            return;
        };
        let decided = entry.operation().unwrap().payments().next().unwrap();
        if let Some(state) = PaymentState::decided(decided.request, decided.outcome) {
            bank.recall_payment(*payment, state);
        }
    }

    fn holders(&self) -> KeyHolders {
        let mut holders = KeyHolders::new();
        for operation in self.entries.iter().filter_map(|entry| Some((entry.index.0, entry.operation()?))) {
            let (index, operation) = operation;
            for key in operation.keys() {
                let is_fence = matches!(operation, Operation::KeyFence(_));
                let fingerprint = operation.fingerprint_under(key).filter(|_| !is_fence);
                holders.insert(key.digest(), KeyHolder { index: LogIndex(index), fingerprint });
            }
        }
        holders
    }

    /// Ends the hold that expires first, as a leader does when its time is up.
    pub(super) fn expire(&mut self) -> u64 {
        let (_, id) = self.bank.first_expiry().unwrap();
        let (operation, _) = self.bank.expire(self.next_stamp(), id).unwrap();
        self.force(operation)
    }

    /// The id of the payment that the entry at an index decided.
    pub(super) fn id(&self, index: u64) -> PaymentId {
        PaymentId::derive(self.entry(index).stamp(), 0)
    }

    fn entry(&self, index: u64) -> &Entry {
        &self.entries[usize::try_from(index).unwrap() - 1]
    }

    /// Appends any operation, right or wrong.
    pub(super) fn force(&mut self, operation: Operation) -> u64 {
        self.append(EntryBody::Operation(operation))
    }

    /// Appends the bank's decision on a request without an answer.
    pub(super) fn apply(&mut self, under: &str, request: OperationRequest) -> u64 {
        let proposal = Proposal { key: key(under), request };
        let mut bank = std::mem::take(&mut self.bank);
        self.recall(&mut bank, &proposal.request);
        let (operation, _) = bank.execute(self.next_stamp(), proposal, &self.holders());
        self.bank = bank;
        self.force(operation)
    }

    fn tick(&mut self) -> Micros {
        self.now += STEP;
        Micros(self.now)
    }

    /// Records a request of process 1. Returns the operation's number.
    pub(super) fn invoke(&mut self, request: Request) -> u64 {
        self.operations += 1;
        let (at, operation) = (self.tick(), self.operations);
        let node = "node2".to_owned();
        self.events.push(Event::Invoke(Invoke { process: 1, operation, at, intended: at, node, request }));
        operation
    }

    pub(super) fn ask(&mut self, under: &str, request: OperationRequest) -> u64 {
        self.invoke(Request::Write(Box::new(Proposal { key: key(under), request })))
    }

    pub(super) fn answered(&mut self, operation: u64, response: Response) {
        let at = self.tick();
        self.events.push(Event::Ok(Answered { process: 1, operation, at, response }));
    }

    pub(super) fn refused(&mut self, operation: u64, code: &str, response: Option<Response>) {
        let at = self.tick();
        self.events.push(Event::Refused(Refused { process: 1, operation, at, code: code.to_owned(), response }));
    }

    pub(super) fn unknown(&mut self, operation: u64) {
        let at = self.tick();
        self.events.push(Event::Unknown(Unknown {
            process: 1,
            operation,
            at,
            reason: "timeout".to_owned(),
            response: None,
        }));
    }

    /// A write that is requested, applied and answered correctly. Returns its index.
    pub(super) fn write(&mut self, under: &str, request: OperationRequest) -> u64 {
        let operation = self.ask(under, request.clone());
        let index = self.apply(under, request);
        self.tell(operation, index);
        index
    }

    /// Ends a write with the correct answer: the entry at `index`.
    pub(super) fn tell(&mut self, operation: u64, index: u64) {
        let response = self.response(index);
        match self.rejection(index) {
            None => self.answered(operation, response),
            Some(rejection) => self.refused(operation, rejection.code(), Some(response)),
        }
    }

    fn rejection(&self, index: u64) -> Option<Rejection> {
        match self.entry(index).operation().unwrap() {
            Operation::Batch(batch) if batch.outcome() == BatchOutcome::Aborted => Some(Rejection::BatchAborted),
            operation => operation.rejection(),
        }
    }

    /// The correct answer to the request of the entry at `index`.
    pub(super) fn response(&self, index: u64) -> Response {
        let entry = self.entry(index);
        let rejection = self.rejection(index).map(Rejection::code);
        let (status, body) = match (entry.operation().unwrap(), rejection) {
            (Operation::Payment(_), None) => (201, decided_json(entry, 0)),
            (Operation::Payment(_), Some(code)) => (409, json!({ "code": code, "payment": decided_json(entry, 0) })),
            (Operation::Account(change), None) => (201, change_json(change, index)),
            (Operation::PaymentChange(change), None) => (200, changed_json(entry, change)),
            (Operation::PaymentChange(_) | Operation::Account(_), Some(code)) => (409, json!({ "code": code })),
            (Operation::Batch(batch), rejection) => {
                let results: Vec<Value> = batch.numbered().map(|(item, _)| decided_json(entry, item)).collect();
                (rejection.map_or(200, |_| 409), json!({ "code": rejection, "results": results }))
            }
            (Operation::KeyFence(_), _) => (200, json!({ "state": "fenced", "index": index })),
            (Operation::Expiry(_) | Operation::ApiKey(_), _) => panic!("no history asks for it"),
        };
        answer(status, index, None, &body)
    }

    /// A read that is answered.
    pub(super) fn read(&mut self, subject: Subject, as_of: u64, status: u16, body: &Value) {
        self.read_as(subject, Consistency::Linearizable, None, as_of, status, body);
    }

    pub(super) fn read_as(
        &mut self,
        subject: Subject,
        consistency: Consistency,
        min_index: Option<u64>,
        as_of: u64,
        status: u16,
        body: &Value,
    ) {
        let read = Read { subject, consistency, min_index: min_index.map(LogIndex) };
        let operation = self.invoke(Request::Read(read));
        self.answered(operation, answer(status, as_of, Some(as_of), body));
    }

    /// An account that is read, with these euros.
    pub(super) fn read_account(&mut self, id: &str, as_of: u64, euros: i64) {
        self.read(Subject::Account(account(id)), as_of, 200, &account_json(id, as_of, euros));
    }

    pub(super) fn look_up(&mut self, under: &str, state: &str, as_of: u64, payment: Option<u64>) {
        let mut body = json!({ "state": state, "as_of_index": as_of });
        if let Some(index) = payment {
            body["payment"] = decided_json(self.entry(index), 0);
        }
        self.read(Subject::Key(key(under)), as_of, 200, &body);
    }

    /// The payment at an index, as it was decided.
    pub(super) fn shown(&self, index: u64) -> Value {
        decided_json(self.entry(index), 0)
    }

    /// The payment at an index in its current state.
    pub(super) fn current(&self, index: u64) -> Value {
        let mut body = self.shown(index);
        let state = self.bank.payment(self.id(index)).unwrap();
        amounts_into(&mut body, state);
        body
    }

    /// Writes everything to files, with three equal ledgers.
    pub(super) async fn stored(&self) -> Stored {
        let stored = Stored { directory: tempfile::tempdir().unwrap() };
        for node in 1..=3 {
            stored.add_ledger(node, &self.entries, self.last.index).await;
        }
        let recorder = Recorder::create(&stored.history(), &Header::new("test", 1, 0, 2)).unwrap();
        self.events.iter().for_each(|event| recorder.record(event));
        recorder.flush().unwrap();
        stored
    }

    pub(super) async fn check(&self) -> Report {
        self.stored().await.check().await
    }

    /// Checks that exactly this breach is found and that the report contains these texts.
    #[track_caller]
    pub(super) fn assert_broken(&self, breach: Breach, words: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = runtime.block_on(self.check());
        assert_eq!(report.broken.keys().collect::<Vec<_>>(), [&breach], "{report}");
        let text = report.to_string();
        for words in words {
            assert!(text.contains(words), "{words:?} is not in: {text}");
        }
    }
}

/// The files of a cluster.
pub(super) struct Stored {
    directory: TempDir,
}

impl Stored {
    pub(super) fn ledger(&self, node: u8) -> PathBuf {
        self.directory.path().join(format!("node{node}"))
    }

    pub(super) fn history(&self) -> PathBuf {
        self.directory.path().join("history.jsonl")
    }

    pub(super) async fn add_ledger(&self, node: u8, entries: &[Arc<Entry>], commit_index: LogIndex) {
        let node_id = NodeId::parse(&format!("node{node}")).unwrap();
        let identity = Identity { cluster_id: "test".to_owned(), node_id };
        let _ = std::fs::remove_dir_all(self.ledger(node));
        let mut ledger = open(&self.ledger(node), &identity, || StoreId(u128::from(node))).await.unwrap();
        let write = Persist { entries: entries.to_vec(), commit_index, ..Persist::default() };
        ledger.writer.persist(&[write]).await.unwrap();
        ledger.reader.close().await;
        ledger.writer.close().await.unwrap();
    }

    /// Changes a ledger behind the program's back.
    pub(super) async fn tamper(&self, node: u8, sql: &'static str) {
        let path = self.ledger(node).join("ledger.db");
        let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        assert!(sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected() > 0);
        connection.close().await.unwrap();
    }

    pub(super) fn subjects(&self) -> Subjects {
        let ledgers = (1..=3).map(|node| self.ledger(node)).filter(|ledger| Path::exists(ledger)).collect();
        Subjects { histories: vec![self.history()], ledgers, all_complete: false }
    }

    pub(super) async fn check(&self) -> Report {
        check(&self.subjects()).await.unwrap()
    }
}

pub(super) fn answer(status: u16, index: u64, applied: Option<u64>, body: &Value) -> Response {
    Response {
        status,
        node: Some("node2".to_owned()),
        index: Some(LogIndex(index)),
        epoch: Some(Epoch(1)),
        applied_index: applied.map(LogIndex),
        staleness_ms: None,
        replayed: false,
        body: ResponseBody::of(body.to_string().as_bytes()),
    }
}

pub(super) fn account_json(id: &str, as_of: u64, euros: i64) -> Value {
    let balance = json!({ "currency": "EUR", "posted": euros, "held": 0, "available": euros });
    json!({ "id": id, "overdraft": "none", "status": "active", "balances": [balance], "index": as_of })
}

fn amounts_into(body: &mut Value, state: &PaymentState) {
    body["status"] = json!(state.status());
    body["captured"] = json!(state.captured);
    body["refunded"] = json!(state.refunded);
    body["held"] = json!(state.held);
}

fn change_json(change: &AccountChange, index: u64) -> Value {
    let mut body = json!({ "id": change.account, "index": index });
    let (overdraft, status) = match change.change {
        AccountChangeKind::Open(overdraft) => (Some(overdraft), Some(AccountStatus::Active)),
        AccountChangeKind::Change { overdraft, status } => (overdraft, status),
    };
    overdraft.into_iter().for_each(|overdraft| body["overdraft"] = json!(overdraft));
    status.into_iter().for_each(|status| body["status"] = json!(status));
    body
}

fn changed_json(entry: &Entry, change: &PaymentChange) -> Value {
    let after = change.after(entry.stamp()).unwrap();
    let mut body = json!({
        "id": change.payment.to_string(), "from": after.from, "to": after.to, "amount": after.amount, "currency": after.currency,
        "index": entry.index, "epoch": entry.epoch,
    });
    amounts_into(&mut body, &after);
    if let PaymentChangeOutcome::Applied { amount, from_balance, to_balance } = change.outcome {
        body["change"] = json!({ "type": change.change.name(), "amount": amount, "index": entry.index });
        body["balances"] = json!({ "from": from_balance, "to": to_balance });
    }
    body
}

fn decided_json(entry: &Entry, item: u16) -> Value {
    let payment = entry.operation().unwrap().payments().find(|payment| payment.item == item).unwrap();
    let request = payment.request;
    let mut body = json!({
        "id": PaymentId::derive(entry.stamp(), item).to_string(), "from": request.from, "to": request.to,
        "amount": request.amount, "currency": request.currency, "created_at": "2026-01-01T00:00:00.000Z",
        "index": entry.index, "epoch": entry.epoch,
    });
    if let Some(state) = PaymentState::decided(request, payment.outcome) {
        amounts_into(&mut body, &state);
    }
    match payment.outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            body["balances"] = json!({ "from": from_balance, "to": to_balance });
        }
        PaymentOutcome::Authorized { from_held, .. } => body["balances"] = json!({ "from_held": from_held }),
        PaymentOutcome::Rejected(rejection) => body["rejection"] = json!(rejection.code()),
        PaymentOutcome::Repeated { .. } => {}
    }
    body
}
