//! A model of a node's ledger file. What was written and not synced is read back after the process has crashed, but not
//! after a power cut, until an opening makes it durable; a failed sync loses it although later syncs succeed. The disk may
//! be full, lose its end and rot. Damage is found as the real ledger finds it: the start verifies only the end of
//! the chain, a scrubber reads the rest gradually, and every batch that is read for a peer is verified.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorapay_core::domain::{LogIndex, RuleVersion, Timestamp};
use quorapay_core::engine::{Engine, EngineStart, EntryWeight, LookupRequest, LookupResult, ViewsFilters};
use quorapay_core::replication::{
    Configuration, Entry, EntryBody, EpochSpan, Persist, PersistId, Position, Promise, ReplicaConfig, ReplicaStart,
    StoreId,
};

use super::random::Random;
use super::views::Views;

/// The position of an index in a vector of rows.
pub(crate) fn row(index: LogIndex) -> usize {
    usize::try_from(index.0).expect("logs of a run are short").checked_sub(1).expect("indexes start at 1")
}

/// The index of the last row.
pub(crate) fn index_of_last(rows: &[Arc<Entry>]) -> LogIndex {
    LogIndex(u64::try_from(rows.len()).expect("logs of a run are short"))
}

/// The ledger does not hold what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged(pub(crate) &'static str);

/// The result of opening a ledger.
pub(crate) enum Opened {
    /// No damage was found.
    Intact(Box<Start>),
    /// Damage was found; the ledger is replaced at once.
    Damaged(Damaged),
    /// Damage was found while the views were brought up to date; the process ends.
    DamagedInReplay(Damaged),
}

/// What a core starts from.
pub(crate) struct Start {
    engine: EngineStart,
}

impl Start {
    /// The highest index known to be committed.
    pub(crate) const fn commit_index(&self) -> LogIndex {
        self.engine.replica.commit_index
    }

    /// The rules in its log that a program does not know which knows `newest`.
    pub(crate) fn unknown_rules(&self, newest: RuleVersion) -> Option<RuleVersion> {
        self.engine.replica.unknown_rules(newest).map(|(_, rules)| rules)
    }

    pub(crate) fn into_engine(self, config: ReplicaConfig) -> Engine {
        Engine::new(config, self.engine)
    }
}

/// What a power cut leaves of a ledger, while that is less than a process reads.
struct Durable {
    promise: Option<Promise>,
    commit_index: LogIndex,
    rows: Vec<Arc<Entry>>,
    /// A sync failed: what it should have written is lost, and what later syncs write stands behind a gap.
    gap: bool,
}

