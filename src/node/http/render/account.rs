//! Accounts, changes of them, and lines of statements.

use std::borrow::Cow;

use crate::runtime::StatementLine;
use quorapay_api::{Account, AccountBalance, ChangedAccount, Rfc3339, StatementEntry};
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, AccountState, AccountStatus, Balance, Currency,
    Overdraft,
};
use quorapay_core::replication::Entry;

/// The effective policy: an account of the outside world may always go negative, whatever is stored for it.
pub(in crate::http) fn applied_overdraft(id: &AccountId, overdraft: Overdraft) -> Overdraft {
    if id.is_external() { Overdraft::Unlimited } else { overdraft }
}

/// An account in its current state.
pub(in crate::http) fn account(id: AccountId, state: &AccountState) -> Account {
    let overdraft = applied_overdraft(&id, state.overdraft);
    let balances = state.balances.iter().map(|(currency, balance)| account_balance(currency, balance, overdraft));
    Account { overdraft, status: state.status, balances: balances.collect(), id }
}

fn account_balance(currency: Currency, balance: Balance, overdraft: Overdraft) -> AccountBalance {
    let available = match overdraft {
        Overdraft::Unlimited => None,
        Overdraft::None | Overdraft::Limit(_) => Some(balance.available(overdraft.floor())),
    };
    AccountBalance { currency, posted: balance.posted, held: balance.held, available }
}

/// The answer to a change of an account. It has no balances, because they are not in the entry and a repeat must get
/// the same bytes; only an account that was just opened is known to have none.
pub(in crate::http) fn changed_account(entry: &Entry, change: &AccountChange) -> ChangedAccount {
    let (overdraft, status, balances) = match change.change {
        AccountChangeKind::Open(overdraft) => (Some(overdraft), Some(AccountStatus::default()), Some(Vec::new())),
        AccountChangeKind::Change { overdraft, status } => (overdraft, status, None),
    };
    ChangedAccount {
        id: change.account.clone(),
        overdraft: overdraft.map(|overdraft| applied_overdraft(&change.account, overdraft)),
        status,
        balances,
        rejection: match change.outcome {
            AccountOutcome::Applied => None,
            AccountOutcome::Rejected(rejection) => Some(Cow::Borrowed(rejection.code())),
        },
        index: entry.index,
    }
}

/// A line of a statement.
pub(in crate::http) fn statement_entry(line: &StatementLine) -> StatementEntry<'_> {
    StatementEntry {
        index: line.cursor.index,
        payment_id: line.payment,
        kind: line.kind.into(),
        created_at: Rfc3339(line.timestamp),
        amount: line.amount,
        currency: line.currency,
        balance: line.balance,
        counterparty: Cow::Borrowed(&line.counterparty),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::MinorUnits;

    fn shown(id: &str, overdraft: Overdraft, posted: i64, held: i64) -> Value {
        let mut state = AccountState { overdraft, ..AccountState::default() };
        let balance = Balance { posted: MinorUnits::new(posted), held: MinorUnits::new(held) };
        state.balances.set(Currency::parse("USD").expect("valid"), balance);
        samples::shown(&account(samples::account(id), &state))
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
        let widest = Overdraft::Limit(MinorUnits::new(i64::MAX));
        let text = shown("shop", widest, i64::MAX, 0)["balances"][0]["available"].to_string();
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
            samples::shown(&changed_account(&entry, samples::account_change_of(&entry)))
        };
        assert_eq!(change(Some(Overdraft::None), None), json!({"id": "shop", "overdraft": "none", "index": 7}));
        assert_eq!(change(None, Some(AccountStatus::Frozen)), json!({"id": "shop", "status": "frozen", "index": 7}));
        let entry = samples::account_entry("shop", AccountChangeKind::Open(Overdraft::None));
        let opened = samples::shown(&changed_account(&entry, samples::account_change_of(&entry)));
        let expected = json!({"id": "shop", "overdraft": "none", "status": "active", "balances": [], "index": 7});
        assert_eq!(opened, expected);
    }
}
