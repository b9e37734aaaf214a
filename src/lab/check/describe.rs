//! Describes requests, decisions and entries for people.

use super::fact::{Fact, FactKind, PaymentFact};
use super::model::Model;
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountChangeKind, AccountId, AccountOutcome, Capture, OperationRequest, PaymentChangeKind, PaymentChangeOutcome,
    PaymentId, PaymentOutcome, PaymentRequest,
};

/// A requested payment.
pub(super) fn payment(request: &PaymentRequest) -> String {
    let PaymentRequest { from, to, amount, currency, capture, .. } = request;
    let what = if *capture == Capture::Automatic { "payment" } else { "hold" };
    format!("a {what} of {amount} {currency} from {from} to {to}")
}

/// A change of an account.
pub(super) fn change(account: &AccountId, change: AccountChangeKind) -> String {
    match change {
        AccountChangeKind::Open(overdraft) => format!("the opening of account {account} with overdraft {overdraft}"),
        AccountChangeKind::Change { overdraft, status } => {
            let overdraft = overdraft.map(|overdraft| format!(" overdraft {overdraft}")).unwrap_or_default();
            let status = status.map(|status| format!(" status {status}")).unwrap_or_default();
            format!("a change of account {account} to{overdraft}{status}")
        }
    }
}

/// A capture, a void or a refund.
pub(super) fn payment_change(id: PaymentId, change: PaymentChangeKind) -> String {
    let amount = change.named_amount().map(|amount| format!(" of {amount}")).unwrap_or_default();
    format!("a {}{amount} of payment {id}", change.name())
}

/// Any request.
pub(super) fn request(request: &OperationRequest) -> String {
    match request {
        OperationRequest::Payment(requested) => payment(requested),
        OperationRequest::Account { account, change: requested } => change(account, *requested),
        OperationRequest::PaymentChange { payment, change } => payment_change(*payment, *change),
        OperationRequest::Batch(batch) => format!("a batch of {} payments", batch.items.len()),
        OperationRequest::KeyFence => "a fence of its key".to_owned(),
        OperationRequest::ApiKey { id, change } => format!("to {} the API key {id}", change.name()),
    }
}

/// The decision on a payment.
pub(super) fn outcome(outcome: &PaymentOutcome) -> String {
    match outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            format!("made (balances after it {from_balance} and {to_balance})")
        }
        PaymentOutcome::Authorized { from_held, .. } => format!("set aside ({from_held} held after it)"),
        PaymentOutcome::Rejected(rejection) => format!("refused as {}", rejection.code()),
        PaymentOutcome::Repeated { index } => format!("repeated from entry {index}"),
    }
}

/// The decision on a change of an account.
pub(super) fn account_outcome(outcome: &AccountOutcome) -> String {
    match outcome {
        AccountOutcome::Applied => "done".to_owned(),
        AccountOutcome::Rejected(rejection) => format!("refused as {}", rejection.code()),
    }
}

/// The decision on a change of a payment.
pub(super) fn change_outcome(outcome: &PaymentChangeOutcome) -> String {
    match outcome {
        PaymentChangeOutcome::Applied { amount, from_balance, to_balance } => {
            format!("done for {amount} (balances after it {from_balance} and {to_balance})")
        }
        PaymentChangeOutcome::Rejected(rejection) => format!("refused as {}", rejection.code()),
    }
}

/// An entry.
pub(super) fn fact(index: LogIndex, fact: &Fact, model: &Model) -> String {
    let what = match &fact.kind {
        FactKind::Protocol => return format!("entry {index} is one of the protocol"),
        FactKind::Expiry(id) => return format!("entry {index} is the end of the hold of payment {id}"),
        FactKind::Payment(PaymentFact { id, outcome: decided, .. }) => {
            format!("{}, {}", describe_recorded(*id, model), outcome(decided))
        }
        FactKind::Account(fact) => {
            format!("{}, {}", change(model.id(fact.account), fact.change), account_outcome(&fact.outcome))
        }
        FactKind::Change(fact) => {
            format!("{}, {}", payment_change(fact.payment, fact.change), change_outcome(&fact.outcome))
        }
        FactKind::Batch(batch) => format!("a batch of {} payments", batch.items.len()),
        FactKind::Fence(_) => "a fence".to_owned(),
        FactKind::ApiKey(_) => "a change of an API key".to_owned(),
    };
    let key = fact.keys().next().map(|(key, _)| format!(", key {:?}", key.as_str())).unwrap_or_default();
    format!("entry {index} is {what}{key}")
}

fn describe_recorded(id: PaymentId, model: &Model) -> String {
    let Some(payment) = model.payment(id) else { return format!("payment {id}") };
    let (from, to) = (model.id(payment.from), model.id(payment.to));
    format!("a payment of {} {} from {from} to {to}", payment.amount, payment.currency)
}
