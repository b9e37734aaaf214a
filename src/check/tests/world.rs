//! A cluster that a test makes up: honest entries in real ledger files, honest answers in a real history, and the means
//! to forge either.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

use crate::check::{Breach, Report, Subjects, check};
use crate::domain::{
    AccountChangeKind, AccountId, Bank, Currency, IdempotencyKey, MinorUnits, Operation, OperationRequest, Overdraft,
    PaymentId, PaymentOutcome, PaymentRequest, Proposal,
};
use crate::history::{
    Answer, Ask, Body, Consistency, Event, Header, Invoke, Micros, Read, Recorder, Refused, Subject, Told, Unknown,
};
use crate::ledger::{Identity, open};
use crate::replication::{
    Body as EntryBody, Entry, Epoch, LogIndex, NodeId, Persist, Position, StoreId, Timestamp, UnchainedEntry,
};

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

pub(super) fn payment(from: &str, to: &str, amount: i64) -> OperationRequest {
    OperationRequest::Payment(PaymentRequest {
        from: account(from),
        to: account(to),
        amount: MinorUnits::new(amount),
        currency: Currency::parse("EUR").unwrap(),
        description: None,
        metadata: None,
    })
}

pub(super) fn opening(id: &str, overdraft: Overdraft) -> OperationRequest {
    OperationRequest::Account { account: account(id), change: AccountChangeKind::Open(overdraft) }
}

impl World {
    /// A ledger with the first entry of its first epoch, and nobody has asked for anything.
    pub(super) fn new() -> Self {
        let (entries, events) = (Vec::new(), Vec::new());
        let last = Position { epoch: Epoch(1), ..Position::default() };
        let mut world = Self { bank: Bank::default(), entries, last, events, now: 0, operations: 0 };
        world.append(EntryBody::EpochStart { leader: NodeId::parse("node1").unwrap() });
        world
    }

    /// The end of the ledger.
    pub(super) fn last(&self) -> u64 {
        self.last.index.0
    }

    fn append(&mut self, body: EntryBody) -> u64 {
        let index = self.last.index.next();
        let timestamp = Timestamp(1_700_000_000_000 + index.0);
        let entry = UnchainedEntry { index, epoch: self.last.epoch, timestamp, body }.chain(&self.last.hash);
        self.last = entry.position();
        self.entries.push(Arc::new(entry));
        index.0
    }

    /// What the bank decides on a request, without anything happening.
    pub(super) fn decided(&self, under: &str, request: OperationRequest) -> Operation {
        self.bank.decide(Proposal { key: key(under), request })
    }

    /// Appends any operation, right or wrong.
    pub(super) fn force(&mut self, operation: Operation) -> u64 {
        self.append(EntryBody::Operation(operation))
    }

    /// Appends what the bank decides, and nobody is told.
    pub(super) fn apply(&mut self, under: &str, request: OperationRequest) -> u64 {
        let operation = self.decided(under, request);
        self.bank.apply(&operation).unwrap();
        self.force(operation)
    }

    fn tick(&mut self) -> Micros {
        self.now += STEP;
        Micros(self.now)
    }

    /// Process 1 asks; gives the operation's number.
    pub(super) fn invoke(&mut self, ask: Ask) -> u64 {
        self.operations += 1;
        let (at, operation) = (self.tick(), self.operations);
        let node = "node2".to_owned();
        self.events.push(Event::Invoke(Invoke { process: 1, operation, at, intended: at, node, ask }));
        operation
    }

    pub(super) fn ask(&mut self, under: &str, request: OperationRequest) -> u64 {
        self.invoke(Ask::Write(Box::new(Proposal { key: key(under), request })))
    }

    pub(super) fn answered(&mut self, operation: u64, answer: Told) {
        let at = self.tick();
        self.events.push(Event::Ok(Answer { process: 1, operation, at, answer }));
    }

    pub(super) fn refused(&mut self, operation: u64, code: &str, answer: Option<Told>) {
        let at = self.tick();
        self.events.push(Event::Refused(Refused { process: 1, operation, at, code: code.to_owned(), answer }));
    }

    pub(super) fn unknown(&mut self, operation: u64) {
        let at = self.tick();
        self.events.push(Event::Unknown(Unknown {
            process: 1,
            operation,
            at,
            why: "timeout".to_owned(),
            answer: None,
        }));
    }

    /// A write that is asked for, applied and answered, all of it honest. Gives its index.
    pub(super) fn write(&mut self, under: &str, request: OperationRequest) -> u64 {
        let operation = self.ask(under, request.clone());
        let index = self.apply(under, request);
        self.tell(operation, index);
        index
    }

