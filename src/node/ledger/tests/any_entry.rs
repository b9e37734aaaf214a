//! Entries of any content, through a real file and back.

use std::sync::Arc;

use proptest::option;
use proptest::prelude::*;

use super::opened;
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountOutcome, AccountPrefix, AccountStatus, ApiKey, ApiKeyChange,
    ApiKeyChangeKind, ApiKeyGrant, ApiKeyId, ApiKeyName, ApiKeyOutcome, Batch, Capture, Currency, DecidedItem, Expiry,
    Fingerprint, HoldEnd, IdempotencyKey, KeyFence, LogIndex, MinorUnits, Operation, OrderCap, OrderId, OrderState,
    Overdraft, Payment, PaymentChange, PaymentChangeKind, PaymentChangeOutcome, PaymentId, PaymentOutcome,
    PaymentRequest, PaymentState, Rejection, Scope, Stamp,
};
use quorapay_core::domain::{Epoch, Timestamp};
use quorapay_core::replication::sample::account;
use quorapay_core::replication::{EntryBody, Persist, Position, UnchainedEntry};

fn any_text() -> impl Strategy<Value = Option<compact_str::CompactString>> {
    option::of(any::<String>().prop_map(Into::into))
}

fn any_rejection() -> impl Strategy<Value = Rejection> {
    proptest::sample::select(Rejection::all().collect::<Vec<_>>())
}

fn any_overdraft() -> impl Strategy<Value = Overdraft> {
    let limit = (1..=i64::MAX).prop_map(|units| Overdraft::Limit(MinorUnits::new(units)));
    prop_oneof![Just(Overdraft::None), Just(Overdraft::Unlimited), limit]
}

fn any_units() -> impl Strategy<Value = MinorUnits> {
    any::<i64>().prop_map(MinorUnits::new)
}

fn any_key() -> impl Strategy<Value = IdempotencyKey> {
    "[ -~]{1,255}".prop_map(|key| IdempotencyKey::parse(&key).unwrap())
}

fn any_fingerprint() -> impl Strategy<Value = Fingerprint> {
    any::<[u8; 16]>().prop_map(Fingerprint)
}

fn any_currency() -> impl Strategy<Value = Currency> {
    "EUR|JPY|KWD".prop_map(|code| Currency::parse(&code).unwrap())
}

fn any_order_id() -> impl Strategy<Value = OrderId> {
    "[ -~]{1,64}".prop_map(|id| OrderId::parse(&id).unwrap())
}

fn any_order_state() -> impl Strategy<Value = OrderState> {
    (any_currency(), any_units(), any_units()).prop_map(|(currency, total, used)| OrderState { currency, total, used })
}

fn any_payment_id() -> impl Strategy<Value = PaymentId> {
    let stamp = (0_u64..1 << 48, 0_u64..1 << 12, 0_u64..1 << 48);
    (stamp, 0_u16..1 << 14).prop_map(|((timestamp_ms, epoch, index), item)| {
        PaymentId::derive(
            Stamp { timestamp: Timestamp(timestamp_ms), epoch: Epoch(epoch), index: LogIndex(index) },
            item,
        )
    })
}

fn any_capture() -> impl Strategy<Value = Capture> {
    let manual = any::<u32>().prop_map(|expires_in_s| Capture::Manual { expires_in_s });
    prop_oneof![Just(Capture::Automatic), manual]
}

fn any_outcome() -> impl Strategy<Value = PaymentOutcome> {
    prop_oneof![
        (any_units(), any_units())
            .prop_map(|(from_balance, to_balance)| PaymentOutcome::Succeeded { from_balance, to_balance }),
        any_rejection().prop_map(PaymentOutcome::Rejected),
        (any_units(), any::<u64>())
            .prop_map(|(from_held, expires_at_ms)| PaymentOutcome::Authorized { from_held, expires_at_ms }),
        any::<u64>().prop_map(|index| PaymentOutcome::Repeated { index: LogIndex(index) }),
    ]
}

