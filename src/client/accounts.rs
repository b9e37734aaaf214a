//! The calls that concern accounts.

use futures_util::Stream;
use reqwest::Method;

use super::call::Call;
use super::error::ClientError;
use super::pages::pages;
use super::send::{Client, Outcome, not_in_look_ups};
use super::{
    AccountAtIndex, AccountPage, AccountSettings, ChangedAccount, NewAccount, Page, Statement, StatementEntry,
    StatementFilter,
};
use quorapay_core::domain::{AccountId, IdempotencyKey, Overdraft};

impl Client {
    /// Opens an account.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no node could be reached at all: nothing changed then.
    pub async fn open_account(
        &self,
        key: &IdempotencyKey,
        id: &AccountId,
        overdraft: Overdraft,
    ) -> Result<Outcome<AccountAtIndex>, ClientError> {
        let body = NewAccount { id: id.clone(), overdraft: Some(overdraft) };
        self.decide(key, &Call::write(Method::POST, &["v1", "accounts"], key, &body), not_in_look_ups).await
    }

    /// Changes an account's overdraft policy, freezes it, closes it or opens it again.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no node could be reached at all: nothing changed then.
    pub async fn set_account(
        &self,
        key: &IdempotencyKey,
        id: &AccountId,
        settings: AccountSettings,
    ) -> Result<Outcome<ChangedAccount>, ClientError> {
        let call = Call::write(Method::PATCH, &["v1", "accounts", id.as_str()], key, &settings);
        self.decide(key, &call, not_in_look_ups).await
    }

    /// An account with its balances.
    ///
    /// # Errors
    /// [`ClientError`]; an unknown account is `Refused` with code `account_not_found`.
    pub async fn account(&self, id: &AccountId) -> Result<AccountAtIndex, ClientError> {
        self.read(&Call::read(&["v1", "accounts", id.as_str()], Vec::new()), self.deadline).await
    }

    /// One page of accounts, in the order of their ids.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn accounts(&self, page: &Page) -> Result<AccountPage, ClientError> {
        self.read(&Call::read(&["v1", "accounts"], page.parameters().collect()), self.deadline).await
    }

    /// Every account, in the order of their ids, page after page. Each page has a deadline of its own.
    pub fn all_accounts(&self) -> impl Stream<Item = Result<super::Account, ClientError>> {
        pages(async move |page: Page| {
            let got = self.accounts(&page).await?;
            Ok((got.accounts, got.next_cursor))
        })
    }

    /// One page of an account's statement, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn statement(
        &self,
        id: &AccountId,
        filter: &StatementFilter,
        page: &Page,
    ) -> Result<Statement, ClientError> {
        let query = page.parameters().chain(filter.parameters()).collect();
        self.read(&Call::read(&statement_path(id), query), self.deadline).await
    }

    /// Every line of a statement that meets the filter, newest first, page after page. Each page has a deadline of
    /// its own.
    pub fn whole_statement<'a>(
        &'a self,
        id: &'a AccountId,
        filter: &'a StatementFilter,
    ) -> impl Stream<Item = Result<StatementEntry, ClientError>> + 'a {
        pages(async move |page: Page| {
            let got = self.statement(id, filter, &page).await?;
            Ok((got.entries, got.next_cursor))
        })
    }
}

pub(super) fn statement_path(id: &AccountId) -> [&str; 4] {
    ["v1", "accounts", id.as_str(), "statement"]
}