    /// Ends a write with the honest answer: the entry at `index`.
    pub(super) fn tell(&mut self, operation: u64, index: u64) {
        let told = self.told(index);
        let entry = &self.entries[usize::try_from(index).unwrap() - 1];
        match entry.operation().unwrap().rejection() {
            None => self.answered(operation, told),
            Some(rejection) => self.refused(operation, rejection.code(), Some(told)),
        }
    }

    /// The honest answer to whoever asked for the entry at `index`.
    pub(super) fn told(&self, index: u64) -> Told {
        let entry = &self.entries[usize::try_from(index).unwrap() - 1];
        let operation = entry.operation().unwrap();
        let (status, body) = match (operation, operation.rejection()) {
            (Operation::Payment(_), None) => (201, payment_json(entry)),
            (Operation::Payment(_), Some(rejection)) => {
                (409, json!({ "code": rejection.code(), "payment": payment_json(entry) }))
            }
            (Operation::Account(change), None) => {
                let (AccountChangeKind::Open(overdraft) | AccountChangeKind::SetOverdraft(overdraft)) = change.change;
                (201, json!({ "id": change.account, "overdraft": overdraft, "balances": [], "index": index }))
            }
            (Operation::Account(_), Some(rejection)) => (409, json!({ "code": rejection.code() })),
        };
        answer(status, index, None, &body)
    }

    /// A read that is answered.
    pub(super) fn read(&mut self, of: Subject, as_of: u64, status: u16, body: &Value) {
        self.read_as(of, Consistency::Linearizable, None, as_of, status, body);
    }

    pub(super) fn read_as(
        &mut self,
        of: Subject,
        consistency: Consistency,
        min_index: Option<u64>,
        as_of: u64,
        status: u16,
        body: &Value,
    ) {
        let read = Read { of, consistency, min_index: min_index.map(LogIndex) };
        let operation = self.invoke(Ask::Read(read));
        self.answered(operation, answer(status, as_of, Some(as_of), body));
    }

    /// An account that is read, with these euros.
    pub(super) fn read_account(&mut self, id: &str, as_of: u64, euros: i64) {
        self.read(Subject::Account(account(id)), as_of, 200, &account_json(id, as_of, euros));
    }

    pub(super) fn look_up(&mut self, under: &str, state: &str, as_of: u64, payment: Option<u64>) {
        let mut body = json!({ "state": state, "as_of_index": as_of });
        if let Some(index) = payment {
            body["payment"] = payment_json(&self.entries[usize::try_from(index).unwrap() - 1]);
        }
        self.read(Subject::Key(key(under)), as_of, 200, &body);
    }

    /// The payment at an index, as a node shows it.
    pub(super) fn shown(&self, index: u64) -> Value {
        payment_json(&self.entries[usize::try_from(index).unwrap() - 1])
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

    /// Checks, and expects this one breach and no other, told with these words.
    #[track_caller]
    pub(super) fn assert_broken(&self, breach: Breach, words: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = runtime.block_on(self.check());
        assert_eq!(report.broken.keys().collect::<Vec<_>>(), [&breach], "{report}");
        let told = report.to_string();
        for words in words {
            assert!(told.contains(words), "{words:?} is not in: {told}");
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

pub(super) fn answer(status: u16, index: u64, applied: Option<u64>, body: &Value) -> Told {
    Told {
        status,
        node: Some("node2".to_owned()),
        index: Some(LogIndex(index)),
        epoch: Some(Epoch(1)),
        applied_index: applied.map(LogIndex),
        staleness_ms: None,
        replayed: false,
        body: Body::of(body.to_string().as_bytes()),
    }
}

pub(super) fn account_json(id: &str, as_of: u64, euros: i64) -> Value {
    let balance = json!({ "currency": "EUR", "posted": euros, "held": 0, "available": euros });
    json!({ "id": id, "overdraft": "none", "balances": [balance], "index": as_of })
}

fn payment_json(entry: &Entry) -> Value {
    let Some(Operation::Payment(payment)) = entry.operation() else { panic!("{entry:?} is no payment") };
    let request = &payment.request;
    let mut body = json!({
        "id": PaymentId::derive(entry.timestamp.0, entry.epoch.0, entry.index.0).to_string(),
        "from": request.from, "to": request.to, "amount": request.amount, "currency": request.currency,
        "created_at": "2026-01-01T00:00:00.000Z", "index": entry.index, "epoch": entry.epoch,
    });
    match payment.outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            body["status"] = json!("succeeded");
            body["balances"] = json!({ "from": from_balance, "to": to_balance });
        }
        PaymentOutcome::Rejected(rejection) => {
            body["status"] = json!("rejected");
            body["rejection"] = json!(rejection.code());
        }
    }
    body
}
