//! The bank: a deterministic state machine over accounts, holds and orders.
//!
//! The leader *executes* requests. Every other node *applies* the decided operations: it decides each request again and
//! compares the outcomes, so a bank that differs is found by the first operation that depends on the difference.
//! Operations that are applied before they are committed can be undone, newest first.
//!
//! All accounts, the open holds and their orders, and the API keys are always in memory. Any other payment or order is *recalled* when an
//! operation needs it (by the leader from its disk, by the other nodes from the operation itself) and *forgotten* once
//! the views hold its last change.
//!
//! ```text
//! state      balances and accounts
//! undo       how to undo an operation
//! store      the bank's state with its elementary operations
//! outcome    comparing a decision with the written one
//! payments   money moved or held
//! accounts   accounts opened and changed
//! changes    captures, voids, refunds, expiries
//! batches    many payments, each by itself or all or none
//! api_keys   API keys, and what their holders may write
//! ```

mod accounts;
mod api_keys;
mod batches;
mod changes;
mod outcome;
mod payments;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod undo;

use super::{Operation, OperationRequest, Payment, Proposal, Stamp};

pub use api_keys::MAX_API_KEYS;
pub use batches::{KeyHolder, KeyHolders};
pub use outcome::Divergence;
pub use state::{AccountState, Balance, Balances};
pub use store::Bank;
pub use undo::Undo;

use outcome::check_outcome;

impl Bank {
    /// Decides a request, and changes the bank accordingly. `holders` says which keys of a batch's items are used
    /// already.
    ///
    /// A payment that memory does not hold counts as not existing, and an order as new: the caller recalls them first.
    pub fn execute(&mut self, stamp: Stamp, proposal: Proposal, holders: &KeyHolders) -> (Operation, Undo) {
        let fingerprint = proposal.request.fingerprint();
        let mut undo = Undo::default();
        let key = proposal.key;
        let operation = match proposal.request {
            OperationRequest::Payment(request) => {
                let order_before = self.order_before(&request);
                let outcome = self.pay(stamp, 0, &request, &mut undo);
                Operation::Payment(Payment { key, fingerprint, request, order_before, outcome })
            }
            OperationRequest::Account { account, change } => {
                let outcome = self.change_account(&account, change, &mut undo);
                Operation::Account(super::AccountChange { key, fingerprint, account, change, outcome })
            }
            OperationRequest::PaymentChange { payment, change } => {
                let before = self.payments.get(&payment).cloned().map(Box::new);
                let outcome = self.change_payment(stamp, payment, change, &mut undo);
                Operation::PaymentChange(super::PaymentChange { key, fingerprint, payment, change, before, outcome })
            }
            OperationRequest::Batch(request) => {
                Operation::Batch(self.execute_batch(stamp, key, fingerprint, request, holders, &mut undo))
            }
            OperationRequest::KeyFence => Operation::KeyFence(super::KeyFence { key, fingerprint }),
            OperationRequest::ApiKey { id, change } => {
                let outcome = self.change_api_key(stamp, id, &change, &mut undo);
                Operation::ApiKey(super::ApiKeyChange { key, fingerprint, id, change, outcome })
            }
        };
        (operation, undo)
    }

    /// Applies a decided operation and returns how to undo it.
    ///
    /// # Errors
    /// [`Divergence`] if deciding the same request here gives another outcome. Nothing is changed then.
    pub fn apply(&mut self, stamp: Stamp, operation: &Operation) -> Result<Undo, Divergence> {
        let mut undo = Undo::default();
        let applied = match operation {
            Operation::Payment(payment) => self.apply_payment(stamp, payment, &mut undo),
            Operation::Account(change) => {
                let decided = self.change_account(&change.account, change.change, &mut undo);
                check_outcome(&decided, &change.outcome)
            }
            Operation::PaymentChange(change) => self.apply_payment_change(stamp, change, &mut undo),
            Operation::Expiry(expiry) => self.apply_expiry(stamp, expiry, &mut undo),
            Operation::Batch(batch) => self.apply_batch(stamp, batch, &mut undo),
            Operation::KeyFence(_) => Ok(()),
            Operation::ApiKey(change) => {
                let decided = self.change_api_key(stamp, change.id, &change.change, &mut undo);
                check_outcome(&decided, &change.outcome)
            }
        };
        match applied {
            Ok(()) => Ok(undo),
            Err(difference) => {
                self.undo(&undo);
                let key = operation.key().map_or("no key", super::IdempotencyKey::as_str);
                Err(Divergence(format!("the operation under {key:?}: {difference}")))
            }
        }
    }
}
