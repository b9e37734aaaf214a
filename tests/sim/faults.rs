//! The faults of a run: crashes, pauses, partitions, clocks, ZooKeeper outages, wiped disks; and their end, after which
//! the cluster must settle.

use quorapay_core::engine::Input;

use super::knobs::{Knobs, SECOND};
use super::network::Links;
use super::world::{World, WorldEvent};

/// A fault, or the end of one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Crash,
    Pause,
    Resume { node: usize, life: u64 },
    Partition,
    Mend,
    FalseDeath,
    ClockStep,
    ZooKeeperOutage,
    ZooKeeperBack,
    WrongExpiry,
    Transfer,
    Twin,
    BitRot,
    FullDisk,
    DiskFreed(usize),
    HungDisk,
    DiskResponds(usize),
    NewProgram,
}

impl World {
    pub(crate) fn start_faults(&mut self) {
        let kinds = [
            Fault::Crash,
            Fault::Pause,
            Fault::Partition,
            Fault::FalseDeath,
            Fault::ClockStep,
            Fault::ZooKeeperOutage,
            Fault::WrongExpiry,
            Fault::Transfer,
            Fault::Twin,
            Fault::BitRot,
            Fault::FullDisk,
            Fault::HungDisk,
            Fault::NewProgram,
        ];
        kinds.into_iter().for_each(|kind| self.schedule_next_fault(kind));
    }

    fn schedule_next_fault(&mut self, kind: Fault) {
        let every = match kind {
            Fault::Crash => self.knobs.crash_every,
            Fault::Pause => self.knobs.pause_every,
            Fault::Partition => self.knobs.partition_every,
            Fault::FalseDeath => self.knobs.false_death_every,
            Fault::ClockStep => self.knobs.clock_step_every,
            Fault::ZooKeeperOutage => self.knobs.zookeeper_outage_every,
            Fault::WrongExpiry => self.knobs.wrong_expiry_every,
            Fault::Transfer => self.knobs.transfer_every,
            Fault::Twin => self.knobs.twin_after,
            Fault::BitRot => self.knobs.bit_rot_every,
            Fault::FullDisk => self.knobs.full_disk_every,
            Fault::HungDisk => self.knobs.hung_disk_every,
            Fault::NewProgram => self.knobs.upgrade_every,
            Fault::Resume { .. }
            | Fault::Mend
            | Fault::ZooKeeperBack
            | Fault::DiskFreed(_)
            | Fault::DiskResponds(_) => 0,
        };
        if every > 0 {
            let delay = self.random.between(every / 10, every * 2);
            self.schedule(delay, WorldEvent::Fault(kind));
        }
    }

    fn any_node(&mut self) -> usize {
        self.random.index(self.nodes.len())
    }

    /// A fault begins or ends.
    pub(crate) fn inject(&mut self, fault: Fault) {
        if self.healed {
            return;
        }
        self.trace.show("fault", &fault);
        match fault {
            Fault::Crash => self.crash_some(),
            Fault::Pause => self.pause_some(),
            Fault::Resume { node, life } if self.life(node) == Some(life) => self.resume(node),
            Fault::Resume { .. } => {}
            Fault::Partition => self.partition(),
            Fault::Mend => self.links.mend(),
            Fault::FalseDeath => self.report_false_death(),
            Fault::ClockStep => {
                let node = self.any_node();
                self.met.insert("clock step");
                let ahead_ms = self.random.between(0, 2 * self.knobs.clock_skew_ms);
                self.nodes[node].set_clock(ahead_ms);
            }
            Fault::ZooKeeperOutage => self.zookeeper_outage(),
            Fault::ZooKeeperBack => self.zookeeper_back(),
            Fault::WrongExpiry => {
                let node = self.any_node();
                self.zookeeper.expire(node);
                self.fire_watches();
                self.met.insert("session ended wrongly");
            }
            Fault::Transfer => {
                let (node, successor) = (self.any_node(), self.any_node());
                let named = self.random.chance(500).then(|| self.nodes[successor].id.clone());
                self.feed(node, Input::Transfer(named));
            }
            Fault::Twin => self.start_twin(),
            Fault::BitRot => {
                let node = self.any_node();
                if self.rot_ledger(node) {
                    self.met.insert("bit rot");
                }
            }
            Fault::FullDisk => self.fill_disk(),
            Fault::DiskFreed(node) => self.nodes[node].disk.full = false,
            Fault::HungDisk => self.hang_some_disk(),
            Fault::DiskResponds(node) => self.disk_responds(node),
            Fault::NewProgram => self.replace_some_program(),
        }
        self.schedule_next_fault(fault);
    }

