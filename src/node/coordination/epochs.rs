//! The epoch counter, and the operations that its version or a place in the queue guards.
//!
//! Taking an epoch is a compare-and-set. This file does not know what an epoch is for; it only ensures that nobody else
//! gets the same number.

use uuid::Uuid;
use zookeeper_client::Error;

use super::config::CoordinationConfig;
use super::layout::{self, EpochRecord, Layout, LeaderRecord};
use super::session::{Session, is_rejection};
use quorapay_core::domain::Epoch;

/// Attempts to take an epoch, after lost races and unknown outcomes. Three to five nodes rarely race at all.
const MAX_ATTEMPTS: u32 = 16;

/// The counter as read.
struct Counter {
    record: Option<EpochRecord>,
    version: i32,
}

async fn read_counter(session: &Session, layout: &Layout) -> Result<Counter, Error> {
    let (data, stat) = session.read(&layout.epoch()).await?;
    Ok(Counter { record: layout::decode(&data), version: stat.version })
}

/// The newest epoch taken by any node, and the znode's version. An unreadable counter counts as zero: a node that takes
/// an epoch names the lowest acceptable one, above every promise that it knows.
async fn newest(session: &Session, layout: &Layout) -> Result<(Epoch, i32), Error> {
    let counter = read_counter(session, layout).await?;
    Ok((counter.record.map_or(Epoch(0), |record| record.epoch), counter.version))
}

/// Takes an epoch of at least `at_least` that nobody else ever gets; `None` if that could not be done now.
pub(super) async fn take(
    session: &Session,
    layout: &Layout,
    config: &CoordinationConfig,
    at_least: Epoch,
) -> Option<Epoch> {
    for _ in 0..MAX_ATTEMPTS {
        match try_take(session, layout, config, at_least).await {
            Ok(Some(epoch)) => return Some(epoch),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "no epoch could be taken");
                return None;
            }
        }
    }
    tracing::debug!("no epoch could be taken: every attempt lost against another node");
    None
}

/// One attempt; `Ok(None)` if it lost against another node.
async fn try_take(
    session: &Session,
    layout: &Layout,
    config: &CoordinationConfig,
    at_least: Epoch,
) -> Result<Option<Epoch>, Error> {
    let (newest, version) = newest(session, layout).await?;
    let Some(next) = newest.0.checked_add(1) else {
        return Err(Error::UnexpectedError("the epoch counter cannot be increased".to_owned()));
    };
    let epoch = Epoch(next).max(at_least);
    let nonce = Uuid::new_v4();
    let record = EpochRecord { epoch, node: config.node_id.clone(), nonce };
    match session.replace(&layout.epoch(), &layout::encode(&record), version).await {
        Ok(()) => Ok(Some(epoch)),
        Err(Error::BadVersion) => Ok(None),
        Err(error) if is_rejection(&error) => Err(error),
        // The write may have been applied. If it was and another node has taken a higher epoch since, a new one is
        // needed anyway; if it is applied later, nobody uses its epoch.
        Err(_) => {
            let now = read_counter(session, layout).await?;
            Ok(now.record.filter(|stored| stored.nonce == nonce).map(|stored| stored.epoch))
        }
    }
}

/// Writes to the `leader` znode that this node leads, if it still has its place `own_place` and no later leader is
/// there.
pub(super) async fn publish(
    session: &Session,
    layout: &Layout,
    config: &CoordinationConfig,
    own_place: &str,
    epoch: Epoch,
) -> Result<(), Error> {
    let path = layout.leader();
    let version = match session.read(&path).await {
        Ok((data, stat)) => {
            let named = layout::decode::<LeaderRecord>(&data);
            if named.is_some_and(|named| named.epoch > epoch) {
                return Ok(());
            }
            Some(stat.version)
        }
        Err(Error::NoNode) => None,
        Err(error) => return Err(error),
    };
    let record = LeaderRecord { epoch, node: config.node_id.clone(), url: config.client_url.clone() };
    session.store_if(own_place, &path, &layout::encode(&record), version).await
}

/// Removes a place in the queue if no epoch above `newest_known` was taken. The check and the deletion are one step, so
/// a removal that arrives late, after a new leader took its epoch, does nothing.
pub(super) async fn remove_unless_newer(
    session: &Session,
    layout: &Layout,
    place: &str,
    newest_known: Epoch,
) -> Result<(), Error> {
    let (newest, version) = newest(session, layout).await?;
    if newest > newest_known {
        tracing::debug!(place, %newest, %newest_known, "a newer leader has taken an epoch: nobody is removed");
        return Ok(());
    }
    session.delete_if(&layout.epoch(), version, place).await
}
