//! The settings of a run, drawn from its seed. Each kind of fault is absent from many runs, because a run with every
//! fault at once makes little progress and so finds little.

use quorapay_core::replication::{Limits, Timing};

use super::lasting_faults::LastingFault;
use super::random::Random;

/// One second in the simulation's unit of time.
pub(crate) const SECOND: u64 = 1_000_000;
/// One millisecond in the simulation's unit of time.
pub(crate) const MILLI: u64 = 1_000;

/// The settings of one run. Times are in virtual microseconds, rates in thousandths; "every" is the mean time between
/// two events, with zero for never.
#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) safety_phase: u64,
    pub(crate) tick: u64,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,

    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) delay: (u64, u64),
    pub(crate) stragglers: u64,
    pub(crate) straggler_delay: u64,
    /// Messages that arrive only after everything has healed, as if delayed by minutes.
    pub(crate) held_back: u64,
    /// Additional delay of appends with entries: large batches on a slow link.
    pub(crate) append_delay: u64,
    pub(crate) request_timeout: u64,
    pub(crate) partition_every: u64,
    pub(crate) partition_length: u64,
    pub(crate) one_way: u64,

    pub(crate) crash_every: u64,
    pub(crate) downtime: u64,
    pub(crate) crash_of_all: u64,
    pub(crate) crash_unnoticed: u64,
    pub(crate) false_death_every: u64,
    pub(crate) wiped_disks: u64,
    pub(crate) pause_every: u64,
    pub(crate) pause_length: u64,
    pub(crate) lazy_poll: u64,

    pub(crate) persist: (u64, u64),
    pub(crate) persist_stalls: u64,
    pub(crate) fsync_errors: u64,
    pub(crate) read_errors: u64,
    pub(crate) full_disk_every: u64,
    pub(crate) full_disk_length: u64,
    pub(crate) hung_disk_every: u64,
    pub(crate) hung_disk_length: u64,
    pub(crate) torn_ledgers: u64,
    /// How often an older copy of a dead node's ledger is put back.
    pub(crate) restored_ledgers: u64,
    pub(crate) bit_rot_every: u64,
    /// Entries at the end of the ledger that a start verifies.
    pub(crate) verified_at_start: u64,

    /// How often the views can neither be written nor read when they are to be brought up to date.
    pub(crate) stuck_views: u64,
    pub(crate) clock_skew_ms: u64,
    pub(crate) clock_step_every: u64,

    pub(crate) session_timeout: u64,
    pub(crate) zookeeper_delay: (u64, u64),
    pub(crate) zookeeper_outage_every: u64,
    pub(crate) zookeeper_outage_length: u64,
    pub(crate) late_expiry: u64,
    pub(crate) sessions_without_end: u64,
    pub(crate) wrong_expiry_every: u64,
    pub(crate) ambiguous_epochs: u64,
    pub(crate) zookeeper_wipes: u64,
    /// How often a client misses that the queue has changed.
    pub(crate) missed_watches: u64,
    /// How often a leader's name does not reach the servers.
    pub(crate) lost_publications: u64,
    /// How often the epoch znode is set back to what it was before the last epoch was taken.
    pub(crate) restored_epochs: u64,
    /// When a second process with some node's id starts; zero for never.
    pub(crate) twin_after: u64,

    /// How often some node's program is replaced by a newer or older one.
    pub(crate) upgrade_every: u64,

    pub(crate) clients: usize,
    pub(crate) accounts: u64,
    pub(crate) think: u64,
    pub(crate) key_reuse: u64,
    pub(crate) retries: u64,
    pub(crate) reads: u64,
    pub(crate) client_timeout: u64,
    pub(crate) transfer_every: u64,

    /// Whether clients have API keys, which are created and revoked.
    pub(crate) api_keys: bool,

    /// The fault that the run ends with.
    pub(crate) lasting: Option<LastingFault>,
}