    fn crash_some(&mut self) {
        if self.random.chance(self.knobs.crash_of_all) {
            self.met.insert("all crash");
            let power_cut = self.random.chance(400);
            for node in 0..self.nodes.len() {
                if power_cut {
                    self.cut_power(node);
                } else {
                    self.crash(node);
                }
                self.restart_later(node);
            }
            return;
        }
        let node = self.any_node();
        if self.nodes[node].process.is_some() {
            if self.random.chance(200) {
                self.cut_power(node);
            } else {
                self.crash(node);
            }
            self.met.insert("crash");
            if self.random.chance(self.knobs.wiped_disks) && self.wipe_disk(node) {
                self.met.insert("wiped disk");
            } else if self.random.chance(self.knobs.torn_ledgers) && self.tear_ledger(node) {
                self.met.insert("torn ledger");
            } else if self.random.chance(self.knobs.restored_ledgers) && self.restore_older_ledger(node) {
                self.met.insert("older ledger restored");
            }
            self.restart_later(node);
        }
    }

    pub(crate) fn restart_later(&mut self, node: usize) {
        let delay = self.random.between(self.knobs.downtime / 10, self.knobs.downtime);
        self.restart_after(delay, node);
    }

    /// Starts the next process of a node after a while. If something else starts one earlier, that is all.
    pub(crate) fn restart_after(&mut self, delay: u64, node: usize) {
        let starts = self.nodes[node].starts;
        self.schedule(delay, WorldEvent::Restart { node, starts });
    }

    /// Ends a process. Of the writes in flight, any number of the first ones may have become durable, and some more may
    /// have been written and not synced.
    pub(crate) fn crash(&mut self, node: usize) {
        let Some(mut process) = self.nodes[node].process.take() else { return };
        self.trace.note(self.now, node, "crash", [process.life, 0]);
        let synced = self.random.index(process.writes.len() + 1);
        let written = synced + self.random.index(process.writes.len() - synced + 1);
        for (number, write) in process.writes.drain(..).take(written).enumerate() {
            if number < synced {
                self.make_durable(node, &write);
            } else {
                self.nodes[node].disk.write_unsynced(&write, false);
            }
        }
        if !self.nodes[node].host_down {
            self.notice_death(node);
        }
    }

    /// Ends a process with its whole machine: nobody is told, and what was not synced is lost.
    pub(crate) fn cut_power(&mut self, node: usize) {
        self.nodes[node].host_down = true;
        self.crash(node);
        self.nodes[node].disk.cut_power();
        self.met.insert("power cut");
    }

    pub(crate) fn restart(&mut self, node: usize) {
        let ended_twin = self.healed && node >= self.knobs.nodes;
        let host = &self.nodes[node];
        if host.process.is_none() && !host.disk_hangs && !ended_twin {
            self.start(node);
        }
    }

    fn pause_some(&mut self) {
        self.met.insert("pause");
        let node = self.any_node();
        let length = self.random.between(self.knobs.pause_length / 10, self.knobs.pause_length);
        self.pause(node);
        if let Some(life) = self.life(node) {
            self.schedule(length, WorldEvent::Fault(Fault::Resume { node, life }));
        }
    }

    /// Stops a process without ending it.
    pub(crate) fn pause(&mut self, node: usize) {
        if let Some(process) = &mut self.nodes[node].process {
            process.paused = true;
        }
        self.trace.note(self.now, node, "pause", [0, 0]);
    }

    /// Resumes a paused process: it processes everything that arrived meanwhile.
    pub(crate) fn resume(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if !std::mem::replace(&mut process.paused, false) {
            return;
        }
        self.trace.note(self.now, node, "resume", [0, 0]);
        let arrived = std::mem::take(&mut process.inbox);
        for input in arrived {
            self.feed(node, input);
        }
        self.feed(node, Input::Replication(quorapay_core::replication::Event::Tick));
    }

