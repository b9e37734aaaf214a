//! API keys in the bank: at which time each allows what, and that every change can be undone.

use super::*;
use crate::domain::{
    AccountId, AccountPrefix, ApiKey, ApiKeyGrant, ApiKeyName, Bank, Capture, Currency, Epoch, IdempotencyKey,
    KeyHolders, LogIndex, MinorUnits, PaymentChangeKind, PaymentId, PaymentRequest, Proposal,
};

fn api_key(number: u8) -> ApiKey {
    ApiKey::from_random([number; 8], [number; 32])
}

fn everything(name: &str) -> ApiKeyGrant {
    ApiKeyGrant::everything(ApiKeyName::parse(name).expect("a name"))
}

fn create_api_key(key: &ApiKey, grant: ApiKeyGrant) -> OperationRequest {
    let change = ApiKeyChangeKind::Create { grant: Box::new(grant), secret: key.digest() };
    OperationRequest::ApiKey { id: key.id(), change }
}

fn payment(to: &str, capture: Capture) -> OperationRequest {
    let account = |id| AccountId::parse(id).expect("valid");
    let currency = Currency::parse("EUR").expect("known");
    let plain = PaymentRequest::plain(account("external:card"), account(to), MinorUnits::new(1), currency);
    OperationRequest::Payment(PaymentRequest { capture, ..plain })
}

fn stamp(index: u64, now_ms: u64) -> Stamp {
    Stamp { timestamp: Timestamp(now_ms), epoch: Epoch(1), index: LogIndex(index) }
}

fn execute(bank: &mut Bank, now_ms: u64, request: OperationRequest) -> Operation {
    let before = bank.api_keys().clone();
    let key = IdempotencyKey::parse("k").expect("printable");
    let (operation, undo) = bank.execute(stamp(1, now_ms), Proposal { key, request }, &KeyHolders::new());
    let after = bank.api_keys().clone();
    bank.undo(&undo);
    assert_eq!(*bank.api_keys(), before, "it is undone");
    let mut rewound = after.clone();
    undo.rewind_api_keys(&mut rewound);
    assert_eq!(rewound, before, "and rewound");
    bank.apply(stamp(1, now_ms), &operation).expect("another bank decides the same");
    assert_eq!(*bank.api_keys(), after);
    operation
}

fn change(number: u8, change: ApiKeyChangeKind) -> OperationRequest {
    OperationRequest::ApiKey { id: api_key(number).id(), change }
}

fn rotate(number: u8, old_valid_for_s: u32) -> OperationRequest {
    change(number, ApiKeyChangeKind::Rotate { secret: api_key(99).digest(), old_valid_for_s })
}

fn paying() -> OperationRequest {
    payment("a", Capture::Automatic)
}

#[test]
fn a_key_pays_from_its_creation_until_its_revocation_or_expiry() {
    let mut bank = Bank::default();
    let id = api_key(1).id();
    assert_eq!(bank.authorise(Timestamp(0), id, &paying()), Err(Denial::Unknown));
    let grant = ApiKeyGrant { expires_at: Some(Timestamp(2_000)), ..everything("shop") };
    execute(&mut bank, 1_000, create_api_key(&api_key(1), grant));
    assert_eq!(bank.authorise(Timestamp(1_999), id, &paying()), Ok(()));
    assert_eq!(bank.authorise(Timestamp(2_000), id, &paying()), Err(Denial::Expired));
    execute(&mut bank, 1_500, change(1, ApiKeyChangeKind::Revoke));
    assert_eq!(bank.authorise(Timestamp(1_500), id, &paying()), Err(Denial::Revoked));
}

#[test]
fn an_entry_whose_caller_was_not_allowed_it_diverges() {
    let mut bank = Bank::default();
    let operation = execute(&mut bank, 1_000, paying());
    let id = api_key(1).id();
    assert!(bank.check_principal(stamp(2, 1_000), id, &operation).is_err(), "nobody has this key");
    execute(&mut bank, 1_000, create_api_key(&api_key(1), everything("shop")));
    assert_eq!(bank.check_principal(stamp(2, 1_000), id, &operation), Ok(()));
    execute(&mut bank, 1_000, change(1, ApiKeyChangeKind::Revoke));
    assert!(bank.check_principal(stamp(2, 1_000), id, &operation).is_err());
}

