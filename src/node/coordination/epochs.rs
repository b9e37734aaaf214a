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
use quorapay_core::replication::can_follow;

/// Attempts to take an epoch, after lost races and unknown outcomes. Three to five nodes rarely race at all.
const MAX_ATTEMPTS: u32 = 16;

/// The counter as read.
struct Counter {
    record: Option<EpochRecord>,
    version: i32,
}

/// The newest epoch taken by any node, and the znode's version. A counter that cannot be read, or that shows a number
/// which no cluster reaches from the epochs `known` here, counts as absent: a node that takes an epoch names the lowest
/// acceptable one, above every promise that it knows.
async fn read_counter(session: &Session, layout: &Layout, known: Epoch) -> Result<Counter, Error> {
    let (data, stat) = session.read(&layout.epoch()).await?;
    let record: Option<EpochRecord> = layout::decode(&data);
    let (forged, record): (Option<_>, Option<_>) = match record {
        Some(record) if !can_follow(record.epoch, known) => (Some(record.epoch), None),
        plausible => (None, plausible),
    };
    if let Some(epoch) = forged {
        tracing::error!(%epoch, %known, "the epoch counter in ZooKeeper shows a number that no election gave it; ignored");
    }
    Ok(Counter { record, version: stat.version })
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
    let Counter { record, version } = read_counter(session, layout, at_least).await?;
    let epoch = record.map_or(at_least, |newest| Epoch(newest.epoch.0.saturating_add(1)).max(at_least));
    let nonce = Uuid::new_v4();
    let record = EpochRecord { epoch, node: config.node_id.clone(), nonce };
    match session.replace(&layout.epoch(), &layout::encode(&record), version).await {
        Ok(()) => Ok(Some(epoch)),
        Err(Error::BadVersion) => Ok(None),
        Err(error) if is_rejection(&error) => Err(error),
        // The write may have been applied. If it was and another node has taken a higher epoch since, a new one is
        // needed anyway; if it is applied later, nobody uses its epoch.
        Err(_) => {
            let now = read_counter(session, layout, at_least).await?;
            Ok(now.record.filter(|stored| stored.nonce == nonce).map(|stored| stored.epoch))
        }
    }
}

/// Writes to the `leader` znode that this node leads, if it does not say so, this node still has its place `own_place`,
/// and no later leader is there.
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
            if named.is_some_and(|named| named.epoch > epoch || (named.epoch == epoch && named.node == config.node_id))
            {
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

/// Removes a place in the queue if no epoch above `newest_known` was taken; else returns the newest. The check and the
/// deletion are one step, so a removal that arrives late, after a new leader took its epoch, does nothing.
pub(super) async fn remove_unless_newer(
    session: &Session,
    layout: &Layout,
    place: &str,
    newest_known: Epoch,
) -> Result<Option<EpochRecord>, Error> {
    let Counter { record, version } = read_counter(session, layout, newest_known).await?;
    if let Some(newer) = record.filter(|record| record.epoch > newest_known) {
        return Ok(Some(newer));
    }
    session.delete_if(&layout.epoch(), version, place).await.map(|()| None)
}
