//! Values that several tests of this layer share.

use std::time::Duration;

use crate::process::ProcessState;
use crate::runtime::{ClockStatus, FollowerStatus, NodeStatus, Role};
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, AccountPrefix, ApiKey, ApiKeyChange, ApiKeyChangeKind,
    ApiKeyGrant, ApiKeyName, ApiKeyOutcome, Batch, Capture, Currency, DecidedItem, Expiry, IdempotencyKey, KeyFence,
    MinorUnits, Operation, OperationRequest, OrderCap, OrderId, Payment, PaymentChange, PaymentChangeKind,
    PaymentChangeOutcome, PaymentId, PaymentOutcome, PaymentRequest, PaymentState, RuleVersion,
};
use quorapay_core::domain::{Epoch, LogIndex, Timestamp};
use quorapay_core::replication::{Entry, EntryBody, Hash, NodeId, StoreId, UnchainedEntry};

pub(super) fn node(id: &str) -> NodeId {
    NodeId::parse(id).expect("valid")
}

pub(super) fn account(id: &str) -> AccountId {
    AccountId::parse(id).expect("valid")
}

pub(super) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).expect("valid")
}

/// A value as it is written, read back.
pub(super) fn shown(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::from_slice(&super::write_json::to_json(value, 0)).expect("JSON")
}

/// An entry at index 7 of epoch 2.
pub(super) fn entry(body: EntryBody) -> Entry {
    let timestamp = Timestamp(1_700_000_000_005);
    UnchainedEntry { index: LogIndex(7), epoch: Epoch(2), timestamp, principal: None, body }.chain(&Hash::default())
}

pub(super) fn start_entry() -> Entry {
    entry(EntryBody::EpochStart { leader: node("node1"), rules: RuleVersion::FIRST })
}

