//! Accounts for people.

use crate::cli::payment::next_page;
use crate::cli::table::{Align, table};
use quorapay_client::{Account, AccountPage, ChangedAccount, Statement};

/// A change of an account.
pub(super) fn describe_change(changed: &ChangedAccount) -> String {
    let overdraft = changed.overdraft.map(|overdraft| format!(" may now overdraw: {overdraft}"));
    let status = changed.status.map(|status| format!(" is now {status}"));
    let what = [overdraft, status].into_iter().flatten().collect::<Vec<_>>().join(" and");
    format!("{}{what} (index {})", changed.id, changed.index)
}

pub(super) fn describe(account: &Account) -> String {
    describe_accounts(std::slice::from_ref(account))
}

/// One row per account and currency; an account without balances has one row.
pub(super) fn describe_page(page: &AccountPage) -> String {
    format!("{}{}", describe_accounts(&page.accounts), next_page(page.next_cursor.as_deref()))
}

fn describe_accounts(accounts: &[Account]) -> String {
    let mut rows = Vec::new();
    for account in accounts {
        let (id, status, overdraft) =
            (account.id.to_string(), account.status.to_string(), account.overdraft.to_string());
        if account.balances.is_empty() {
            rows.push([id, status, overdraft, "-".to_owned(), "-".to_owned(), "-".to_owned(), String::new()]);
            continue;
        }
        rows.extend(account.balances.iter().map(|balance| {
            let currency = balance.currency;
            let available =
                balance.available.map_or_else(|| "unlimited".to_owned(), |units| currency.format_wide(units));
            [
                id.clone(),
                status.clone(),
                overdraft.clone(),
                currency.format(balance.posted),
                currency.format(balance.held),
                available,
                currency.to_string(),
            ]
        }));
    }
    let headings = [
        ("account", Align::Left),
        ("status", Align::Left),
        ("overdraft", Align::Left),
        ("posted", Align::Right),
        ("held", Align::Right),
        ("available", Align::Right),
        ("", Align::Left),
    ];
    table(headings, &rows)
}

pub(super) fn describe_statement(statement: &Statement) -> String {
    let rows: Vec<_> = statement
        .entries
        .iter()
        .map(|entry| {
            [
                entry.index.to_string(),
                entry.created_at.to_string(),
                entry.payment_id.to_string(),
                entry.kind.to_string(),
                entry.counterparty.to_string(),
                entry.currency.format(entry.amount),
                entry.currency.format(entry.balance),
                entry.currency.to_string(),
            ]
        })
        .collect();
    let headings = [
        ("index", Align::Right),
        ("created", Align::Left),
        ("payment", Align::Left),
        ("type", Align::Left),
        ("counterparty", Align::Left),
        ("amount", Align::Right),
        ("balance", Align::Right),
        ("", Align::Left),
    ];
    format!("{}{}", table(headings, &rows), next_page(statement.next_cursor.as_deref()))
}
