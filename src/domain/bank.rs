//! The bank: a deterministic state machine over accounts.
//!
//! The leader *decides* a request against it, every node *applies* the decided operation to it and checks that the
//! balances written in the operation are the ones it gets itself: a node whose bank differs finds out at the first
//! payment that shows it. What is applied before it is committed can be undone, newest first.

use std::collections::BTreeMap;

use super::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, Currency, MinorUnits, Operation, OperationRequest,
    Overdraft, Payment, PaymentOutcome, PaymentRequest, Proposal, Rejection,
};

/// Posted balances by currency, sorted. Nearly every account has one or two currencies, so a vector beats a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balances(Vec<(Currency, MinorUnits)>);

impl Balances {
    /// The balance in a currency; zero where the account never held it.
    #[must_use]
    pub fn get(&self, currency: Currency) -> MinorUnits {
        self.position(currency).map_or(MinorUnits::ZERO, |at| self.0[at].1)
    }

    /// All balances, sorted by currency.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, MinorUnits)> + '_ {
        self.0.iter().copied()
    }

    /// Sets a balance.
    pub fn set(&mut self, currency: Currency, balance: MinorUnits) {
        match self.position(currency) {
            Ok(at) => self.0[at].1 = balance,
            Err(at) => self.0.insert(at, (currency, balance)),
        }
    }

    fn remove(&mut self, currency: Currency) {
        if let Ok(at) = self.position(currency) {
            self.0.remove(at);
        }
    }

    fn holds(&self, currency: Currency) -> bool {
        self.position(currency).is_ok()
    }

    fn position(&self, currency: Currency) -> Result<usize, usize> {
        self.0.binary_search_by_key(&currency, |(held, _)| *held)
    }
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// How far below zero it may go.
    pub overdraft: Overdraft,
    /// What it holds.
    pub balances: Balances,
}

/// All accounts. `BTreeMap` so that listings and iteration are the same on every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bank {
    accounts: BTreeMap<AccountId, AccountState>,
}

/// An operation does not fit this bank: the balances it was decided with differ from the ones here. The node's state
/// or the ledger is damaged, and going on would spread it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bank differs from the ledger: {0}")]
pub struct Divergence(String);

/// How to take one applied operation back: what each touched account was before it (`None`: it did not exist).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undo(Vec<UndoStep>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum UndoStep {
    Created(AccountId),
    Balance(AccountId, Currency, Option<MinorUnits>),
    Overdraft(AccountId, Overdraft),
}

