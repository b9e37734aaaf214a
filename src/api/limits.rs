//! How long and how many: what a node takes and a client should keep to. Limits that decide what a payment, a key or a
//! batch is are the domain's.

pub use quorapay_core::domain::{MAX_BATCH_ITEMS, MAX_HOLD_SECONDS};

/// Longest body of a request other than a batch, in bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Longest body of a batch, in bytes.
pub const MAX_BATCH_BODY_BYTES: usize = 16 << 20;

/// Deepest nesting of arrays and objects in a body.
pub const MAX_JSON_DEPTH: usize = 32;

/// Longest description of a payment, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 500;

/// Longest metadata of a payment as compact JSON, in bytes.
pub const MAX_METADATA_BYTES: usize = 4 << 10;

/// How long a caller waits unless it says otherwise, in milliseconds.
pub const DEFAULT_DEADLINE_MS: u64 = 5_000;

/// Longest deadline that a caller may set, in milliseconds.
pub const MAX_DEADLINE_MS: u64 = 60_000;

/// Items on a page unless the caller says otherwise.
pub const DEFAULT_PAGE_ITEMS: usize = 50;

/// Most items on a page.
pub const MAX_PAGE_ITEMS: usize = 1_000;
