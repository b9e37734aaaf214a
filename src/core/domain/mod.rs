//! What a payment means: money, accounts, payments and the bank that decides them.
//!
//! Pure and deterministic. This layer knows nothing of nodes, logs, SQL, HTTP, clocks or randomness: the same
//! operations in the same order give the same balances on every node, which is what replication relies on.

mod account;
mod account_change;
mod amount;
mod bank;
mod batch;
mod currency;
mod digest;
mod idempotency;
mod money;
mod operation;
mod order;
mod payment;
mod payment_change;
mod payment_id;
mod payment_state;
mod posting;
mod rejection;
mod stamp;

pub use account::{AccountId, AccountIdError, AccountStatus, EXTERNAL_PREFIX, Overdraft, OverdraftError};
pub use account_change::{AccountChange, AccountChangeKind, AccountOutcome};
pub use amount::AmountError;
pub use bank::{AccountState, Balance, Balances, Bank, Divergence, KeyHolder, KeyHolders, Undo};
pub use batch::{Batch, BatchItem, BatchOutcome, BatchRequest, DecidedItem, MAX_BATCH_ITEMS};
pub use currency::{Currency, CurrencyError};
pub use digest::{Fingerprint, FingerprintBuilder};
pub use idempotency::{IdempotencyKey, IdempotencyKeyError, KeyDigest};
pub use money::{MinorUnits, MoneyError};
pub use operation::{KeyFence, Operation, OperationRequest, Proposal};
pub use order::{OrderCap, OrderDigest, OrderId, OrderIdError, OrderState};
pub use payment::{Capture, DEFAULT_HOLD_SECONDS, MAX_HOLD_SECONDS, Payment, PaymentOutcome, PaymentRequest};
pub use payment_change::{Expiry, PaymentChange, PaymentChangeKind, PaymentChangeOutcome};
pub use payment_id::{PaymentId, PaymentIdError};
pub use payment_state::{HoldEnd, PaymentState, PaymentStatus};
pub use posting::{DecidedPayment, Posting, PostingKind};
pub use rejection::Rejection;
pub use stamp::{Epoch, LogIndex, Stamp, Timestamp};
