//! What a payment means: money, accounts, payments and the bank that decides them.
//!
//! Pure and deterministic. This layer knows nothing of nodes, logs, SQL, HTTP, clocks or randomness: the same
//! operations in the same order give the same balances on every node, which is what replication relies on.

mod account;
mod bank;
mod currency;
mod digest;
mod idempotency;
mod money;
mod operation;
mod payment_id;

pub use account::{AccountId, AccountIdError, EXTERNAL_PREFIX, Overdraft, OverdraftError};
pub use bank::{AccountState, Balances, Bank, Divergence, Undo};
pub use currency::{Currency, CurrencyError};
pub use digest::{Fingerprint, FingerprintBuilder};
pub use idempotency::{IdempotencyKey, IdempotencyKeyError, KeyDigest};
pub use money::{MinorUnits, MoneyError};
pub use operation::{
    AccountChange, AccountChangeKind, AccountOutcome, Operation, OperationRequest, Payment, PaymentOutcome,
    PaymentRequest, Proposal, Rejection,
};
pub use payment_id::{PaymentId, PaymentIdError};
