//! This node's place in the election queue.
//!
//! It finds out who stands ahead and watches only that one, so that a death wakes one node and not all. Whether to
//! stand, to yield or to remove somebody is decided elsewhere.

use zookeeper_client::Error;

use super::CoordinationConfig;
use super::layout::{self, ElectionRecord, Layout, Ticket};
use super::session::{Alarm, Session, ring};
use quorapay_core::replication::{NodeId, QueueRank};

/// A queue that changes between every two looks is looked at again after a pause.
const ATTEMPTS: u32 = 16;

/// What a look at the queue found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// This node's place.
    At(QueueRank),
    /// This node's place is gone: another node removed it. Look again to get a new one at the end.
    Removed,
}

/// Who stands directly ahead.
struct Ahead {
    ticket: Ticket,
    node: Option<NodeId>,
    alarm: Option<Alarm>,
}

/// The queue as one session sees it.
#[derive(Default)]
pub(super) struct Queue {
    ticket: Option<Ticket>,
    own_alarm: Option<Alarm>,
    ahead: Option<Ahead>,
    /// The place is to be given up; kept until ZooKeeper has confirmed it.
    leaving: bool,
}

impl Queue {
    /// Waits until something changed that concerns this node.
    pub(super) async fn rung(&mut self) {
        let mut none = None;
        let ahead = self.ahead.as_mut().map_or(&mut none, |ahead| &mut ahead.alarm);
        tokio::select! {
            () = ring(&mut self.own_alarm) => {}
            () = ring(ahead) => {}
        }
    }

    /// Gives up the place at the next look.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Path of this node's place.
    pub(super) fn own_place(&self, layout: &Layout) -> Option<String> {
        self.ticket.as_ref().map(|ticket| layout.place(ticket))
    }

    /// Looks at the queue, takes a place in it if there is none, and sets the alarms.
    pub(super) async fn look(
        &mut self,
        session: &Session,
        layout: &Layout,
        config: &CoordinationConfig,
    ) -> Result<Standing, Error> {
        if self.leaving {
            self.give_up(session, layout).await?;
        }
        for _ in 0..ATTEMPTS {
            if self.ticket.is_none() {
                self.take_place(session, layout, config).await?;
            }
            if let Some(standing) = self.stand(session, layout).await? {
                return Ok(standing);
            }
        }
        Err(Error::BadVersion)
    }

    /// Gives up the place now, if there is one.
    pub(super) async fn give_up(&mut self, session: &Session, layout: &Layout) -> Result<(), Error> {
        self.own_alarm = None;
        if let Some(ticket) = &self.ticket {
            session.delete(&layout.place(ticket), 0).await?;
        }
        self.ticket = None;
        self.leaving = false;
        Ok(())
    }

    /// Takes a place. A place that this session has already, because the answer to its creation was lost, is taken up
    /// again; places that earlier sessions of this node left are removed, which is safe because this session holds the
    /// node id.
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
        self.own_alarm = None;
        self.ahead = None;
        Ok(())
    }

    /// Finds this node's place and watches the one ahead; `None` if the queue changed meanwhile.
    async fn stand(&mut self, session: &Session, layout: &Layout) -> Result<Option<Standing>, Error> {
        let Some(own) = self.ticket.clone() else { return Ok(None) };
        if self.own_alarm.is_none() {
            match session.read_and_watch(&layout.place(&own)).await {
                Ok((_, alarm)) => self.own_alarm = Some(alarm),
                Err(Error::NoNode) => return Ok(Some(self.removed())),
                Err(error) => return Err(error),
            }
        }
        let mut queue = tickets(session, layout).await?;
        let Ok(position) = queue.binary_search(&own) else { return Ok(Some(self.removed())) };
        if position == 0 {
            self.ahead = None;
            return Ok(Some(Standing::At(QueueRank::First)));
        }
        let watched = queue.swap_remove(position - 1);
        if self.ahead.as_ref().is_some_and(|ahead| ahead.ticket == watched && ahead.alarm.is_some()) {
            return Ok(Some(Standing::At(QueueRank::Behind)));
        }
        self.watch_ahead(session, layout, watched).await
    }

    /// Sets the alarm on the place ahead; `None` if it is gone, or was a forgotten one of this very session.
    async fn watch_ahead(
        &mut self,
        session: &Session,
        layout: &Layout,
        ticket: Ticket,
    ) -> Result<Option<Standing>, Error> {
        self.ahead = None;
        let path = layout.place(&ticket);
        match session.read_and_watch(&path).await {
            Ok(((_, stat), _)) if session.owns(&stat) => session.delete(&path, stat.version).await.map(|()| None),
            Ok(((data, _), alarm)) => {
                let node = layout::decode::<ElectionRecord>(&data).map(|record| record.node);
                self.ahead = Some(Ahead { ticket, node, alarm: Some(alarm) });
                Ok(Some(Standing::At(QueueRank::Behind)))
            }
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn removed(&mut self) -> Standing {
        self.ticket = None;
        self.own_alarm = None;
        Standing::Removed
    }

    /// Path of the place directly ahead, if it is `node`'s.
    pub(super) fn place_ahead(&self, layout: &Layout, node: &NodeId) -> Option<String> {
        let ahead = self.ahead.as_ref().filter(|ahead| ahead.node.as_ref() == Some(node))?;
        Some(layout.place(&ahead.ticket))
    }
}

/// The queue in order.
async fn tickets(session: &Session, layout: &Layout) -> Result<Vec<Ticket>, Error> {
    let children = session.children(&layout.election()).await?;
    let mut tickets: Vec<Ticket> = children.iter().filter_map(|name| Ticket::parse(name)).collect();
    tickets.sort();
    Ok(tickets)
}