#[test]
fn a_rotation_keeps_the_old_secret_for_the_time_that_it_states() {
    let mut bank = Bank::default();
    execute(&mut bank, 1_000, create_api_key(&api_key(1), everything("shop")));
    execute(&mut bank, 5_000, rotate(1, 60));
    let key = &bank.api_keys()[&api_key(1).id()];
    assert_eq!(key.secret, api_key(99).digest());
    let old = OldSecret { digest: api_key(1).digest(), valid_until: Timestamp(65_000) };
    assert_eq!((key.old_secret, key.created_at), (Some(old), Timestamp(1_000)));
}

#[test]
fn a_change_of_no_key_of_an_old_or_of_a_revoked_one_is_refused() {
    let mut bank = Bank::default();
    assert_eq!(execute(&mut bank, 1, rotate(1, 0)).rejection(), Some(Rejection::ApiKeyNotFound));
    execute(&mut bank, 1, create_api_key(&api_key(1), everything("shop")));
    let again = execute(&mut bank, 1, create_api_key(&api_key(1), everything("other")));
    assert_eq!(again.rejection(), Some(Rejection::ApiKeyExists));
    execute(&mut bank, 1, change(1, ApiKeyChangeKind::Revoke));
    for late in [change(1, ApiKeyChangeKind::Revoke), rotate(1, 0)] {
        assert_eq!(execute(&mut bank, 1, late).rejection(), Some(Rejection::ApiKeyRevoked));
    }
    let again = execute(&mut bank, 1, create_api_key(&api_key(1), everything("other")));
    assert_eq!(again.rejection(), Some(Rejection::ApiKeyExists), "an id is used once");
}

#[test]
fn the_keys_are_bounded_and_the_one_revoked_first_makes_place() {
    let mut bank = Bank::default();
    let numbered = |number: usize| {
        let id = u64::try_from(number).expect("small").to_be_bytes();
        ApiKey::from_random(id, [0; 32])
    };
    let create = |number| create_api_key(&numbered(number), everything("shop"));
    for number in 0..MAX_API_KEYS {
        let key = IdempotencyKey::parse("k").expect("printable");
        let (operation, _) = bank.execute(stamp(1, 1), Proposal { key, request: create(number) }, &KeyHolders::new());
        assert_eq!(operation.rejection(), None);
    }
    assert_eq!(execute(&mut bank, 1, create(MAX_API_KEYS)).rejection(), Some(Rejection::TooManyApiKeys));
    for (now_ms, number) in [(20, 5), (10, 7)] {
        let revoke = OperationRequest::ApiKey { id: numbered(number).id(), change: ApiKeyChangeKind::Revoke };
        execute(&mut bank, now_ms, revoke);
    }
    assert_eq!(execute(&mut bank, 30, create(MAX_API_KEYS)).rejection(), None);
    assert_eq!(bank.api_keys().len(), MAX_API_KEYS);
    let held = |number| bank.api_keys().contains_key(&numbered(number).id());
    assert_eq!((held(5), held(7), held(MAX_API_KEYS)), (true, false, true));
}

#[test]
fn a_change_of_a_payment_is_checked_against_the_payment_that_memory_holds() {
    let mut bank = Bank::default();
    let grant = ApiKeyGrant { credits: [AccountPrefix::parse("shop:").expect("valid")].into(), ..everything("shop") };
    execute(&mut bank, 1, create_api_key(&api_key(1), grant));
    execute(&mut bank, 1, payment("other", Capture::Manual { expires_in_s: 5 }));
    let void =
        OperationRequest::PaymentChange { payment: PaymentId::derive(stamp(1, 1), 0), change: PaymentChangeKind::Void };
    assert_eq!(bank.authorise(Timestamp(1), api_key(1).id(), &void), Err(Denial::Credit));
}