/// 12.50 euros from a card to a shop, with everything that a payment may have.
pub(super) fn request() -> PaymentRequest {
    let order = OrderCap { id: OrderId::parse("o \"7\"").expect("valid"), total: MinorUnits::new(2_000) };
    PaymentRequest {
        order: Some(Box::new(order)),
        description: Some("tea \"black\"".into()),
        metadata: Some(r#"{"order":[1,2.5]}"#.into()),
        ..PaymentRequest::plain(
            account("external:card"),
            account("shop"),
            MinorUnits::new(1_250),
            Currency::parse("EUR").expect("valid"),
        )
    }
}

/// The same, set aside for a minute.
pub(super) fn held_request() -> PaymentRequest {
    PaymentRequest { capture: Capture::Manual { expires_in_s: 60 }, ..request() }
}

pub(super) fn succeeded() -> PaymentOutcome {
    PaymentOutcome::Succeeded { from_balance: MinorUnits::new(-1_250), to_balance: MinorUnits::new(1_250) }
}

pub(super) fn authorized() -> PaymentOutcome {
    PaymentOutcome::Authorized { from_held: MinorUnits::new(1_250), expires_at_ms: 1_700_000_060_005 }
}

pub(super) fn payment_entry(request: PaymentRequest, outcome: PaymentOutcome) -> Entry {
    let fingerprint = request.fingerprint();
    let payment = Payment { key: key("order \"42\""), fingerprint, request, order_before: None, outcome };
    entry(EntryBody::Operation(Operation::Payment(payment)))
}

/// The change that an applied capture or refund of so much leaves.
pub(super) fn applied(amount: i64) -> PaymentChangeOutcome {
    PaymentChangeOutcome::Applied {
        amount: MinorUnits::new(amount),
        from_balance: MinorUnits::new(-amount),
        to_balance: MinorUnits::new(amount),
    }
}

/// A change of the held payment, and that payment's id.
pub(super) fn change_entry(change: PaymentChangeKind, outcome: PaymentChangeOutcome) -> (Entry, PaymentId) {
    let payment = held_id();
    let before = PaymentState::decided(&held_request(), authorized()).map(Box::new);
    let fingerprint = change.fingerprint(payment);
    let change = PaymentChange { key: key("change"), fingerprint, payment, change, before, outcome };
    (entry(EntryBody::Operation(Operation::PaymentChange(change))), payment)
}

fn held_id() -> PaymentId {
    PaymentId::derive(
        quorapay_core::domain::Stamp { timestamp: Timestamp(1_700_000_000_001), epoch: Epoch(2), index: LogIndex(5) },
        0,
    )
}

pub(super) fn expiry_entry() -> Entry {
    let before = PaymentState::decided(&held_request(), authorized()).expect("no repeat");
    entry(EntryBody::Operation(Operation::Expiry(Expiry { payment: held_id(), before })))
}

/// A batch of equal payments with these outcomes. Their keys are `item 0` and so on.
pub(super) fn batch_entry(atomic: bool, outcomes: &[PaymentOutcome]) -> Entry {
    let item = |(at, outcome): (usize, &PaymentOutcome)| {
        let request = request();
        let key = key(&format!("item {at}"));
        DecidedItem { key: Some((key, request.fingerprint())), request, order_before: None, outcome: *outcome }
    };
    let items: Vec<DecidedItem> = outcomes.iter().enumerate().map(item).collect();
    let fingerprint = OperationRequest::KeyFence.fingerprint();
    entry(EntryBody::Operation(Operation::Batch(Batch { key: key("batch"), fingerprint, atomic, items })))
}

pub(super) fn account_entry(id: &str, change: AccountChangeKind) -> Entry {
    let account = account(id);
    let fingerprint = change.fingerprint(&account);
    let change = AccountChange { key: key("account"), fingerprint, account, change, outcome: AccountOutcome::Applied };
    entry(EntryBody::Operation(Operation::Account(change)))
}

pub(super) fn fence_entry(text: &str) -> Entry {
    let fingerprint = OperationRequest::KeyFence.fingerprint();
    entry(EntryBody::Operation(Operation::KeyFence(KeyFence { key: key(text), fingerprint })))
}

/// A request for a key with everything that a key may have.
pub(super) fn api_key_creation() -> ApiKeyChangeKind {
    let prefixes = |text| [AccountPrefix::parse(text).expect("valid")].into();
    let grant = ApiKeyGrant {
        debits: prefixes("external:"),
        credits: prefixes("shop:"),
        limits: [(Currency::parse("EUR").expect("valid"), MinorUnits::new(5_000))].into(),
        expires_at: Some(Timestamp(1_900_000_000_000)),
        ..ApiKeyGrant::everything(ApiKeyName::parse("shop").expect("valid"))
    };
    ApiKeyChangeKind::Create { grant: Box::new(grant), secret: ApiKey::from_random([1; 8], [2; 32]).digest() }
}

pub(super) fn api_key_entry(change: ApiKeyChangeKind) -> Entry {
    let id = ApiKey::from_random([1; 8], [2; 32]).id();
    let fingerprint = change.fingerprint(id);
    let change = ApiKeyChange { key: key("api key"), fingerprint, id, change, outcome: ApiKeyOutcome::Applied };
    let mut entry = entry(EntryBody::Operation(Operation::ApiKey(change)));
    entry.principal = Some(id);
    entry
}

pub(super) fn account_change_of(entry: &Entry) -> &AccountChange {
    match entry.operation() {
        Some(Operation::Account(change)) => change,
        other => panic!("no change of an account: {other:?}"),
    }
}

pub(super) fn payment_change_of(entry: &Entry) -> &PaymentChange {
    match entry.operation() {
        Some(Operation::PaymentChange(change)) => change,
        other => panic!("no change of a payment: {other:?}"),
    }
}

/// A healthy leader with one follower.
pub(super) fn status() -> NodeStatus {
    let follower = FollowerStatus { matched_index: LogIndex(37), lag: 5, reachable: true, voter: true };
    NodeStatus {
        node_id: node("node1"),
        store_id: StoreId(1),
        cluster_id: "quorapay".to_owned(),
        role: Role::Leader,
        epoch: Epoch(3),
        promised_epoch: Epoch(3),
        leader: Some(node("node1")),
        last_index: LogIndex(42),
        commit_index: LogIndex(41),
        applied_index: LogIndex(41),
        applied_timestamp: Timestamp(1_700_000_000_000),
        projected_index: LogIndex(10),
        views_lag_keys: 40,
        views_lag_bytes: 7_936,
        views_rebuilding: None,
        staleness_ms: 0,
        zookeeper_connected: true,
        elections_won: 2,
        quarantine: None,
        hung_write_ms: None,
        stays_quarantined: false,
        followers: [(node("node2"), follower)].into(),
        configuration: None,
        clocks: [
            (
                node("node1"),
                ClockStatus {
                    offset_us: Some(2_000),
                    error_us: Some(50_210),
                    drift_ppb: Some(-12_500),
                    falseticker: false,
                },
            ),
            (
                node("node2"),
                ClockStatus {
                    offset_us: Some(-3_600_000_000),
                    error_us: Some(50_400),
                    drift_ppb: None,
                    falseticker: true,
                },
            ),
        ]
        .into(),
        corrected_clock: Some(Timestamp(1_700_000_000_018)),
        corrected_clock_error_ms: Some(51),
        time_error_ms: Some(53),
        wall_clock: Timestamp(1_700_000_000_020),
        rule_version: RuleVersion::FIRST,
        newest_rule_version: RuleVersion::FIRST,
        client_url: "http://127.0.0.1:7101".to_owned(),
        peer_url: "http://127.0.0.1:7201".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

/// A process for which the system says everything but where its files end.
pub(super) fn process() -> ProcessState {
    ProcessState {
        cpu: Some(Duration::from_micros(12_345_678)),
        cpu_by_thread: [("ledger-writer", 2_340), ("main", 9_870)]
            .map(|(name, ms)| (name.to_owned(), Duration::from_millis(ms)))
            .into(),
        resident_bytes: Some(191 << 20),
        virtual_bytes: Some(1 << 30),
        open_fds: Some(90),
        max_fds: None,
        started: Some(Duration::from_millis(1_700_000_000_120)),
        threads: Some(9),
        storage_read_bytes: Some(4_096),
        storage_written_bytes: Some(1_234_567),
        disk_free_bytes: Some(78 << 30),
        disk_size_bytes: Some(252 << 30),
        file_bytes: [("ledger.db", 65_536), ("views.db", 32_768), ("views.db-wal", 8_192)].into(),
    }
}
