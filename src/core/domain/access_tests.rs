//! What a key allows, request by request.

use super::*;
use crate::domain::{AccountChangeKind, BatchItem, BatchRequest, Capture, Overdraft, PaymentId, PaymentOutcome, Stamp};

fn account(id: &str) -> AccountId {
    AccountId::parse(id).expect("valid")
}

fn currency(code: &str) -> Currency {
    Currency::parse(code).expect("known")
}

fn prefixes<const N: usize>(texts: [&str; N]) -> BTreeSet<AccountPrefix> {
    texts.map(|text| AccountPrefix::parse(text).expect("valid")).into()
}

fn everything() -> ApiKeyGrant {
    ApiKeyGrant::everything(ApiKeyName::parse("shop").expect("valid"))
}

fn limited() -> ApiKeyGrant {
    ApiKeyGrant {
        debits: prefixes(["external:card", "shop:1:"]),
        credits: prefixes(["shop:1:"]),
        limits: [(currency("EUR"), MinorUnits::new(100))].into(),
        ..everything()
    }
}

fn payment(from: &str, to: &str, amount: i64, code: &str) -> PaymentRequest {
    PaymentRequest::plain(account(from), account(to), MinorUnits::new(amount), currency(code))
}

fn check(grant: &ApiKeyGrant, request: &OperationRequest) -> Result<(), Denial> {
    grant.check_request(request, None)
}

fn pay(grant: &ApiKeyGrant, from: &str, to: &str, amount: i64, code: &str) -> Result<(), Denial> {
    let plain = payment(from, to, amount, code);
    let held = PaymentRequest { capture: Capture::Manual { expires_in_s: 5 }, ..plain.clone() };
    let fine = BatchItem { key: None, request: payment("external:card", "shop:1:a", 1, "EUR") };
    let items = vec![fine, BatchItem { key: None, request: plain.clone() }];
    let batch = OperationRequest::Batch(BatchRequest { atomic: false, items });
    let alone = check(grant, &OperationRequest::Payment(plain));
    assert_eq!(check(grant, &OperationRequest::Payment(held)), alone, "a hold");
    assert_eq!(check(grant, &batch), alone, "a batch");
    alone
}

#[test]
fn a_payment_needs_its_accounts_its_amount_and_its_currency() {
    let grant = limited();
    assert_eq!(pay(&grant, "external:card", "shop:1:a", 100, "EUR"), Ok(()));
    assert_eq!(pay(&grant, "shop:1:a", "shop:1:b", 1, "EUR"), Ok(()));
    assert_eq!(pay(&grant, "shop:2:a", "shop:1:a", 1, "EUR"), Err(Denial::Debit));
    assert_eq!(pay(&grant, "shop:1:a", "external:card", 1, "EUR"), Err(Denial::Credit));
    assert_eq!(pay(&grant, "shop:1:a", "shop:1", 1, "EUR"), Err(Denial::Credit), "only what begins with the prefix");
    assert_eq!(pay(&grant, "external:card", "shop:1:a", 101, "EUR"), Err(Denial::Limit));
    assert_eq!(pay(&grant, "external:card", "shop:1:a", 1, "USD"), Err(Denial::Limit), "a currency it does not name");
    assert_eq!(pay(&everything(), "x", "y", i64::MAX, "USD"), Ok(()));
}

#[test]
fn a_change_of_a_payment_needs_the_payments_accounts_and_what_it_moves_is_limited() {
    let held = |from: &str, to: &str, amount| {
        let capture = Capture::Manual { expires_in_s: 5 };
        let request = PaymentRequest { capture, ..payment(from, to, amount, "EUR") };
        let outcome = PaymentOutcome::Authorized { from_held: MinorUnits::new(amount), expires_at_ms: 9 };
        PaymentState::decided(&request, outcome).expect("decided")
    };
    let change = |state: &PaymentState, change| {
        let request = OperationRequest::PaymentChange { payment: PaymentId::derive(Stamp::default(), 0), change };
        limited().check_request(&request, Some(state))
    };
    let own = held("external:card", "shop:1:a", 500);
    assert_eq!(change(&own, PaymentChangeKind::Void), Ok(()), "nothing moves");
    assert_eq!(change(&own, PaymentChangeKind::Capture(None)), Err(Denial::Limit), "all of it");
    assert_eq!(change(&own, PaymentChangeKind::Capture(Some(MinorUnits::new(100)))), Ok(()));
    assert_eq!(change(&own, PaymentChangeKind::Refund(Some(MinorUnits::new(101)))), Err(Denial::Limit));
    assert_eq!(
        change(&own, PaymentChangeKind::Refund(Some(MinorUnits::new(100)))),
        Ok(()),
        "back to where it was from"
    );
    for kind in [PaymentChangeKind::Void, PaymentChangeKind::Capture(None), PaymentChangeKind::Refund(None)] {
        assert_eq!(change(&held("external:card", "shop:2:a", 5), kind), Err(Denial::Credit), "{kind:?}");
        assert_eq!(change(&held("shop:2:a", "shop:1:a", 5), kind), Err(Denial::Debit), "{kind:?}");
    }
}

