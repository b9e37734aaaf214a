//! This node's place in the election queue.
//!
//! It finds the predecessor and watches only that one, so that a death wakes one node and not all. Whether to stand for
//! election, to yield or to remove a node is decided elsewhere.

use std::collections::BTreeSet;

use zookeeper_client::Error;

use super::config::CoordinationConfig;
use super::layout::{self, ElectionRecord, Layout, Ticket};
use super::outside::Watch;
use super::session::{Session, fired};
use quorapay_core::replication::{NodeId, QueueRank};

/// Attempts in a row while the queue keeps changing; the next ones come after a pause.
const MAX_ATTEMPTS: u32 = 16;

/// This node's part in the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueueState {
    /// It has a place with this rank.
    Ranked(QueueRank),
    /// Another node removed its place. Refresh again to get a new one at the end.
    Removed,
}

/// The place directly before this node's.
struct Predecessor {
    ticket: Ticket,
    node: NodeId,
    watch: Option<Watch>,
}

/// The queue as one session sees it.
#[derive(Default)]
pub(super) struct Queue {
    ticket: Option<Ticket>,
    own_watch: Option<Watch>,
    predecessor: Option<Predecessor>,
    /// Places that no configured node has taken: somebody else wrote them, and nobody would ever give them up.
    strangers: BTreeSet<Ticket>,
    /// The place must be given up. True until ZooKeeper has confirmed it.
    leaving: bool,
}

impl Queue {
    /// Waits until this node's place or its predecessor's changes.
    pub(super) async fn changed(&mut self) {
        let mut none = None;
        let predecessor = self.predecessor.as_mut().map_or(&mut none, |predecessor| &mut predecessor.watch);
        tokio::select! {
            biased;
            () = fired(&mut self.own_watch) => {}
            () = fired(predecessor) => {}
        }
    }

    /// Gives up the place at the next refresh.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Path of this node's place.
    pub(super) fn own_place(&self, layout: &Layout) -> Option<String> {
        self.ticket.as_ref().map(|ticket| layout.place(ticket))
    }

    /// Reads the queue, takes a place in it if this node has none, and sets the watches.
    pub(super) async fn refresh(
        &mut self,
        session: &Session,
        layout: &Layout,
        config: &CoordinationConfig,
    ) -> Result<QueueState, Error> {
        if self.leaving {
            self.give_up(session, layout).await?;
        }
        for _ in 0..MAX_ATTEMPTS {
            if self.ticket.is_none() {
                self.take_place(session, layout, config).await?;
            }
            if let Some(state) = self.find_rank(session, layout, config).await? {
                return Ok(state);
            }
        }
        Err(Error::BadVersion)
    }

    /// Gives up the place now, if there is one.
    pub(super) async fn give_up(&mut self, session: &Session, layout: &Layout) -> Result<(), Error> {
        self.own_watch = None;
        if let Some(ticket) = &self.ticket {
            session.delete(&layout.place(ticket), 0).await?;
        }
        self.ticket = None;
        self.leaving = false;
        Ok(())
    }

    /// Takes a place. A place that this session already has, because the answer to its creation was lost, is used;
    /// places that earlier sessions of this node left are removed, which is safe because this session holds the node
    /// id.
    async fn take_place(
        &mut self,
        session: &Session,
        layout: &Layout,
        config: &CoordinationConfig,
    ) -> Result<(), Error> {
        session.sync(&layout.election()).await?;
        let mut own = None;
        for ticket in tickets(session, layout).await? {
            let path = layout.place(&ticket);
            let (data, stat) = match session.read(&path).await {
                Ok(found) => found,
                Err(Error::NoNode) => continue,
                Err(error) => return Err(error),
            };
            if session.owns(&stat) && own.is_none() {
                own = Some(ticket);
            } else if layout::decode::<ElectionRecord>(&data).is_some_and(|record| record.node == config.node_id) {
                session.delete(&path, stat.version).await?;
            }
        }
        let ticket = match own {
            Some(ticket) => ticket,
            None => {
                let record = ElectionRecord { node: config.node_id.clone(), store_id: config.store_id };
                session.create_place(&layout.new_place(), &layout::encode(&record)).await?
            }
        };
        self.ticket = Some(ticket);
        self.own_watch = None;
        self.predecessor = None;
        Ok(())
    }

    /// Finds this node's rank and watches its predecessor; `None` if the queue changed meanwhile.
    async fn find_rank(
        &mut self,
        session: &Session,
        layout: &Layout,
        config: &CoordinationConfig,
    ) -> Result<Option<QueueState>, Error> {
        let Some(own) = self.ticket.clone() else { return Ok(None) };
        if self.own_watch.is_none() {
            match session.read_and_watch(&layout.place(&own)).await {
                Ok((_, watch)) => self.own_watch = Some(watch),
                Err(Error::NoNode) => return Ok(Some(self.removed())),
                Err(error) => return Err(error),
            }
        }
        let mut queue = tickets(session, layout).await?;
        self.strangers.retain(|ticket| queue.binary_search(ticket).is_ok());
        let Ok(position) = queue.binary_search(&own) else { return Ok(Some(self.removed())) };
        queue.truncate(position);
        while let Some(before) = queue.pop() {
            if self.strangers.contains(&before) {
                continue;
            }
            if self.predecessor.as_ref().is_some_and(|known| known.ticket == before && known.watch.is_some()) {
                return Ok(Some(QueueState::Ranked(QueueRank::Behind)));
            }
            if !self.is_strange(session, layout, config, &before).await? {
                return Ok(self.predecessor.as_ref().map(|_| QueueState::Ranked(QueueRank::Behind)));
            }
            tracing::warn!(place = %layout.place(&before), "not a place of a node of this cluster; ignored");
            self.strangers.insert(before);
        }
        self.predecessor = None;
        Ok(Some(QueueState::Ranked(QueueRank::First)))
    }

    /// Whether a place before this node's is none of a configured node's. Otherwise it is watched as the predecessor, if
    /// it is still there and no forgotten place of this session.
    async fn is_strange(
        &mut self,
        session: &Session,
        layout: &Layout,
        config: &CoordinationConfig,
        ticket: &Ticket,
    ) -> Result<bool, Error> {
        self.predecessor = None;
        let path = layout.place(ticket);
        let ((data, stat), watch) = match session.read_and_watch(&path).await {
            Ok(found) => found,
            Err(Error::NoNode) => return Ok(false),
            Err(error) => return Err(error),
        };
        if session.owns(&stat) {
            session.delete(&path, stat.version).await?;
            return Ok(false);
        }
        let record = layout::decode::<ElectionRecord>(&data);
        let Some(record) = record.filter(|record| config.nodes.contains(&record.node)) else { return Ok(true) };
        self.predecessor = Some(Predecessor { ticket: ticket.clone(), node: record.node, watch: Some(watch) });
        Ok(false)
    }

    fn removed(&mut self) -> QueueState {
        self.ticket = None;
        self.own_watch = None;
        QueueState::Removed
    }

    /// Path of the predecessor, if it is `node`'s place.
    pub(super) fn predecessor(&self, layout: &Layout, node: &NodeId) -> Option<String> {
        let predecessor = self.predecessor.as_ref().filter(|place| place.node == *node)?;
        Some(layout.place(&predecessor.ticket))
    }
}

/// All places in the order of the queue.
async fn tickets(session: &Session, layout: &Layout) -> Result<Vec<Ticket>, Error> {
    let children = session.children(&layout.election()).await?;
    let mut tickets: Vec<Ticket> = children.iter().filter_map(|name| Ticket::parse(name)).collect();
    tickets.sort();
    Ok(tickets)
}
