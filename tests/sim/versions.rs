//! Upgrades and downgrades of programs, one node at a time: the programs know different versions of the bank's rules.

use quorapay_core::domain::RuleVersion;

use super::SETTLING_TIME;
use super::knobs::{MILLI, SECOND};
use super::world::{World, WorldEvent};

/// A leader must have told all nodes within this time which rules they all know: a heartbeat or two, once the appends have
/// timed out that were lost before everything healed. They take up to 2 s, and until then their follower is sent nothing.
const TOLD_WITHIN: u64 = 3 * SECOND;

impl World {
    /// Before the first start: in a run with upgrades some nodes are upgraded already.
    pub(crate) fn install_first_programs(&mut self) {
        if self.knobs.upgrade_every == 0 {
            return;
        }
        for node in 0..self.nodes.len() {
            if self.random.chance(300) {
                self.nodes[node].newest_rules = RuleVersion::TRIAL;
            }
        }
    }

    /// Replaces the program of some node by a newer or an older one.
    pub(crate) fn replace_some_program(&mut self) {
        let node = self.random.index(self.knobs.nodes);
        let newest = if self.random.chance(600) { RuleVersion::TRIAL } else { RuleVersion::FIRST };
        if self.nodes[node].newest_rules == newest {
            return;
        }
        self.met.insert(if newest == RuleVersion::TRIAL { "program upgraded" } else { "program downgraded" });
        self.trace.note(self.now, node, "program replaced", [u64::from(newest.0), 0]);
        self.crash(node);
        self.nodes[node].newest_rules = newest;
        self.restart_later(node);
    }

    /// Ends a node's process, installs a program that knows these rules, and starts it.
    pub(crate) fn install(&mut self, node: usize, newest: RuleVersion) {
        self.crash(node);
        self.nodes[node].newest_rules = newest;
        self.restart(node);
    }

    /// A program refuses to start on a ledger whose rules it does not know. An operator installs a newer one.
    pub(crate) fn refuse_to_start(&mut self, node: usize, rules: RuleVersion) {
        self.met.insert("program too old to start");
        self.upgrade_refused(node, rules);
        self.restart_later(node);
    }

    /// A process ends because it received an entry whose rules it does not know. An operator installs a newer program.
    pub(crate) fn end_outdated(&mut self, node: usize, rules: RuleVersion) {
        self.met.insert("program too old to follow");
        self.upgrade_refused(node, rules);
        if let Some(life) = self.life(node) {
            self.schedule(0, WorldEvent::Exit { node, life });
        }
    }

    fn upgrade_refused(&mut self, node: usize, rules: RuleVersion) {
        self.trace.note(self.now, node, "program too old", [u64::from(rules.0), 0]);
        self.oracle.program_refused(&self.nodes[node], rules);
        self.nodes[node].newest_rules = rules;
    }

    /// In a run with upgrades: upgrades every node of a settled cluster, after which an election must bring the new rules into
    /// force as soon as the leader has told all nodes that all know them. If a late append has taken that back, the next
    /// election does.
    pub(crate) fn complete_the_upgrade(&mut self) {
        if self.knobs.upgrade_every == 0 {
            return;
        }
        for node in 0..self.knobs.nodes {
            if self.nodes[node].newest_rules < RuleVersion::TRIAL {
                self.install(node, RuleVersion::TRIAL);
                self.settle(SETTLING_TIME);
            }
        }
        self.elect_under_common_rules();
        if self.oracle.rules_in_force() != RuleVersion::TRIAL {
            self.elect_under_common_rules();
        }
        self.oracle.check_rules_in_force(RuleVersion::TRIAL);
    }

    /// Lets another node lead once all have been told that all know the new rules.
    fn elect_under_common_rules(&mut self) {
        self.await_common_rules(RuleVersion::TRIAL);
        if self.knobs.nodes > 1 {
            let leader = self.oracle.leader(self.now).expect("a cluster that has settled has a leader");
            self.crash(leader);
            self.run_until(self.now + SECOND);
            self.restart(leader);
        }
        self.settle(SETTLING_TIME);
    }

    fn await_common_rules(&mut self, rules: RuleVersion) {
        let by = self.now + TOLD_WITHIN;
        while let Some(node) = self.members().iter().find(|node| {
            let told = node.process.as_ref().and_then(|process| process.engine.replica().common_rules());
            told != Some(rules)
        }) {
            assert!(self.now < by, "{} has not been told that all nodes know the rules {rules}", node.id);
            self.run_until(self.now + MILLI);
        }
    }
}