impl Knobs {
    /// A run without faults.
    pub(crate) fn calm(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            safety_phase: 2 * SECOND,
            tick: 20 * MILLI,
            timing: Timing::default(),
            limits: Limits { batch_entries: 64, tail_entries: 256, cached_entries: 64, ..Limits::default() },
            loss: 0,
            duplication: 0,
            delay: (200, 2 * MILLI),
            stragglers: 0,
            straggler_delay: 5 * SECOND,
            held_back: 0,
            append_delay: 0,
            request_timeout: SECOND,
            partition_every: 0,
            partition_length: SECOND,
            one_way: 0,
            crash_every: 0,
            downtime: SECOND,
            crash_of_all: 0,
            crash_unnoticed: 0,
            false_death_every: 0,
            wiped_disks: 0,
            pause_every: 0,
            pause_length: SECOND,
            lazy_poll: 0,
            persist: (100, MILLI),
            persist_stalls: 0,
            fsync_errors: 0,
            read_errors: 0,
            full_disk_every: 0,
            full_disk_length: SECOND,
            hung_disk_every: 0,
            hung_disk_length: SECOND,
            torn_ledgers: 0,
            restored_ledgers: 0,
            bit_rot_every: 0,
            verified_at_start: 5,
            stuck_views: 0,
            clock_skew_ms: 0,
            clock_step_every: 0,
            session_timeout: 2 * SECOND,
            zookeeper_delay: (300, 3 * MILLI),
            zookeeper_outage_every: 0,
            zookeeper_outage_length: SECOND,
            late_expiry: 0,
            sessions_without_end: 0,
            wrong_expiry_every: 0,
            ambiguous_epochs: 0,
            zookeeper_wipes: 0,
            missed_watches: 0,
            lost_publications: 0,
            restored_epochs: 0,
            twin_after: 0,
            upgrade_every: 0,
            clients: 2,
            accounts: 6,
            think: 20 * MILLI,
            key_reuse: 0,
            retries: 900,
            reads: 200,
            client_timeout: 2 * SECOND,
            transfer_every: 0,
            api_keys: false,
            lasting: None,
        }
    }

    /// The settings drawn from a seed.
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5EED);
        let nodes = random.pick(&[1, 3, 3, 3, 3, 3, 3, 5, 5]);
        let mut knobs = Self::calm(seed, nodes);
        knobs.safety_phase = random.between(3, 8) * SECOND;
        knobs.tick = random.pick(&[10, 20, 20, 40]) * MILLI;
        knobs.limits.batch_entries = random.pick(&[2, 3, 16, 64, 256]);
        knobs.limits.tail_entries = random.pick(&[4, 32, 256]);
        knobs.limits.cached_entries = random.pick(&[0, 1, 8, 64, 1_024]);
        knobs.lazy_poll = random.pick(&[0, 300, 800]);
        knobs.draw_network(&mut random);
        knobs.draw_processes(&mut random);
        knobs.draw_zookeeper(&mut random);
        knobs.draw_clients(&mut random);
        knobs.draw_disks(&mut random);
        knobs.draw_rare_faults(&mut random);
        knobs.lasting = LastingFault::of_run(seed, nodes);
        knobs.upgrade_every = random.pick(&[0, 0, 0, 0, 500, 1_500]) * MILLI;
        knobs.draw_views(&mut random);
        // Apart from the other draws, so that these stay what they are.
        knobs.api_keys = Random::new(seed ^ 0xCA_11E5).chance(300);
        knobs
    }

    fn draw_network(&mut self, random: &mut Random) {
        self.loss = random.pick(&[0, 0, 5, 50, 150]);
        self.duplication = random.pick(&[0, 0, 10, 100]);
        self.delay = random.pick(&[(100, 500), (200, 2_000), (200, 20_000), (1_000, 120_000)]);
        self.stragglers = random.pick(&[0, 0, 5, 30]);
        self.straggler_delay = random.pick(&[200, 2_000, 20_000]) * MILLI;
        self.request_timeout = random.pick(&[200, 500, 1_000, 2_000]) * MILLI;
        self.append_delay = random.pick(&[0, 0, 0, 0, 0, self.request_timeout / 2]);
        self.partition_every = random.pick(&[0, 0, 700, 2_000]) * MILLI;
        self.partition_length = random.pick(&[200, 800, 2_000]) * MILLI;
        self.one_way = random.pick(&[0, 300, 700]);
    }

    fn draw_processes(&mut self, random: &mut Random) {
        self.crash_every = random.pick(&[0, 400, 1_000, 1_000, 3_000]) * MILLI;
        self.downtime = random.pick(&[20, 200, 1_000, 3_000]) * MILLI;
        self.crash_of_all = random.pick(&[0, 0, 200]);
        self.crash_unnoticed = random.pick(&[0, 100, 500]);
        self.false_death_every = random.pick(&[0, 0, 0, 500, 2_000]) * MILLI;
        self.wiped_disks = random.pick(&[0, 0, 200, 600]);
        self.pause_every = random.pick(&[0, 0, 800, 2_000]) * MILLI;
        self.pause_length = random.pick(&[100, 600, 1_500, 4_000]) * MILLI;
        self.persist = random.pick(&[(50, 200), (100, 2_000), (500, 20_000)]);
        self.persist_stalls = random.pick(&[0, 0, 10]);
        self.clock_skew_ms = random.pick(&[0, 50, 5_000, 3_600_000]);
        self.clock_step_every = random.pick(&[0, 0, 500, 2_000]) * MILLI;
    }

    fn draw_disks(&mut self, random: &mut Random) {
        self.fsync_errors = random.pick(&[0, 0, 0, 1, 5]);
        self.read_errors = random.pick(&[0, 0, 20, 200]);
        self.full_disk_every = random.pick(&[0, 0, 0, 1_000, 3_000]) * MILLI;
        self.full_disk_length = random.pick(&[100, 1_000, 3_000]) * MILLI;
        self.torn_ledgers = random.pick(&[0, 0, 200, 500]);
        self.bit_rot_every = random.pick(&[0, 0, 0, 300, 2_000]) * MILLI;
        self.verified_at_start = random.pick(&[0, 5, 50, 4_096]);
    }

    fn draw_views(&mut self, random: &mut Random) {
        self.stuck_views = random.pick(&[0, 0, 0, 0, 0, 500, 950, 1_000]);
        if self.stuck_views > 0 {
            self.limits.unprojected_keys = random.pick(&[8, 64, 512]);
        }
    }

    fn draw_rare_faults(&mut self, random: &mut Random) {
        self.held_back = random.pick(&[0, 0, 0, 10, 50]);
        self.sessions_without_end = random.pick(&[0, 0, 0, 300]);
        self.restored_epochs = random.pick(&[0, 0, 0, 50, 300]);
        self.missed_watches = random.pick(&[0, 0, 100, 500]);
        self.lost_publications = random.pick(&[0, 0, 100, 500]);
        self.twin_after = random.pick(&[0, 0, 0, 0, 0, 500, 2_000]) * MILLI;
        if self.twin_after > 0 {
            // A promise names an epoch and a node. Two processes with one node id can get the same epoch only if
            // ZooKeeper is also restored from a backup; no majority can distinguish them then.
            self.restored_epochs = 0;
            self.zookeeper_wipes = 0;
        }
        self.restored_ledgers = random.pick(&[0, 0, 300]);
        self.hung_disk_every = random.pick(&[0, 0, 0, 1_000, 3_000]) * MILLI;
        self.hung_disk_length = random.pick(&[2_000, 10_000, 60_000]) * MILLI;
    }

    fn draw_zookeeper(&mut self, random: &mut Random) {
        self.session_timeout = random.pick(&[500, 1_000, 2_000, 4_000]) * MILLI;
        self.zookeeper_delay = random.pick(&[(300, 1_000), (300, 5_000), (1_000, 80_000)]);
        self.zookeeper_outage_every = random.pick(&[0, 0, 1_000, 3_000]) * MILLI;
        self.zookeeper_outage_length = random.pick(&[300, 1_000, 3_000]) * MILLI;
        self.late_expiry = random.pick(&[0, 0, 300]);
        self.wrong_expiry_every = random.pick(&[0, 0, 500, 2_000]) * MILLI;
        self.ambiguous_epochs = random.pick(&[0, 50, 300]);
        self.zookeeper_wipes = random.pick(&[0, 0, 0, 0, 100]);
    }

    fn draw_clients(&mut self, random: &mut Random) {
        self.clients = random.pick(&[1, 2, 4, 6]);
        self.accounts = random.pick(&[2, 4, 12]);
        self.think = random.pick(&[5, 20, 60]) * MILLI;
        self.key_reuse = random.pick(&[0, 0, 50, 300]);
        self.retries = random.pick(&[300, 800, 1_000]);
        self.reads = random.pick(&[0, 200, 500]);
        self.client_timeout = random.pick(&[100, 500, 2_000]) * MILLI;
        self.transfer_every = random.pick(&[0, 0, 0, 1_000]) * MILLI;
    }

    /// The same run after all faults have ended.
    pub(crate) fn healed(&self) -> Self {
        let mut healed = Self::calm(self.seed, self.nodes);
        healed.tick = self.tick;
        healed.limits = self.limits;
        healed.session_timeout = self.session_timeout;
        healed.safety_phase = self.safety_phase;
        healed.lazy_poll = self.lazy_poll;
        healed.verified_at_start = self.verified_at_start;
        healed.clients = self.clients;
        healed.accounts = self.accounts;
        healed.retries = 1_000;
        healed.lasting = self.lasting;
        healed.upgrade_every = self.upgrade_every;
        healed
    }
}
