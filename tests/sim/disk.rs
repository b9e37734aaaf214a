//! A node's ledger file as the simulation has it: what is durable survives a crash, what is not does not; the disk may
//! be full, fail to sync, lose its end and rot. What is found out about it and when is modelled on the real ledger:
//! the start verifies only the end of the chain, a scrubber reads the rest by and by, and every batch read for a peer
//! is verified on its way out.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorapay_core::domain::{KeyDigest, OrderDigest};
use quorapay_core::domain::{LogIndex, Timestamp};
use quorapay_core::engine::{Engine, EngineStart, LookupRequest, LookupResult};
use quorapay_core::replication::{
    Configuration, Entry, EntryBody, EpochSpan, Persist, PersistId, Position, Promise, ReplicaConfig, ReplicaStart,
    StoreId,
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

/// What stands in the ledger cannot be what was written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged(pub(crate) &'static str);

/// What a start finds.
pub(crate) enum Opened {
    /// A ledger that as far as one can see is whole.
    Whole(Box<Start>),
    /// A ledger that is moved aside at once.
    Damaged(Damaged),
    /// A ledger whose damage shows only while the views are brought up to date. The process ends.
    DamagedInReplay(Damaged),
}

/// What a core starts from.
pub(crate) struct Start {
    engine: EngineStart,
    /// Keys in the views.
    keys: Vec<KeyDigest>,
    /// Orders in the views, and those of younger entries.
    orders: Vec<OrderDigest>,
}

impl Start {
    /// Highest index that is known to be committed.
    pub(crate) const fn commit_index(&self) -> LogIndex {
        self.engine.replica.commit_index
    }

    pub(crate) fn into_engine(self, config: ReplicaConfig) -> Engine {
        let mut engine = Engine::new(config, self.engine);
        self.keys.into_iter().for_each(|key| engine.remember_projected_key(key));
        self.orders.into_iter().for_each(|order| engine.remember_order(order));
        engine
    }
}

/// What a node's disk holds.
pub(crate) struct Disk {
    pub(crate) store_id: StoreId,
    pub(crate) promise: Option<Promise>,
    pub(crate) commit_index: LogIndex,
    /// What was written. What is read back may differ: see `rotten`.
    pub(crate) rows: Vec<Arc<Entry>>,
    /// Rows in which a bit has flipped, as they are read back.
    rotten: BTreeMap<LogIndex, Arc<Entry>>,
    /// The file outside the ledger that remembers how far it was durable and committed.
    watermark: Position,
    /// A process found the ledger damaged and left a note for the next one.
    pub(crate) condemned: bool,
    /// Whether no more can be written for now.
    pub(crate) full: bool,
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
            rotten: BTreeMap::new(),
            watermark: Position::default(),
            condemned: false,
            full: false,
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

    /// A row as it is read back.
    fn stored(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        self.rotten.get(&index).or_else(|| self.rows.get(row(index)))
    }

    /// Reads the place at `previous` and at most `most` entries after it up to `to`, and verifies the chain.
    pub(crate) fn read_chain(
        &self,
        previous: LogIndex,
        to: LogIndex,
        most: usize,
    ) -> Result<(Position, Vec<Arc<Entry>>), Damaged> {
        let place = match previous.0 {
            0 => Position::default(),
            _ => self.stored(previous).ok_or(Damaged("an entry is missing"))?.position(),
        };
        let last = to.min(self.last_index()).0;
        let indexes = (previous.0 + 1..=last).take(most.max(1)).map(LogIndex);
        let entries: Vec<_> = indexes.filter_map(|index| self.stored(index).cloned()).collect();
        // What was written was verified then: only rows that have rotten since can break the chain.
        if self.rotten.range(previous..=to.max(previous)).next().is_some() {
            let mut end = place;
            for entry in &entries {
                if !entry.follows(&end) {
                    return Err(Damaged("the hash chain breaks"));
                }
                end = entry.position();
            }
        }
        Ok((place, entries))
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
            self.truncate(kept);
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

    fn truncate(&mut self, kept: LogIndex) {
        self.rows.truncate(usize::try_from(kept.0).expect("logs of a run are short"));
        self.rotten.split_off(&kept.next());
    }

    /// Lets the views catch up by some of the entries that the process has applied; answers how far they are. They
    /// stay where they are if what they would read is damaged.
    pub(crate) fn project(&mut self, applied: LogIndex, random: &mut Random) -> LogIndex {
        let projected = self.views.projected();
        let to = LogIndex(random.between(projected.0, applied.0.max(projected.0)));
        if self.read_chain(projected, to, usize::MAX).is_ok() {
            self.views.project(to, &self.rows);
        }
        self.views.projected()
    }

    /// What the views and the ledger hold of a request.
    pub(crate) fn look_up(&self, request: &LookupRequest) -> LookupResult {
        self.views.look_up(request, &self.rows)
    }

    /// Moves the watermark on to what the process has applied.
    pub(crate) fn mark(&mut self, applied: LogIndex) {
        self.watermark = self.position(applied).expect("what is applied is durable");
    }

    /// Whether something is wrong with this ledger, known to its process or not.
    pub(crate) fn is_damaged(&self) -> bool {
        self.condemned || !self.rotten.is_empty() || self.last_index() < self.remembered()
    }

    /// Up to where something beside the ledger says that it was committed and durable here.
    fn remembered(&self) -> LogIndex {
        self.watermark.index.max(self.views.projected())
    }

    /// Flips a bit somewhere in a row. False if there is none.
    pub(crate) fn rot(&mut self, random: &mut Random) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let index = LogIndex(random.between(1, self.last_index().0));
        let mut entry = Entry::clone(&self.rows[row(index)]);
        if random.chance(500) {
            entry.timestamp = Timestamp(entry.timestamp.0 ^ 1);
        } else {
            entry.hash.0[random.index(32)] ^= 1;
        }
        self.rotten.insert(index, Arc::new(entry));
        true
    }

    /// Loses the end of the file, as SQLite does with a WAL in which a bit has flipped. False if there is not enough
    /// to lose: what the ledger ends below must be remembered elsewhere, or nobody can ever tell.
    pub(crate) fn tear(&mut self, random: &mut Random) -> bool {
        let remembered = self.remembered();
        if remembered.0 == 0 {
            return false;
        }
        let end = LogIndex(random.below(remembered.0));
        self.truncate(end);
        self.commit_index = self.commit_index.min(end);
        true
    }

    /// What a process finds that starts on this disk. Only the last `verified` entries and those above the commit
    /// index are verified, and those that are missing in the views.
    pub(crate) fn start(&mut self, verified: u64, random: &mut Random) -> Opened {
        self.last_write = PersistId(0);
        let last = self.last_index();
        if self.condemned {
            return Opened::Damaged(Damaged("it was condemned"));
        }
        if self.commit_index > last || self.watermark.index > last {
            return Opened::Damaged(Damaged("it ends below what was committed"));
        }
        let verified_from = LogIndex(self.commit_index.0.min(last.0.saturating_sub(verified)));
        if let Err(damaged) = self.read_chain(verified_from, last, usize::MAX) {
            return Opened::Damaged(damaged);
        }
        if self.watermark.index.0 > 0 && self.stored(self.watermark.index).map(|e| e.position()) != Some(self.watermark)
        {
            return Opened::Damaged(Damaged("it differs from its watermark"));
        }
        if self.views.projected() > last {
            return Opened::DamagedInReplay(Damaged("it ends below what its views hold"));
        }
        if random.chance(100) {
            self.views.lose_some(random, &self.rows);
        }
        // Only committed entries are ever projected, so the views may know a higher commit index than the ledger.
        let commit_index = self.commit_index.max(self.views.projected());
        if let Err(damaged) = self.read_chain(self.views.projected(), commit_index, usize::MAX) {
            return Opened::DamagedInReplay(damaged);
        }
        Opened::Whole(Box::new(self.replay(commit_index, verified_from)))
    }

    /// The bank comes from the views, brought up to date by what the ledger holds above them.
    fn replay(&self, commit_index: LogIndex, verified_from: LogIndex) -> Start {
        let projected_index = self.views.projected();
        let (mut bank, mut recent_keys) = (self.views.load_bank(), Vec::new());
        let mut orders = self.views.orders().to_vec();
        for entry in &self.rows[row(projected_index.next())..row(commit_index.next())] {
            let Some(operation) = entry.operation() else { continue };
            bank.apply(entry.stamp(), operation).expect("what is committed fits the bank before it");
            recent_keys.extend(operation.keys().map(|key| (key.digest(), entry.index)));
            let paid = operation.payments().filter_map(|payment| payment.request.order.as_ref());
            orders.extend(paid.map(|order| order.id.digest()));
        }
        let replica = self.replica_start(commit_index, verified_from);
        let engine = EngineStart { replica, bank, projected_index, recent_keys };
        Start { engine, keys: self.views.digests().to_vec(), orders }
    }

    fn replica_start(&self, commit_index: LogIndex, verified_from: LogIndex) -> ReplicaStart {
        let last = self.last_index();
        let first = verified_from.next().min(last);
        ReplicaStart {
            store_id: self.store_id,
            promise: self.promise.clone(),
            commit_index,
            last: self.position(last).expect("the last entry is there"),
            spans: self.spans(),
            configurations: self.configurations(),
            tail: if last.0 == 0 { Vec::new() } else { self.rows[row(first)..].to_vec() },
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
            EntryBody::Configuration(configuration) => Some((entry.index, configuration.clone())),
            EntryBody::EpochStart { .. } | EntryBody::Operation(_) => None,
        });
        found.collect()
    }
}
