//! What a peer is sent of the ledger: entries that fit one message, checked before they leave.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::{LedgerError, LedgerReader};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, Position};

/// Bytes of entries in one message. A single entry may be larger: it travels alone.
const MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// Most entries in one answer to a fetch.
const MAX_FETCH_ENTRIES: usize = 4_096;
/// How long to wait before entries that could not be read are read again.
pub(super) const READ_RETRY: Duration = Duration::from_millis(100);

/// Reads the entry at `from` and as many of those that follow it as fit one message, at least one if there is one. The
/// first only gives the position that the others follow, so its size does not count. Empty if the log no longer reaches
/// that far.
///
/// # Errors
/// As [`LedgerReader::chain`].
pub(super) async fn read_for_append(
    ledger: &LedgerReader,
    from: LogIndex,
    to: LogIndex,
) -> Result<Vec<Arc<Entry>>, LedgerError> {
    let Some((_, mut entries)) = read_chain(ledger, from.previous(), from, 1).await? else { return Ok(Vec::new()) };
    if from < to && !entries.is_empty() {
        let count = usize::try_from(to.0 - from.0).unwrap_or(usize::MAX);
        let following = read_chain(ledger, from, to, count).await?;
        entries.extend(following.map_or_else(Vec::new, |(_, following)| fitting(following)));
    }
    Ok(entries)
}

/// Reads the position before `from` and as many entries from there on as fit one message; `None` if the log no longer
/// reaches that far.
///
/// # Errors
/// As [`LedgerReader::chain`].
pub(super) async fn read_for_fetch(
    ledger: &LedgerReader,
    from: LogIndex,
    to: LogIndex,
) -> Result<Option<(Position, Vec<Arc<Entry>>)>, LedgerError> {
    let read = read_chain(ledger, from.previous(), to, MAX_FETCH_ENTRIES).await?;
    Ok(read.map(|(previous, entries)| (previous, fitting(entries))))
}

/// As many of the entries as fit one message, at least the first.
fn fitting(mut entries: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
    let mut bytes = 0;
    let fits = |entry: &&Arc<Entry>| {
        let first = bytes == 0;
        bytes += entry.encoded_len();
        first || bytes <= MESSAGE_BYTES
    };
    let fitting = entries.iter().take_while(fits).count();
    entries.truncate(fitting);
    entries
}

/// [`LedgerReader::chain`]; `None` if the log no longer reaches that far. A new leader may truncate between two
/// statements, which looks like damage; real damage is still there a moment later.
async fn read_chain(
    ledger: &LedgerReader,
    previous: LogIndex,
    to: LogIndex,
    max_entries: usize,
) -> Result<Option<(Position, Vec<Arc<Entry>>)>, LedgerError> {
    match ledger.chain(previous, to, max_entries).await {
        Err(LedgerError::Damaged(_)) => {
            tokio::time::sleep(READ_RETRY).await;
            match ledger.position(previous).await? {
                Some(_) => ledger.chain(previous, to, max_entries).await.map(Some),
                None => Ok(None),
            }
        }
        read => read.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{self, Identity};
    use crate::stored::{opened, stored, tamper};
    use quorapay_core::domain::OperationRequest;
    use quorapay_core::replication::StoreId;
    use quorapay_core::replication::sample::{Chain, batch, item, node};

    fn large(bytes: usize) -> OperationRequest {
        let mut item = item("external:card", "a", 1, None);
        item.request.metadata = Some("x".repeat(bytes).into());
        batch(false, vec![item])
    }

    #[test]
    fn a_message_holds_what_fits_and_always_the_first_entry() {
        let mut chain = Chain::begun();
        for bytes in [MESSAGE_BYTES, 1, MESSAGE_BYTES / 2, MESSAGE_BYTES / 2] {
            chain.request(large(bytes));
        }
        let from = |index: usize| fitting(chain.entries[index..].to_vec()).len();
        assert_eq!((from(0), from(2), from(3), from(5)), (2, 1, 2, 1));
        assert_eq!(fitting(Vec::new()), []);
    }

    #[tokio::test]
    async fn entries_for_a_follower_follow_even_the_largest_one() {
        let mut chain = Chain::begun();
        chain.request(large(40 << 20));
        chain.request(large(40 << 20));
        chain.pay();
        let dir = tempfile::tempdir().expect("a folder");
        let identity = Identity { cluster_id: "test".to_owned(), node_id: node("node1") };
        let mut opened = ledger::open(dir.path(), &identity, || StoreId(1)).await.expect("opens");
        opened.writer.persist(&[chain.persist_after(LogIndex(0))]).await.expect("stored");
        let last = chain.last().index;
        for (from, upto) in [(1, 2), (2, 3), (3, 4), (4, 5), (5, 5)] {
            let read = read_for_append(&opened.reader, LogIndex(from), last).await.expect("readable");
            let index = |index: u64| usize::try_from(index).expect("small");
            assert_eq!(read, chain.entries[index(from) - 1..index(upto)], "from {from}");
        }
    }

    #[tokio::test]
    async fn what_a_new_leader_has_truncated_is_no_damage() {
        let dir = stored(&Chain::of_payments(50), 0).await;
        let ledger = opened(&dir, StoreId(2)).await.reader;
        let read = read_chain(&ledger, LogIndex(60), LogIndex(70), 10).await;
        assert!(matches!(read, Ok(None)), "{read:?}");
        tamper(&dir, "ledger.db", "UPDATE entries SET timestamp_ms = timestamp_ms + 1 WHERE log_index = 20").await;
        let read = read_chain(&ledger, LogIndex(10), LogIndex(30), 30).await;
        assert!(matches!(read, Err(LedgerError::Damaged(_))), "{read:?}");
    }
}