prop_compose! {
    fn any_request()(
        from in "[A-Za-z0-9_.:-]{1,64}", to in "[A-Za-z0-9_.:-]{1,64}", amount in any_units(),
        currency in any_currency(), capture in any_capture(), order in option::of((any_order_id(), any_units())),
        opens_accounts: bool, description in any_text(), metadata in any_text(),
    ) -> PaymentRequest {
        PaymentRequest {
            from: account(&from),
            to: account(&to),
            amount,
            currency,
            capture,
            order: order.map(|(id, total)| Box::new(OrderCap { id, total })),
            opens_accounts,
            description,
            metadata,
        }
    }
}

fn any_payment() -> impl Strategy<Value = Operation> {
    (any_key(), any_fingerprint(), any_request(), option::of(any_order_state()), any_outcome()).prop_map(
        |(key, fingerprint, request, order_before, outcome)| {
            Operation::Payment(Payment { key, fingerprint, request, order_before, outcome })
        },
    )
}

prop_compose! {
    fn any_state()(
        (from, to) in ("[A-Za-z0-9_.:-]{1,64}", "[A-Za-z0-9_.:-]{1,64}"), currency in any_currency(),
        (amount, held, captured, refunded) in (any_units(), any_units(), any_units(), any_units()),
        expires_at_ms: Option<u64>, order in option::of(any_order_id()), changes: u32, last_change: u64,
        end in prop_oneof![
            Just(HoldEnd::None), Just(HoldEnd::Voided), Just(HoldEnd::Expired), Just(HoldEnd::Rejected)
        ],
    ) -> PaymentState {
        let (from, to) = (account(&from), account(&to));
        PaymentState {
            from, to, currency, amount, held, captured, refunded, expires_at_ms, end, order, changes, last_change: LogIndex(last_change),
        }
    }
}

fn any_payment_change() -> impl Strategy<Value = Operation> {
    let kind = prop_oneof![
        option::of(any_units()).prop_map(PaymentChangeKind::Capture),
        Just(PaymentChangeKind::Void),
        option::of(any_units()).prop_map(PaymentChangeKind::Refund),
    ];
    let outcome = prop_oneof![
        (any_units(), any_units(), any_units()).prop_map(|(amount, from_balance, to_balance)| {
            PaymentChangeOutcome::Applied { amount, from_balance, to_balance }
        }),
        any_rejection().prop_map(PaymentChangeOutcome::Rejected),
    ];
    let before = option::of(any_state().prop_map(Box::new));
    (any_key(), any_fingerprint(), any_payment_id(), kind, before, outcome).prop_map(
        |(key, fingerprint, payment, change, before, outcome)| {
            Operation::PaymentChange(PaymentChange { key, fingerprint, payment, change, before, outcome })
        },
    )
}

fn any_batch() -> impl Strategy<Value = Operation> {
    let key = option::of((any_key(), any_fingerprint()));
    let item = (key, any_request(), option::of(any_order_state()), any_outcome())
        .prop_map(|(key, request, order_before, outcome)| DecidedItem { key, request, order_before, outcome });
    (any_key(), any_fingerprint(), any::<bool>(), proptest::collection::vec(item, 1..40))
        .prop_map(|(key, fingerprint, atomic, items)| Operation::Batch(Batch { key, fingerprint, atomic, items }))
}

prop_compose! {
    fn any_account_change()(
        key in any_key(), fingerprint in any_fingerprint(), id in "[A-Za-z0-9_.:-]{1,64}", opens: bool,
        overdraft in any_overdraft(), changed in option::of(any_overdraft()), rejection in option::of(any_rejection()),
        status in proptest::sample::select(vec![
            None, Some(AccountStatus::Active), Some(AccountStatus::Frozen), Some(AccountStatus::Closed)
        ]),
    ) -> Operation {
        let change = if opens {
            AccountChangeKind::Open(overdraft)
        } else {
            AccountChangeKind::Change { overdraft: changed, status }
        };
        let outcome = rejection.map_or(AccountOutcome::Applied, AccountOutcome::Rejected);
        Operation::Account(AccountChange { key, fingerprint, account: account(&id), change, outcome })
    }
}