fn one_of_each() -> [(OperationRequest, Scope); 7] {
    let change = |change| OperationRequest::PaymentChange { payment: PaymentId::derive(Stamp::default(), 0), change };
    let id = super::super::ApiKeyId::parse("0123456789abcdef").expect("valid");
    [
        (OperationRequest::Payment(payment("a", "b", 1, "EUR")), Scope::PaymentsWrite),
        (change(PaymentChangeKind::Capture(None)), Scope::PaymentsWrite),
        (change(PaymentChangeKind::Void), Scope::PaymentsWrite),
        (change(PaymentChangeKind::Refund(None)), Scope::RefundsWrite),
        (OperationRequest::KeyFence, Scope::PaymentsWrite),
        (
            OperationRequest::Account { account: account("a"), change: AccountChangeKind::Open(Overdraft::None) },
            Scope::AccountsAdmin,
        ),
        (OperationRequest::ApiKey { id, change: ApiKeyChangeKind::Revoke }, Scope::ClusterAdmin),
    ]
}

#[test]
fn every_write_needs_its_scope_and_no_other() {
    for (request, needed) in one_of_each() {
        let only = ApiKeyGrant { scopes: [needed].into(), ..everything() };
        assert_eq!(check(&only, &request), Ok(()));
        let others = Scope::ALL.into_iter().filter(|scope| *scope != needed).collect();
        assert_eq!(check(&ApiKeyGrant { scopes: others, ..everything() }, &request), Err(Denial::Scope(needed)));
    }
}

#[test]
fn an_account_is_changed_by_who_may_both_debit_and_credit_it() {
    let open = |id: &str| {
        let change = AccountChangeKind::Open(Overdraft::Unlimited);
        check(&limited(), &OperationRequest::Account { account: account(id), change })
    };
    assert_eq!(open("shop:1:a"), Ok(()));
    assert_eq!(open("external:card"), Err(Denial::Account), "it may only debit it");
    assert_eq!(open("shop:2:a"), Err(Denial::Account));
}

#[test]
fn a_key_gives_away_only_what_it_has_and_only_without_limits() {
    let create = |by: &ApiKeyGrant, grant: ApiKeyGrant| {
        let id = super::super::ApiKeyId::parse("0123456789abcdef").expect("valid");
        let secret = super::super::ApiKey::from_random([0; 8], [0; 32]).digest();
        check(by, &OperationRequest::ApiKey { id, change: ApiKeyChangeKind::Create { grant: Box::new(grant), secret } })
    };
    assert_eq!(create(&everything(), everything()), Ok(()));
    assert_eq!(create(&limited(), limited()), Err(Denial::Management));
    let admin = ApiKeyGrant { scopes: [Scope::ClusterAdmin, Scope::Metrics].into(), ..everything() };
    assert_eq!(create(&admin, ApiKeyGrant { scopes: [Scope::Metrics].into(), ..everything() }), Ok(()));
    assert_eq!(
        create(&admin, ApiKeyGrant { scopes: [Scope::PaymentsWrite].into(), ..everything() }),
        Err(Denial::Management)
    );
}

#[test]
fn a_key_that_names_accounts_reads_what_concerns_them_and_nothing_else() {
    let (own, other) = (account("shop:1:a"), account("shop:2:a"));
    assert_eq!(limited().check_readable([&own]), Ok(()));
    assert_eq!(limited().check_readable([&other, &own]), Ok(()), "a payment between both");
    assert_eq!(limited().check_readable([&other]), Err(Denial::Account));
    assert_eq!(limited().check_readable([]), Err(Denial::Account), "what concerns everybody");
    let debits_only = ApiKeyGrant { credits: BTreeSet::new(), ..limited() };
    assert_eq!(debits_only.check_readable([&other]), Err(Denial::Account), "it may credit any account, and read few");
    assert_eq!(everything().check_readable([]), Ok(()));
}

#[test]
fn names_and_prefixes_are_short_texts() {
    for bad in ["", "a\n", &"x".repeat(101)] {
        assert_eq!(ApiKeyName::parse(bad), Err(ApiKeyNameError), "{bad}");
    }
    assert_eq!(ApiKeyName::parse("Büro, 2. OG").expect("valid").as_str(), "Büro, 2. OG");
    for bad in ["", "a b", "ä", &"x".repeat(65)] {
        assert_eq!(AccountPrefix::parse(bad), Err(AccountPrefixError), "{bad}");
    }
    for scope in Scope::ALL {
        assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        assert_eq!(serde_json::to_string(&scope).expect("a text"), format!("\"{scope}\""));
    }
}
