//! Accounts as JSON.

use crate::runtime::AccountSnapshot;
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, AccountState, Balance, MinorUnits, Overdraft,
};
use quorapay_core::replication::Entry;

use super::super::json::{ObjectWriter, write_object};

/// The policy that really applies: the outside world may always go negative, whatever was stored for it.
pub(in crate::http) fn applied_overdraft(id: &AccountId, overdraft: Overdraft) -> Overdraft {
    if id.is_external() { Overdraft::Unlimited } else { overdraft }
}

/// Writes the fields of an account as of an index.
pub(in crate::http) fn account_fields(object: &mut ObjectWriter<'_>, id: &AccountId, state: &AccountState) {
    let overdraft = applied_overdraft(id, state.overdraft);
    object.text("id", id).text("overdraft", overdraft).text("status", state.status);
    object.array("balances", state.balances.iter(), |out, (currency, balance)| {
        write_object(out, |object| {
            object.text("currency", currency).field("posted", &balance.posted).field("held", &balance.held);
            object.field("available", &available(balance, overdraft));
        });
    });
}

/// What may be paid; `None` where nothing limits it.
fn available(balance: Balance, overdraft: Overdraft) -> Option<i128> {
    let floor: MinorUnits = match overdraft {
        Overdraft::Unlimited => return None,
        Overdraft::None | Overdraft::Limit(_) => overdraft.floor(),
    };
    Some(balance.available(floor))
}

/// Writes an account in a list.
pub(in crate::http) fn account(out: &mut Vec<u8>, snapshot: &AccountSnapshot) {
    write_object(out, |object| account_fields(object, &snapshot.id, &snapshot.state));
}

/// Writes a change of an account as its call is answered. The entry does not hold the balances, and a repeat
/// must be answered with the same bytes: only an account that was just opened is known to have none.
pub(in crate::http) fn account_change(out: &mut Vec<u8>, entry: &Entry, change: &AccountChange) {
    write_object(out, |object| {
        match change.change {
            AccountChangeKind::Open(overdraft) => {
                account_fields(object, &change.account, &AccountState { overdraft, ..AccountState::default() });
            }
            AccountChangeKind::Change { overdraft, status } => {
                object.text("id", &change.account);
                object.optional("overdraft", overdraft.map(|overdraft| applied_overdraft(&change.account, overdraft)));
                object.optional("status", status);
            }
        }
        if let AccountOutcome::Rejected(rejection) = change.outcome {
            object.text("rejection", rejection.code());
        }
        object.field("index", &entry.index);
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::{AccountStatus, Currency};

    fn shown(id: &str, overdraft: Overdraft, posted: i64, held: i64) -> Value {
        let mut state = AccountState { overdraft, ..AccountState::default() };
        let balance = Balance { posted: MinorUnits::new(posted), held: MinorUnits::new(held) };
        state.balances.set(Currency::parse("USD").expect("valid"), balance);
        samples::rendered(|out| account(out, &AccountSnapshot { id: samples::account(id), state }))
    }

    #[test]
    fn an_account_shows_its_policy_its_status_and_its_balances_by_currency() {
        let balance = json!({"currency": "USD", "posted": -40, "held": 10, "available": 50});
        let expected = json!({"id": "shop", "overdraft": "limit:100", "status": "active", "balances": [balance]});
        assert_eq!(shown("shop", Overdraft::Limit(MinorUnits::new(100)), -40, 10), expected);
        assert_eq!(shown("shop", Overdraft::None, 40, 10)["balances"][0]["available"], 30);
    }

    #[test]
    fn available_may_be_more_than_an_amount_can_be() {
        let most = Overdraft::Limit(MinorUnits::new(i64::MAX));
        let text = shown("shop", most, i64::MAX, 0)["balances"][0]["available"].to_string();
        assert_eq!(text, "18446744073709551614");
    }

    #[test]
    fn where_nothing_limits_an_account_its_available_amount_is_null() {
        assert_eq!(shown("shop", Overdraft::Unlimited, 5, 0)["balances"][0]["available"], Value::Null);
        let outside = shown("external:card", Overdraft::None, -5, 0);
        assert_eq!((&outside["overdraft"], &outside["balances"][0]["available"]), (&json!("unlimited"), &Value::Null));
    }

    #[test]
    fn a_change_of_an_account_shows_what_was_changed_and_nothing_else() {
        let change = |overdraft, status| {
            let entry = samples::account_entry("shop", AccountChangeKind::Change { overdraft, status });
            samples::rendered(|out| account_change(out, &entry, samples::account_change_of(&entry)))
        };
        assert_eq!(change(Some(Overdraft::None), None), json!({"id": "shop", "overdraft": "none", "index": 7}));
        assert_eq!(change(None, Some(AccountStatus::Frozen)), json!({"id": "shop", "status": "frozen", "index": 7}));
        let entry = samples::account_entry("shop", AccountChangeKind::Open(Overdraft::None));
        let opened = samples::rendered(|out| account_change(out, &entry, samples::account_change_of(&entry)));
        let expected = json!({"id": "shop", "overdraft": "none", "status": "active", "balances": [], "index": 7});
        assert_eq!(opened, expected);
    }
}
