//! Copies the ledger from one node after another: what a node breaks off, another one continues.

use super::error::TakeError;
use quorapay_client::{Client, ClientError};
use quorapay_core::domain::LogIndex;
use quorapay_node::backup::{BackupError, Moment};

/// How often in a row a node may break off without having sent an entry.
const MAX_FRUITLESS_ATTEMPTS: u32 = 10;

/// Where verified entries go.
pub(super) trait Target {
    /// The last entry so far.
    fn end(&self) -> Moment;

    /// Adds entries that end there.
    fn append(&mut self, stretch: &[u8], end: Moment) -> Result<(), TakeError>;
}

/// Copies everything that is committed when the first node answers, after what the target holds. `progress` is called
/// with the last index so far and the last one that is wanted.
pub(super) async fn copy(
    client: &Client,
    target: &mut impl Target,
    progress: &mut dyn FnMut(LogIndex, LogIndex),
) -> Result<(), TakeError> {
    let (mut upto, mut fruitless) = (None, 0);
    loop {
        let begun = target.end().position;
        let broken = match copy_from_one(client, target, &mut upto, progress).await {
            Ok(()) => return Ok(()),
            Err(TakeError::Client(error @ ClientError::Incomplete { .. })) => error,
            Err(error) => return Err(error),
        };
        fruitless = if target.end().position == begun { fruitless + 1 } else { 0 };
        if fruitless == MAX_FRUITLESS_ATTEMPTS {
            return Err(broken.into());
        }
        tracing::info!(reason = %broken, after = %target.end().position.index, "going on at another node");
        client.prefer_another();
    }
}

async fn copy_from_one(
    client: &Client,
    target: &mut impl Target,
    upto: &mut Option<LogIndex>,
    progress: &mut dyn FnMut(LogIndex, LogIndex),
) -> Result<(), TakeError> {
    let mut copy = client.copy_ledger(target.end().position, *upto).await?;
    let wanted = *upto.get_or_insert(copy.upto());
    progress(target.end().position.index, wanted);
    while let Some(stretch) = copy.next().await? {
        target.append(&stretch.bytes, Moment { position: stretch.end, time: stretch.end_time })?;
        progress(stretch.end.index, wanted);
    }
    Ok(())
}

impl Target for quorapay_node::backup::PartFile {
    fn end(&self) -> Moment {
        self.end()
    }

    fn append(&mut self, stretch: &[u8], end: Moment) -> Result<(), TakeError> {
        self.append(stretch, end).map_err(|error: BackupError| error.into())
    }
}

impl<W: std::io::Write> Target for quorapay_node::backup::BackupWriter<W> {
    fn end(&self) -> Moment {
        self.end()
    }

    fn append(&mut self, stretch: &[u8], end: Moment) -> Result<(), TakeError> {
        self.append(stretch, end).map_err(TakeError::Output)
    }
}
