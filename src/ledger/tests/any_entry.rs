//! Entries of any content, through a real file and back.

use std::sync::Arc;

use proptest::prelude::*;

use super::opened;
use crate::domain::{
    AccountChange, AccountChangeKind, AccountOutcome, Currency, Fingerprint, IdempotencyKey, MinorUnits, Operation,
    Overdraft, Payment, PaymentOutcome, PaymentRequest, Rejection,
};
use crate::replication::sample::account;
use crate::replication::{Body, Epoch, Persist, Position, Timestamp, UnchainedEntry};

fn any_text() -> impl Strategy<Value = Option<compact_str::CompactString>> {
    proptest::option::of(any::<String>().prop_map(Into::into))
}

fn any_rejection() -> impl Strategy<Value = Rejection> {
    prop_oneof![
        Just(Rejection::InsufficientFunds),
        Just(Rejection::AccountNotFound),
        Just(Rejection::AccountExists),
        Just(Rejection::BalanceOverflow),
        Just(Rejection::OverdraftInUse),
    ]
}

fn any_overdraft() -> impl Strategy<Value = Overdraft> {
    let limit = (1..=i64::MAX).prop_map(|units| Overdraft::Limit(MinorUnits::new(units)));
    prop_oneof![Just(Overdraft::None), Just(Overdraft::Unlimited), limit]
}

prop_compose! {
    fn any_payment()(
        key in "[ -~]{1,255}", fingerprint: [u8; 16], from in "[A-Za-z0-9_.:-]{1,64}", to in "[A-Za-z0-9_.:-]{1,64}",
        amount: i64, currency in "EUR|JPY|KWD", description in any_text(), metadata in any_text(),
        from_balance: i64, to_balance: i64, rejection in proptest::option::of(any_rejection()),
    ) -> Operation {
        let request = PaymentRequest {
            from: account(&from),
            to: account(&to),
            amount: MinorUnits::new(amount),
            currency: Currency::parse(&currency).unwrap(),
            description,
            metadata,
        };
        let succeeded = PaymentOutcome::Succeeded {
            from_balance: MinorUnits::new(from_balance),
            to_balance: MinorUnits::new(to_balance),
        };
        let outcome = rejection.map_or(succeeded, PaymentOutcome::Rejected);
        let key = IdempotencyKey::parse(&key).unwrap();
        Operation::Payment(Payment { key, fingerprint: Fingerprint(fingerprint), request, outcome })
    }
}

prop_compose! {
    fn any_account_change()(
        key in "[ -~]{1,255}", fingerprint: [u8; 16], id in "[A-Za-z0-9_.:-]{1,64}", opens: bool,
        overdraft in any_overdraft(), rejection in proptest::option::of(any_rejection()),
    ) -> Operation {
        let change =
            if opens { AccountChangeKind::Open(overdraft) } else { AccountChangeKind::SetOverdraft(overdraft) };
        Operation::Account(AccountChange {
            key: IdempotencyKey::parse(&key).unwrap(),
            fingerprint: Fingerprint(fingerprint),
            account: account(&id),
            change,
            outcome: rejection.map_or(AccountOutcome::Applied, AccountOutcome::Rejected),
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_entries_read_back_exactly(
        operations in proptest::collection::vec(prop_oneof![any_payment(), any_account_change()], 1..150),
    ) {
        let mut last = Position { epoch: Epoch(3), ..Position::default() };
        let mut entries = Vec::new();
        for operation in operations {
            let index = last.index.next();
            let body = Body::Operation(operation);
            let entry = UnchainedEntry { index, epoch: last.epoch, timestamp: Timestamp(index.0), body };
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
        });
    }
}