fn any_principal() -> impl Strategy<Value = Option<ApiKeyId>> {
    option::of(any_api_key().prop_map(|key| key.id()))
}

fn any_api_key() -> impl Strategy<Value = ApiKey> {
    (any::<[u8; 8]>(), any::<[u8; 32]>()).prop_map(|(id, secret)| ApiKey::from_random(id, secret))
}

prop_compose! {
    fn any_grant()(
        name in "[^\\p{Cc}]{1,25}", scopes in proptest::sample::subsequence(Scope::ALL.to_vec(), 0..=6),
        debits in proptest::collection::btree_set("[A-Za-z0-9_.:-]{1,64}", 0..4),
        credits in proptest::collection::btree_set("[A-Za-z0-9_.:-]{1,64}", 0..4),
        limits in proptest::collection::btree_map(any_currency(), any_units(), 0..4), expires_at: Option<u64>,
    ) -> ApiKeyGrant {
        let prefix = |text: String| AccountPrefix::parse(&text).unwrap();
        ApiKeyGrant {
            name: ApiKeyName::parse(&name).unwrap(),
            scopes: scopes.into_iter().collect(),
            debits: debits.into_iter().map(prefix).collect(),
            credits: credits.into_iter().map(prefix).collect(),
            limits,
            expires_at: expires_at.map(Timestamp),
        }
    }
}

fn any_api_key_change() -> impl Strategy<Value = Operation> {
    let change = prop_oneof![
        (any_grant(), any_api_key())
            .prop_map(|(grant, key)| ApiKeyChangeKind::Create { grant: Box::new(grant), secret: key.digest() }),
        (any_api_key(), any::<u32>())
            .prop_map(|(key, old_valid_for_s)| ApiKeyChangeKind::Rotate { secret: key.digest(), old_valid_for_s }),
        Just(ApiKeyChangeKind::Revoke),
    ];
    (any_key(), any_fingerprint(), any_api_key(), change, option::of(any_rejection())).prop_map(
        |(key, fingerprint, id, change, rejection)| {
            let outcome = rejection.map_or(ApiKeyOutcome::Applied, ApiKeyOutcome::Rejected);
            Operation::ApiKey(ApiKeyChange { key, fingerprint, id: id.id(), change, outcome })
        },
    )
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => any_payment(),
        2 => any_payment_change(),
        1 => any_batch(),
        1 => any_account_change(),
        1 => (any_payment_id(), any_state())
            .prop_map(|(payment, before)| Operation::Expiry(Expiry { payment, before })),
        1 => any_api_key_change(),
        1 => (any_key(), any_fingerprint()).prop_map(|(key, fingerprint)| Operation::KeyFence(KeyFence { key, fingerprint })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_entries_read_back_exactly(operations in proptest::collection::vec((any_principal(), any_operation()), 1..150)) {
        let mut last = Position { epoch: Epoch(3), ..Position::default() };
        let mut entries = Vec::new();
        for (principal, operation) in operations {
            let index = last.index.next();
            let body = EntryBody::Operation(operation);
            let entry = UnchainedEntry { index, epoch: last.epoch, timestamp: Timestamp(index.0), principal, body };
            let entry = entry.chain(&last.hash);
            last = entry.position();
            entries.push(Arc::new(entry));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut ledger = opened(dir.path()).await;
            let write = Persist { entries: entries.clone(), ..Persist::default() };
            ledger.writer.persist(&[write]).await.unwrap();
            drop(ledger);
            let again = opened(dir.path()).await;
            assert_eq!(again.damaged, None);
            assert_eq!(again.start.tail, entries);
            let end = entries.last().unwrap().index;
            assert_eq!(again.reader.entries(entries[0].index, end, 1_000).await.unwrap(), entries);
        });
    }
}