    fn partition(&mut self) {
        let length = self.random.between(self.knobs.partition_length / 10, self.knobs.partition_length);
        self.schedule(length, WorldEvent::Fault(Fault::Mend));
        let one_way = self.random.chance(self.knobs.one_way);
        let (inside, direction) = (self.any_node(), self.random.chance(500));
        let second = self.any_node();
        let closed = one_way && self.random.chance(300);
        self.met.insert(match (closed, one_way) {
            (true, _) => "connections refused one way",
            (false, true) => "one-way partition",
            (false, false) => "partition",
        });
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                let crosses = (from == inside || from == second) != (to == inside || to == second);
                if !crosses || (one_way && (from == inside) != direction) {
                    continue;
                }
                if closed { self.links.close(from, to) } else { self.links.cut(from, to) }
            }
        }
        if self.random.chance(300) {
            self.zookeeper_reachable[inside] = false;
            self.schedule(length, WorldEvent::Fault(Fault::ZooKeeperBack));
        }
    }

    fn fill_disk(&mut self) {
        let node = self.any_node();
        self.nodes[node].disk.full = true;
        let length = self.random.between(self.knobs.full_disk_length / 10, self.knobs.full_disk_length);
        self.schedule(length, WorldEvent::Fault(Fault::DiskFreed(node)));
    }

    fn report_false_death(&mut self) {
        let (node, suspect) = (self.any_node(), self.any_node());
        if node != suspect {
            self.met.insert("false death");
            self.report_death(node, suspect);
        }
    }

    fn zookeeper_outage(&mut self) {
        let length = self.random.between(self.knobs.zookeeper_outage_length / 10, self.knobs.zookeeper_outage_length);
        if self.random.chance(400) {
            let node = self.any_node();
            self.zookeeper_reachable[node] = false;
            self.met.insert("ZooKeeper away for one");
        } else {
            self.zookeeper.up = false;
            self.met.insert("ZooKeeper away");
            if self.random.chance(self.knobs.zookeeper_wipes) {
                self.met.insert("ZooKeeper wiped");
                self.zookeeper.wipe();
            }
        }
        self.schedule(length, WorldEvent::Fault(Fault::ZooKeeperBack));
    }

    pub(crate) fn zookeeper_back(&mut self) {
        self.zookeeper.up = true;
        self.zookeeper_reachable.iter_mut().for_each(|reachable| *reachable = true);
        self.zookeeper.renew_sessions(self.now);
    }

    /// Ends all faults at once.
    pub(crate) fn heal(&mut self) {
        self.trace.note(self.now, 0, "heal", [0, 0]);
        self.healed = true;
        self.knobs = Knobs::healed(&self.knobs);
        self.links = Links::all_connected(self.nodes.len() + 1);
        self.zookeeper_back();
        self.end_twin();
        for node in 0..self.knobs.nodes {
            self.nodes[node].disk.full = false;
            self.disk_responds(node);
            self.restart(node);
            self.resume(node);
        }
        self.clients_settle();
    }

    /// Runs until the cluster has settled, which it must within this virtual time.
    pub(crate) fn settle(&mut self, within: u64) {
        let end = self.now + within;
        while let Some(reason) = self.unsettled() {
            assert!(self.now < end, "not settled {} s after everything healed: {reason}", within / SECOND);
            self.run_until(self.now + SECOND / 10);
        }
        self.check_end_state();
    }

    /// Why the cluster has not settled, if so: it needs one leader, equal logs, stores that vote, and answered clients.
    fn unsettled(&self) -> Option<String> {
        if let Some(waiting) = self.clients.unfinished() {
            return Some(waiting);
        }
        if let [alone] = self.members()
            && !alone.process.as_ref().is_some_and(|process| process.engine.replica().is_open())
        {
            return Some(format!("{} does not lead", alone.id));
        }
        if let Some(contested) = self.oracle.contested_leadership(self.now, self.members()) {
            return Some(contested);
        }
        let first = self.nodes[0].disk.position(self.nodes[0].disk.last_index());
        for node in self.members() {
            let last = node.disk.position(node.disk.last_index());
            let applied = node.process.as_ref().map(|process| process.applied);
            if last != first || applied != Some(node.disk.last_index()) {
                let (id, end) = (&node.id, node.disk.last_index());
                return Some(format!("{id} ends at {end} and has applied {applied:?}; the first ends at {first:?}"));
            }
        }
        if let (Some(leader), named) = (self.oracle.leader(self.now), self.zookeeper.named_leader())
            && named != Some(leader)
        {
            return Some(format!("ZooKeeper names {named:?} as the leader, and {leader} leads"));
        }
        let lost = self.stores_lost();
        (lost > 0).then(|| format!("{lost} stores are damaged or do not vote"))
    }
}
