//! Verifies backups: the chain over all entries, the bank replayed from nothing, double entry.

use futures_util::future::LocalBoxFuture;

use super::chain::BackupChain;
use super::error::BackupError;
use crate::verify::{AuditReport, verify_entries};

/// Verifies the entries of a chain. `progress` is called with the number of entries done and their total.
///
/// # Errors
/// [`BackupError::Audit`] if a disk fails. Damage is a finding and not an error.
pub fn verify<'a>(
    chain: &'a mut BackupChain,
    progress: &'a mut dyn FnMut(u64, u64),
) -> LocalBoxFuture<'a, Result<AuditReport, BackupError>> {
    let upto = chain.end().position.index;
    Box::pin(async move { Ok(verify_entries(chain, upto, progress).await?) })
}
