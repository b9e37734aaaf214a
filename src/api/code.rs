//! The stable codes of problems. A code is part of the API: it never changes its meaning.

use std::fmt;

use quorapay_core::domain::Rejection;

macro_rules! codes {
    ($($variant:ident = $text:literal, $meaning:literal;)*) => {
        /// What happened, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            /// The bank refused.
            Bank(Rejection),
            $(
                #[doc = concat!("`", $text, "`: ", $meaning, ".")]
                $variant,
            )*
        }

        /// The codes that are not the bank's.
        const OWN: &[Code] = &[$(Code::$variant),*];

        impl Code {
            /// The code as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Bank(rejection) => rejection.code(),
                    $(Self::$variant => $text,)*
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    // Here the whole request is meant, in the bank's sentence one of its payments.
                    Self::Bank(Rejection::IdempotencyKeyReused) => {
                        "the idempotency key was used before for another request"
                    }
                    Self::Bank(Rejection::IdempotencyKeyFenced) => {
                        "the idempotency key was fenced: nothing can apply under it"
                    }
                    Self::Bank(Rejection::BatchAborted) => {
                        "a payment of the atomic batch was refused, so none was made"
                    }
                    Self::Bank(rejection) => reason(rejection),
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

codes! {
    // Something is wrong with the request as a whole.
    InvalidJson = "invalid_json", "the body is no JSON object";
    JsonTooDeep = "json_too_deep", "the body is nested more than 32 levels deep";
    MissingField = "missing_field", "a field that must be there is not";
    UnknownField = "unknown_field", "a field or parameter is not known";
    DuplicateField = "duplicate_field", "a field or parameter is given twice";
    IncompleteBody = "incomplete_body", "the body ended before it was complete";
    BodyTimeout = "body_timeout", "the body did not arrive within the deadline";
    BodyTooLarge = "body_too_large", "the body is longer than this call takes";
    UnsupportedMediaType = "unsupported_media_type", "the body is sent with another content type than this call takes";
    ForeignPage = "foreign_page", "a web page of another site sent the request through a browser";
    ApiKeyRequired = "api_key_required", "the Authorization header with an API key is missing";
    InvalidApiKey = "invalid_api_key", "the API key is not one of this ledger, or was revoked, or has expired";
    ApiKeyForbids = "api_key_forbids", "the API key does not allow this; detail says what is missing";
    IdempotencyKeyRequired = "idempotency_key_required", "the Idempotency-Key header is missing";
    EmptyBatch = "empty_batch", "a batch has at least one payment";
    TooManyPayments = "too_many_payments", "a batch has at most 10,000 payments";
    DuplicateIdempotencyKey = "duplicate_idempotency_key", "two payments of the batch, or a payment and the batch, have the same key";
    NothingToChange = "nothing_to_change", "a change of an account names its overdraft, its status or both";
    SameAccount = "same_account", "a payment goes from one account to another";
    DescriptionTooLong = "description_too_long", "a description has at most 500 characters";
    MetadataTooLarge = "metadata_too_large", "metadata have at most 4 KiB as compact JSON";
    NoSuchSuccessor = "no_such_successor", "the node named is no other voter of this cluster";
    NotFound = "not_found", "there is nothing at this path";
    MethodNotAllowed = "method_not_allowed", "the path does not take this method";
    // A field, parameter or header has a value of the wrong type or out of its range.
    InvalidAmount = "invalid_amount", "an amount is a JSON integer of minor units from 1 to 9223372036854775807";
    InvalidCurrency = "invalid_currency", "a currency is an active ISO 4217 code";
    InvalidAccountId = "invalid_account_id", "an account id has 1 to 64 characters of A-Z a-z 0-9 _ . : -";
    InvalidPaymentId = "invalid_payment_id", "a payment id is a UUID of version 7 with hyphens";
    InvalidApiKeyField = "invalid_api_key_field", "a field of an API key has a value that it cannot have";
    InvalidNodeId = "invalid_node_id", "a node id has letters, digits, - and _";
    InvalidCapture = "invalid_capture", "capture is \"automatic\" or \"manual\"";
    InvalidExpiresIn = "invalid_expires_in", "expires_in is 1 to 7776000 seconds, and only with capture \"manual\"";
    InvalidOrder = "invalid_order", "an order has an id of 1 to 64 printable ASCII characters and a total";
    InvalidDescription = "invalid_description", "a description is a text";
    InvalidMetadata = "invalid_metadata", "metadata are a JSON object whose numbers can be kept exactly";
    InvalidOverdraft = "invalid_overdraft", "an overdraft is none, unlimited or limit:N; under external: it is unlimited";
    InvalidStatus = "invalid_status", "there is no such status";
    InvalidIdempotencyKey = "invalid_idempotency_key", "an idempotency key has 1 to 255 printable ASCII characters";
    InvalidDeadline = "invalid_deadline", "Quorapay-Deadline-Ms is 1 to 60000";
    InvalidConsistency = "invalid_consistency", "consistency is \"linearizable\" or \"local\"";
    InvalidIndex = "invalid_index", "an index is a whole number";
    InvalidLimit = "invalid_limit", "a limit is 1 to 1000";
    InvalidCursor = "invalid_cursor", "a cursor is the next_cursor of an earlier page of the same list";
    InvalidTime = "invalid_time", "a moment is written as in RFC 3339";
    InvalidFormat = "invalid_format", "format is \"csv\" or \"ndjson\"";
    InvalidAtomic = "invalid_atomic", "atomic is true or false";
    InvalidPath = "invalid_path", "the path is no UTF-8 once decoded";
    InvalidField = "invalid_field", "a field has a value of the wrong type";
    // The request is fine; the node or the cluster is not.
    NoLeader = "no_leader", "no leader was found within the deadline";
    Overloaded = "overloaded", "the node's queue is full; Retry-After says when to try again";
    Quarantined = "quarantined", "this node's ledger is damaged; ask another";
    ViewsRebuilding = "views_rebuilding", "this node is making its damaged views anew; try again or ask another";
    StorageError = "storage_error", "this node could not read its ledger; ask another";
    DeadlineExceeded = "deadline_exceeded", "the read did not end within the deadline";
    IndexNotApplied = "index_not_applied", "this node has not applied min_index yet; applied_index says how far it is";
    OutcomeUnknown = "outcome_unknown", "it may or may not have been applied; by_key_url tells";
    NoSuccessor = "no_successor", "no other node is fit to lead";
    TransferTimedOut = "transfer_timed_out", "the hand-over did not end within the deadline";
    NotReady = "not_ready", "this node cannot serve; reasons tells why";
}

impl Code {
    /// Every code.
    pub fn all() -> impl Iterator<Item = Self> {
        Rejection::all().map(Self::Bank).chain(OWN.iter().copied())
    }

    /// Reads a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::all().find(|code| code.as_str() == text)
    }

    /// One title per code, and the code says it all.
    #[must_use]
    pub fn title(self) -> String {
        let mut title = self.as_str().replace('_', " ");
        title[..1].make_ascii_uppercase();
        title
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why the bank refused, in a sentence.
#[must_use]
pub const fn reason(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::InsufficientFunds => "the account would fall below what its overdraft policy allows",
        Rejection::AccountNotFound => "the account does not exist: it was neither opened nor ever credited",
        Rejection::AccountExists => "the account exists already",
        Rejection::BalanceOverflow => "a balance would leave the range of a signed 64-bit integer",
        Rejection::OverdraftInUse => "the account's balance is already below what the new policy would allow",
        Rejection::AccountFrozen => "an account concerned is frozen: it neither pays nor receives",
        Rejection::AccountClosed => "an account concerned is closed for good",
        Rejection::AccountNotEmpty => "an account that still holds, owes or sets aside money cannot be closed",
        Rejection::OrderTotalExceeded => "the order's payments would come to more than its total",
        Rejection::OrderMismatch => "the order was first paid with another total or in another currency",
        Rejection::PaymentNotFound => "there is no such payment",
        Rejection::PaymentRejected => "the payment itself was refused, so there is nothing to capture, void or refund",
        Rejection::NothingHeld => "nothing of the payment is held any more: it was captured at once or in full",
        Rejection::PaymentVoided => "the payment's hold was voided",
        Rejection::PaymentExpired => "the payment's hold has expired",
        Rejection::AmountExceedsHeld => "more is to be captured than is still held",
        Rejection::NothingToRefund => "nothing of the payment is left to be refunded",
        Rejection::AmountExceedsRefundable => "more is to be refunded than was captured and not yet refunded",
        Rejection::TooManyChanges => "the payment has had as many captures and refunds as the ledger keeps for one",
        Rejection::BatchAborted => "another payment of the same atomic batch was refused",
        Rejection::IdempotencyKeyReused => "the payment's idempotency key was used before for another request",
        Rejection::IdempotencyKeyFenced => "the payment's idempotency key was fenced: nothing can apply under it",
        Rejection::ApiKeyExists => "there is or was an API key with this id",
        Rejection::ApiKeyNotFound => "there is no such API key",
        Rejection::ApiKeyRevoked => "the API key is revoked already",
        Rejection::TooManyApiKeys => "there are as many API keys as there may be, and none of them is revoked",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_is_explained_in_its_own_sentence() {
        let sentences: BTreeSet<&str> = Rejection::all().map(reason).collect();
        assert_eq!(sentences.len(), Rejection::all().count());
    }

    #[test]
    fn every_code_has_a_text_of_its_own_and_reads_back() {
        for code in Code::all() {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        let texts: BTreeSet<&str> = Code::all().map(Code::as_str).collect();
        assert_eq!(texts.len(), Code::all().count());
        assert_eq!(Code::parse("no_such_code"), None);
    }
}
