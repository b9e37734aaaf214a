//! A node's ledger file as the simulation has it: what is durable survives a crash, what is not does not. Beside it
//! stand the views, which lag behind and answer only up to where they are.

use std::sync::Arc;

use quorapay::engine::{Engine, EngineStart, Found, Wanted};
use quorapay::replication::{
    Body, Configuration, Entry, EpochSpan, LogIndex, Persist, PersistId, Position, Promise, ReplicaConfig,
    ReplicaStart, StoreId,
};

use super::random::Random;
use super::views::Views;

/// The place of an index in a vector of rows.
pub(crate) fn row(index: LogIndex) -> usize {
    usize::try_from(index.0).expect("logs of a run are short").checked_sub(1).expect("indexes start at 1")
}

/// How many rows there are, as an index.
pub(crate) fn index_of_last(rows: &[Arc<Entry>]) -> LogIndex {
    LogIndex(u64::try_from(rows.len()).expect("logs of a run are short"))
}

/// What a node's disk holds.
pub(crate) struct Disk {
    pub(crate) store_id: StoreId,
    pub(crate) promise: Option<Promise>,
    pub(crate) commit_index: LogIndex,
    pub(crate) rows: Vec<Arc<Entry>>,
    views: Views,
    last_write: PersistId,
}

impl Disk {
    /// A new and empty ledger file.
    pub(crate) fn empty(store_id: StoreId) -> Self {
        Self {
            store_id,
            promise: None,
            commit_index: LogIndex(0),
            rows: Vec::new(),
            views: Views::default(),
            last_write: PersistId(0),
        }
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        index_of_last(&self.rows)
    }

    /// The place after which `index` would be appended, if the log reaches that far.
    pub(crate) fn position(&self, index: LogIndex) -> Option<Position> {
        if index.0 == 0 { Some(Position::default()) } else { self.rows.get(row(index)).map(|entry| entry.position()) }
    }

    /// Consecutive entries, at most `most` of them; empty where the log does not reach.
    pub(crate) fn read(&self, from: LogIndex, to: LogIndex, most: usize) -> Vec<Arc<Entry>> {
        let start = row(LogIndex(from.0.max(1)));
        let end = usize::try_from(to.0).expect("logs of a run are short").min(self.rows.len());
        self.rows.get(start..end).unwrap_or_default().iter().take(most.max(1)).cloned().collect()
    }

    /// Makes one write durable. The ledger's own rules are asserted here, as SQLite's writer would.
    pub(crate) fn write(&mut self, write: &Persist) {
        assert_eq!(write.id.0, self.last_write.0 + 1, "writes are numbered from 1 in the order of their effects");
        self.last_write = write.id;
        if let Some(promise) = &write.promise {
            let before = self.promise.as_ref().map(|promise| promise.epoch);
            assert!(before.is_none_or(|before| before <= promise.epoch), "a promise went back: {promise:?}");
            self.promise = Some(promise.clone());
        }
        if let Some(kept) = write.truncate_after {
            assert!(kept >= self.commit_index, "truncated to {kept}, below commit index {}", self.commit_index);
            self.rows.truncate(usize::try_from(kept.0).expect("logs of a run are short"));
        }
        for entry in &write.entries {
            assert_eq!(entry.index, self.last_index().next(), "entries are stored at the end of the log");
            self.rows.push(Arc::clone(entry));
        }
        let (known, last) = (write.commit_index, self.last_index());
        assert!(known >= self.commit_index, "durable commit index went back to {known} from {}", self.commit_index);
        assert!(known <= last, "durable commit index {known} is above the end of the log {last}");
        self.commit_index = known;
    }

    /// Lets the views catch up by some entries; answers how far they are.
    pub(crate) fn project(&mut self, random: &mut Random) -> LogIndex {
        let to = LogIndex(random.between(self.views.projected().0, self.commit_index.0));
        self.views.project(to, &self.rows);
        to
    }

    /// What the views and the ledger say to a question.
    pub(crate) fn find(&self, wanted: &Wanted) -> Found {
        self.views.find(wanted, &self.rows)
    }

    /// The core of a process that starts on this disk.
    pub(crate) fn start(&mut self, config: ReplicaConfig, random: &mut Random) -> Engine {
        self.last_write = PersistId(0);
        if random.chance(100) {
            let to = LogIndex(random.between(0, self.views.projected().0));
            self.views.project(to, &self.rows);
        }
        let projected = self.views.projected();
        let mut bank = self.views.load_bank();
        let (mut recent_keys, mut recent_orders) = (Vec::new(), Vec::new());
        for entry in &self.rows[row(projected.next())..row(self.commit_index.next())] {
            let Some(operation) = entry.operation() else { continue };
            bank.apply(entry.stamp(), operation).expect("what is committed fits the bank before it");
            recent_keys.extend(operation.keys().map(|key| (key.digest(), entry.index)));
            let orders = operation.payments().filter_map(|payment| payment.request.order.as_ref());
            recent_orders.extend(orders.map(|order| order.id.digest()));
        }
        let replica = self.replica_start(random);
        let start = EngineStart { replica, bank, projected_index: projected, recent_keys };
        let mut engine = Engine::new(config, start);
        self.views.digests().iter().for_each(|digest| engine.remember_projected_key(*digest));
        self.views.orders().iter().chain(&recent_orders).for_each(|digest| engine.remember_order(*digest));
        engine
    }

    fn replica_start(&self, random: &mut Random) -> ReplicaStart {
        let first_unknown = LogIndex(self.commit_index.0 + 1 - random.between(0, self.commit_index.0.min(5)));
        let last = self.last_index();
        ReplicaStart {
            store_id: self.store_id,
            promise: self.promise.clone(),
            commit_index: self.commit_index,
            last: self.position(last).expect("the last entry is there"),
            spans: self.spans(),
            configurations: self.configurations(),
            tail: self.read(first_unknown.min(last), last, usize::MAX),
        }
    }

    fn spans(&self) -> Vec<EpochSpan> {
        let mut spans: Vec<EpochSpan> = Vec::new();
        for entry in &self.rows {
            if spans.last().is_none_or(|span| span.epoch != entry.epoch) {
                spans.push(EpochSpan { epoch: entry.epoch, start: entry.index });
            }
        }
        spans
    }

    /// Every configuration in the log with its index, oldest first.
    pub(crate) fn configurations(&self) -> Vec<(LogIndex, Configuration)> {
        let found = self.rows.iter().filter_map(|entry| match &entry.body {
            Body::Configuration(configuration) => Some((entry.index, configuration.clone())),
            Body::EpochStart { .. } | Body::Operation(_) => None,
        });
        found.collect()
    }
}
