//! Money, accounts, payments, and the bank that decides on them.
//!
//! Pure and deterministic. This layer does not know nodes, logs, SQL, HTTP, clocks or randomness: the same operations
//! in the same order give the same balances on every node, as replication requires.
//!
//! ```text
//! money            amounts in minor units
//! currency         ISO 4217 currencies and their exponents
//! amount           amounts as people write them
//! stamp            epochs, log indexes, timestamps
//! digest           fingerprints of requests
//! idempotency      idempotency keys and their digests
//! account          account ids, statuses, overdraft policies
//! api_key          API keys as texts: ids, secrets, digests
//! access           what an API key allows
//! api_key_change   creating, rotating and revoking API keys
//! account_change   opening and changing an account
//! order            orders, which limit the payments for them
//! payment          requests to pay, and their outcomes
//! payment_id       payment ids, which contain the index of their entry
//! payment_state    a payment's state after its captures and refunds
//! payment_change   captures, voids, refunds, expiries
//! batch            many payments in one entry
//! operation        the union of all requests, and of all decided operations
//! posting          what an operation moved, in one shape for all kinds
//! rejection        reasons for which the bank refuses
//! rules            versions of the bank's rules
//! bank             the state machine that decides requests and applies operations
//! ```

mod access;
mod account;
mod account_change;
mod amount;
mod api_key;
mod api_key_change;
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
mod rules;
mod stamp;

pub use access::{
    AccountPrefix, AccountPrefixError, ApiKeyGrant, ApiKeyName, ApiKeyNameError, Denial, MAX_API_KEY_PREFIXES, Scope,
};
pub use account::{AccountId, AccountIdError, AccountStatus, EXTERNAL_PREFIX, Overdraft, OverdraftError};
pub use account_change::{AccountChange, AccountChangeKind, AccountOutcome};
pub use amount::AmountError;
pub use api_key::{ApiKey, ApiKeyError, ApiKeyId, SecretDigest};
pub use api_key_change::{
    ApiKeyChange, ApiKeyChangeKind, ApiKeyOutcome, ApiKeyState, MAX_OLD_SECRET_SECONDS, OldSecret,
};
pub use bank::{AccountState, Balance, Balances, Bank, Divergence, KeyHolder, KeyHolders, MAX_API_KEYS, Undo};
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
pub use rules::RuleVersion;
pub use stamp::{Epoch, LogIndex, Stamp, Timestamp};