impl Bank {
    /// An account as of the last applied operation.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&AccountState> {
        self.accounts.get(id)
    }

    /// All accounts in the order of their ids, from after `after`.
    pub fn accounts_after<'bank>(
        &'bank self,
        after: Option<&AccountId>,
    ) -> impl Iterator<Item = (&'bank AccountId, &'bank AccountState)> + 'bank {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        self.accounts.range((start, Bound::Unbounded))
    }

    /// How many accounts exist.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether no account exists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Puts an account back as it was stored, when a bank is loaded from a view of the ledger.
    pub fn restore(&mut self, id: AccountId, state: AccountState) {
        self.accounts.insert(id, state);
    }

    /// The sum over all accounts, by currency. Double entry keeps each at zero, always.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<Currency, i128> {
        let mut totals = BTreeMap::new();
        for state in self.accounts.values() {
            for (currency, balance) in state.balances.iter() {
                *totals.entry(currency).or_default() += i128::from(balance.get());
            }
        }
        totals
    }

    /// The lowest balance that an account may be brought to by paying.
    #[must_use]
    pub fn floor(id: &AccountId, overdraft: Overdraft) -> MinorUnits {
        if id.is_external() { Overdraft::Unlimited.floor() } else { overdraft.floor() }
    }

    /// Decides a proposal against the accounts as they are. Changes nothing.
    #[must_use]
    pub fn decide(&self, proposal: Proposal) -> Operation {
        let fingerprint = proposal.request.fingerprint();
        let key = proposal.key;
        match proposal.request {
            OperationRequest::Payment(request) => {
                let outcome = self.decide_payment(&request);
                Operation::Payment(Payment { key, fingerprint, request, outcome })
            }
            OperationRequest::Account { account, change } => {
                let outcome = self.decide_account(&account, change);
                Operation::Account(AccountChange { key, fingerprint, account, change, outcome })
            }
        }
    }

    fn decide_payment(&self, request: &PaymentRequest) -> PaymentOutcome {
        let payer = self.accounts.get(&request.from);
        if payer.is_none() && !request.from.is_external() {
            return PaymentOutcome::Rejected(Rejection::AccountNotFound);
        }
        let held = |state: Option<&AccountState>| state.map_or(MinorUnits::ZERO, |s| s.balances.get(request.currency));
        let Some(from_balance) = held(payer).checked_sub(request.amount) else {
            return PaymentOutcome::Rejected(Rejection::BalanceOverflow);
        };
        let overdraft = payer.map_or(Overdraft::None, |state| state.overdraft);
        if from_balance < Self::floor(&request.from, overdraft) {
            return PaymentOutcome::Rejected(Rejection::InsufficientFunds);
        }
        match held(self.accounts.get(&request.to)).checked_add(request.amount) {
            Some(to_balance) => PaymentOutcome::Succeeded { from_balance, to_balance },
            None => PaymentOutcome::Rejected(Rejection::BalanceOverflow),
        }
    }

    fn decide_account(&self, id: &AccountId, change: AccountChangeKind) -> AccountOutcome {
        match (change, self.accounts.get(id)) {
            (AccountChangeKind::Open(_), Some(_)) => AccountOutcome::Rejected(Rejection::AccountExists),
            (AccountChangeKind::Open(_), None) => AccountOutcome::Applied,
            (AccountChangeKind::SetOverdraft(_), None) => AccountOutcome::Rejected(Rejection::AccountNotFound),
            (AccountChangeKind::SetOverdraft(overdraft), Some(state)) => {
                let floor = Self::floor(id, overdraft);
                if state.balances.iter().any(|(_, balance)| balance < floor) {
                    AccountOutcome::Rejected(Rejection::OverdraftInUse)
                } else {
                    AccountOutcome::Applied
                }
            }
        }
    }

    /// Applies a decided operation and says how to take it back.
    ///
    /// # Errors
    /// [`Divergence`] if deciding the same request here would have given another outcome. Nothing is changed then.
    pub fn apply(&mut self, operation: &Operation) -> Result<Undo, Divergence> {
        match operation {
            Operation::Payment(payment) => self.apply_payment(payment),
            Operation::Account(change) => self.apply_account(change),
        }
    }

    fn apply_payment(&mut self, payment: &Payment) -> Result<Undo, Divergence> {
        let request = &payment.request;
        let decided = self.decide_payment(request);
        if decided != payment.outcome {
            let (key, written) = (&payment.key, payment.outcome);
            return Err(Divergence(format!("payment {key:?} was written as {written:?}, here it is {decided:?}")));
        }
        let mut undo = Undo::default();
        if let PaymentOutcome::Succeeded { from_balance, to_balance } = decided {
            self.post(&request.from, request.currency, from_balance, &mut undo);
            self.post(&request.to, request.currency, to_balance, &mut undo);
        }
        Ok(undo)
    }

    fn post(&mut self, id: &AccountId, currency: Currency, balance: MinorUnits, undo: &mut Undo) {
        let state = match self.accounts.get_mut(id) {
            Some(state) => state,
            None => {
                undo.0.push(UndoStep::Created(id.clone()));
                self.accounts.entry(id.clone()).or_default()
            }
        };
        let before = state.balances.holds(currency).then(|| state.balances.get(currency));
        undo.0.push(UndoStep::Balance(id.clone(), currency, before));
        state.balances.set(currency, balance);
    }

    fn apply_account(&mut self, change: &AccountChange) -> Result<Undo, Divergence> {
        let decided = self.decide_account(&change.account, change.change);
        if decided != change.outcome {
            let (key, written) = (&change.key, change.outcome);
            return Err(Divergence(format!(
                "account change {key:?} was written as {written:?}, here it is {decided:?}"
            )));
        }
        let mut undo = Undo::default();
        if decided == AccountOutcome::Applied {
            match change.change {
                AccountChangeKind::Open(overdraft) => {
                    undo.0.push(UndoStep::Created(change.account.clone()));
                    self.accounts
                        .insert(change.account.clone(), AccountState { overdraft, balances: Balances::default() });
                }
                AccountChangeKind::SetOverdraft(overdraft) => {
                    let state = self.accounts.get_mut(&change.account).expect("decided against an existing account");
                    undo.0.push(UndoStep::Overdraft(change.account.clone(), state.overdraft));
                    state.overdraft = overdraft;
                }
            }
        }
        Ok(undo)
    }

    /// Takes one operation back. Operations are taken back newest first.
    pub fn undo(&mut self, undo: &Undo) {
        for step in undo.0.iter().rev() {
            match step {
                UndoStep::Created(id) => {
                    self.accounts.remove(id);
                }
                UndoStep::Balance(id, currency, before) => {
                    let state = self.accounts.get_mut(id).expect("an undo follows the operation that it undoes");
                    restore_balance(&mut state.balances, *currency, *before);
                }
                UndoStep::Overdraft(id, before) => {
                    self.accounts.get_mut(id).expect("an undo follows the operation that it undoes").overdraft =
                        *before;
                }
            }
        }
    }
}

fn restore_balance(balances: &mut Balances, currency: Currency, before: Option<MinorUnits>) {
    match before {
        Some(balance) => balances.set(currency, balance),
        None => balances.remove(currency),
    }
}

impl Undo {
    /// The accounts that the operation touched.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.0.iter().map(|step| match step {
            UndoStep::Created(id) | UndoStep::Balance(id, ..) | UndoStep::Overdraft(id, _) => id,
        })
    }

    /// What `account` was before the operation, given what it was after it (`None`: it did not exist).
    #[must_use]
    pub fn rewind(&self, account: &AccountId, mut state: Option<AccountState>) -> Option<AccountState> {
        for step in self.0.iter().rev() {
            match step {
                UndoStep::Created(id) if id == account => state = None,
                UndoStep::Balance(id, currency, before) if id == account => {
                    if let Some(state) = &mut state {
                        restore_balance(&mut state.balances, *currency, *before);
                    }
                }
                UndoStep::Overdraft(id, before) if id == account => {
                    if let Some(state) = &mut state {
                        state.overdraft = *before;
                    }
                }
                UndoStep::Created(_) | UndoStep::Balance(..) | UndoStep::Overdraft(..) => {}
            }
        }
        state
    }
}