/// What a node's disk holds, as its process reads it.
pub(crate) struct Disk {
    pub(crate) store_id: StoreId,
    pub(crate) promise: Option<Promise>,
    pub(crate) commit_index: LogIndex,
    /// The rows as they were written. Reads may differ: see `rotten`.
    pub(crate) rows: Vec<Arc<Entry>>,
    /// Rows with a flipped bit, as they are read.
    rotten: BTreeMap<LogIndex, Arc<Entry>>,
    /// The file beside the ledger that records how far it was durable and committed.
    watermark: Position,
    /// A process found the ledger damaged and marked it for the next start.
    pub(crate) condemned: bool,
    /// The end that the file had before an older copy was put back.
    acknowledged: LogIndex,
    /// Whether writes fail for lack of space.
    pub(crate) full: bool,
    views: Views,
    last_write: PersistId,
    /// `None` if everything that is read is durable.
    durable: Option<Durable>,
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
            acknowledged: LogIndex(0),
            full: false,
            views: Views::default(),
            last_write: PersistId(0),
            durable: None,
        }
    }

    /// Whether a power cut would leave less than a process reads.
    pub(crate) const fn has_unsynced(&self) -> bool {
        self.durable.is_some()
    }

    /// The promise that a power cut leaves.
    pub(crate) fn durable_promise(&self) -> Option<&Promise> {
        self.durable.as_ref().map_or(self.promise.as_ref(), |durable| durable.promise.as_ref())
    }

    /// The end of the log that a power cut leaves.
    pub(crate) fn durable_last(&self) -> Position {
        let rows = self.durable.as_ref().map_or(&self.rows, |durable| &durable.rows);
        rows.last().map(|entry| entry.position()).unwrap_or_default()
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        index_of_last(&self.rows)
    }

    /// The position at `index`, if the log reaches that far.
    pub(crate) fn position(&self, index: LogIndex) -> Option<Position> {
        if index.0 == 0 { Some(Position::default()) } else { self.rows.get(row(index)).map(|entry| entry.position()) }
    }

    /// A row as it is read.
    fn stored(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        self.rotten.get(&index).or_else(|| self.rows.get(row(index)))
    }

    /// Reads the position at `previous` and at most `limit` entries after it up to `to`, and verifies the chain.
    pub(crate) fn read_chain(
        &self,
        previous: LogIndex,
        to: LogIndex,
        limit: usize,
    ) -> Result<(Position, Vec<Arc<Entry>>), Damaged> {
        let start = match previous.0 {
            0 => Position::default(),
            _ => self.stored(previous).ok_or(Damaged("an entry is missing"))?.position(),
        };
        let last = to.min(self.last_index()).0;
        let indexes = (previous.0 + 1..=last).take(limit.max(1)).map(LogIndex);
        let entries: Vec<_> = indexes.filter_map(|index| self.stored(index).cloned()).collect();
        // Rows were verified when they were written: only rotten rows can break the chain.
        if self.rotten.range(previous..=to.max(previous)).next().is_some() {
            let mut end = start;
            for entry in &entries {
                if !entry.follows(&end) {
                    return Err(Damaged("the hash chain breaks"));
                }
                end = entry.position();
            }
        }
        Ok((start, entries))
    }

    /// Writes without a successful sync. `failed` says that there was one, and it failed.
    pub(crate) fn write_unsynced(&mut self, write: &Persist, failed: bool) {
        let durable = self.durable.get_or_insert_with(|| Durable {
            promise: self.promise.clone(),
            commit_index: self.commit_index,
            rows: self.rows.clone(),
            gap: false,
        });
        durable.gap |= failed;
        self.write(write);
    }

    /// Writes and syncs. Returns the index above which entries became durable; `None` if a gap before them keeps them
    /// from it.
    pub(crate) fn write_synced(&mut self, write: &Persist) -> Option<LogIndex> {
        let before = write.truncate_after.map_or(self.last_index(), |kept| kept.min(self.last_index()));
        self.write(write);
        match &self.durable {
            None => Some(before),
            Some(durable) if durable.gap => None,
            Some(_) => self.make_durable(),
        }
    }

    /// Makes everything durable that is read. Returns the index above which entries were not; `None` if all were.
    pub(crate) fn make_durable(&mut self) -> Option<LogIndex> {
        let durable = self.durable.take()?;
        let equal = self.rows.iter().zip(&durable.rows).take_while(|(read, kept)| read.position() == kept.position());
        Some(LogIndex(u64::try_from(equal.count()).expect("logs of a run are short")))
    }

    /// Loses what is not durable. The process must have ended.
    pub(crate) fn cut_power(&mut self) {
        if let Some(Durable { promise, commit_index, rows, .. }) = self.durable.take() {
            (self.promise, self.commit_index, self.rows) = (promise, commit_index, rows);
            self.rotten.split_off(&self.last_index().next());
        }
    }

    /// Stores one write, and asserts the rules that the real ledger's writer enforces.
    fn write(&mut self, write: &Persist) {
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

    /// Brings the views up to date by some of the applied entries, unless those are damaged. Returns the projected
    /// index and the filters over everything up to there.
    pub(crate) fn project(&mut self, applied: LogIndex, random: &mut Random) -> (LogIndex, Arc<ViewsFilters>) {
        let projected = self.views.projected();
        let to = LogIndex(random.between(projected.0, applied.0.max(projected.0)));
        if self.read_chain(projected, to, usize::MAX).is_ok() {
            self.views.project(to, &self.rows);
        }
        (self.views.projected(), self.views.filters())
    }

    /// What the views and the ledger hold of a request.
    pub(crate) fn look_up(&self, request: &LookupRequest) -> LookupResult {
        self.views.look_up(request, &self.rows)
    }

    /// Moves the watermark to the applied index.
    pub(crate) fn mark(&mut self, applied: LogIndex) {
        self.watermark = self.position(applied).expect("what is applied is durable");
    }

    /// Whether this ledger is damaged, known to its process or not.
    pub(crate) fn is_damaged(&self) -> bool {
        self.condemned || !self.rotten.is_empty() || self.last_index() < self.known_committed().max(self.acknowledged)
    }

    /// The highest index known from outside the ledger to have been committed and durable here.
    fn known_committed(&self) -> LogIndex {
        self.watermark.index.max(self.views.projected())
    }

    /// Flips a bit in some row. False if there is no row.
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

    /// Loses the end of the file, as SQLite does after a flipped bit in the WAL. False if that would not be detectable:
    /// some file beside the ledger must know an index above the new end.
    pub(crate) fn tear(&mut self, random: &mut Random) -> bool {
        let known = self.known_committed();
        if known.0 == 0 {
            return false;
        }
        let end = LogIndex(random.below(known.0));
        self.durable = None;
        self.truncate(end);
        self.commit_index = self.commit_index.min(end);
        true
    }

    /// Loses the end of the file where nothing beside it knows: an older copy was put back. Returns the new end, or
    /// `None` if there is nothing to lose. What was not synced was not acknowledged, and goes first.
    pub(crate) fn forget_end(&mut self, random: &mut Random) -> Option<LogIndex> {
        let (known, last) = (self.known_committed(), self.durable_last().index);
        if known >= last {
            return None;
        }
        self.cut_power();
        let end = LogIndex(random.between(known.0, last.previous().0));
        self.truncate(end);
        self.commit_index = self.commit_index.min(end);
        self.acknowledged = last;
        Some(end)
    }

    /// Opens the ledger for a starting process. Only the last `verified` entries, those above the commit index and
    /// those missing in the views are verified.
    pub(crate) fn start(&mut self, verified: u64, unprojected_keys: u64, random: &mut Random) -> Opened {
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
        // Only committed entries are projected, so the projected index may exceed the ledger's commit index.
        let commit_index = self.commit_index.max(self.views.projected());
        if let Err(damaged) = self.read_chain(self.views.projected(), commit_index, usize::MAX) {
            return Opened::DamagedInReplay(damaged);
        }
        self.catch_up_views(commit_index, unprojected_keys);
        Opened::Intact(Box::new(self.replay(commit_index, verified_from)))
    }

    /// Brings views that are too far behind nearer: a start replays a bounded part of the log only.
    fn catch_up_views(&mut self, commit_index: LogIndex, unprojected_keys: u64) {
        let keys = |entry: &Arc<Entry>| entry.operation().map_or(0, |operation| operation.keys().count());
        while self.views.projected() < commit_index {
            let next = self.views.projected().next();
            let lacking: usize = self.rows[row(next)..row(commit_index.next())].iter().map(keys).sum();
            if u64::try_from(lacking).expect("few") <= unprojected_keys {
                return;
            }
            self.views.project(next, &self.rows);
        }
    }

    /// Loads the bank from the views and applies the committed entries above them.
    fn replay(&self, commit_index: LogIndex, verified_from: LogIndex) -> Start {
        let projected_index = self.views.projected();
        let (mut bank, mut recent_keys, mut unprojected) = (self.views.load_bank(), Vec::new(), Vec::new());
        bank.restore_rules(EpochSpan::rules_after(&self.spans(), projected_index));
        for entry in &self.rows[row(projected_index.next())..row(commit_index.next())] {
            entry.apply_to(&mut bank).expect("what is committed fits the bank before it");
            unprojected.push(EntryWeight::of(entry));
            let Some(operation) = entry.operation() else { continue };
            recent_keys.extend(operation.keys().map(|key| (key.digest(), entry.index)));
        }
        let replica = self.replica_start(commit_index, verified_from);
        let filters = self.views.filters();
        Start { engine: EngineStart { replica, bank, projected_index, recent_keys, unprojected, filters } }
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
                let EntryBody::EpochStart { rules, .. } = entry.body else { panic!("no epoch begins with {entry:?}") };
                spans.push(EpochSpan { epoch: entry.epoch, start: entry.index, rules });
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
