//! Faults that last: while one lasts, every node that the protocol says can serve must answer each payment and each
//! linearizable read within a bound. So a cluster gets over a fault by itself, and not because it has ended. A client that
//! is refused or hears nothing repeats its request at the same node, and the time runs on; its pauses do not count.

use quorapay_core::engine::Input;

use super::SETTLING_TIME;
use super::knobs::{MILLI, SECOND};
use super::network::Requester;
use super::node::Node;
use super::service::Kind;
use super::world::World;

/// The bound for faults that need no election: nobody waits for the faulty node. A request takes a few milliseconds; one
/// that is refused because a look-up failed is repeated within 40.
const UNDISTURBED: u64 = SECOND / 4;
/// The bound if the leader is gone: 0.4 s until the others notice that it is silent, elections that the gone node takes
/// part in as the queue's first, and an attempt in flight. Payments must wait for no ZooKeeper session (up to 4 s).
const FAILOVER: u64 = 1_600 * MILLI;
/// The bound if the leader is gone and the next in the queue cannot be reached: it leaves its turn to others first.
const NEXT_UNREACHED: u64 = 1_600 * MILLI;
/// The bound if the link between the leader and some nodes is broken, in either direction: it leads on until that is
/// known for 1.1 s. The rest is for a transfer, for a second one if the successor loses its election, and the attempts in
/// flight.
const UNREACHED: u64 = 2_600 * MILLI;
/// The bound if the leader's disk hangs: a write hangs when it takes 2 s. Then a follower that has everything leads.
const HUNG: u64 = 2_600 * MILLI;
/// A damaged node votes again after this time: the scrubber needs two rounds of a second or less to find the damage, the
/// node asks once a second whether the others serve, and then copies the ledger.
const REPAIRED: u64 = 6 * SECOND;
/// A fault stays for its bound, the time in which every node is asked again, and one of these times, so that some runs see
/// what happens later too.
const STAYS: [u64; 6] = [SECOND / 2, SECOND / 2, SECOND / 2, SECOND / 2, SECOND / 2, 4 * SECOND];
/// A false clock is known to all after this time, and another node leads: two probes a second apart, two seconds of doubt,
/// and what lost messages and a transfer take.
const JUDGED: u64 = 10 * SECOND;
/// How far a false clock is ahead.
const FALSE_BY_MS: [u64; 3] = [500, 60_000, 86_400_000];
/// The clients' pause and patience meanwhile.
const THINK: u64 = 100 * MILLI;
const PATIENCE: u64 = SECOND / 4;
/// A client asks again this long after it had an answer, and after it had the answer to its request of the other kind
/// between the two: two pauses, a wait for the last moment of a hold, and an attempt at a node that is gone.
const ASKED_AGAIN: u64 = SECOND;
/// The fault begins while payments are on their way, at most this long after the clients have started.
const LOAD_BEFORE: u64 = 200 * MILLI;
/// How often the bound is checked.
const CHECK_EVERY: u64 = 50 * MILLI;
/// The longest time between two deaths in a row: the second one hits the election, or the new leader at work.
const BETWEEN_DEATHS: u64 = SECOND;

/// One run in so many ends with a fault that lasts.
const RUNS_PER_FAULT: u64 = 8;

/// A fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastingFault {
    LeaderDead,
    /// Its machine is down: connections to it time out.
    LeaderMachineDown,
    FollowerDead,
    /// In a cluster of five the leader dies, and then another node, often the next leader.
    TwoDead,
    LeaderDiskHangs,
    FollowerDiskHangs,
    LeaderDiskFull,
    FollowerDiskFull,
    /// Messages from the leader to one follower are lost.
    FollowerHearsNothing,
    /// Messages from one follower to the leader are lost.
    FollowerUnheard,
    /// One follower cannot open connections to the leader.
    FollowerCannotConnect,
    /// The leader cannot open connections to one follower.
    LeaderCannotConnect,
    /// No other node can open connections to the leader.
    LeaderClosedOff,
    /// One follower cannot open connections to the leader, and the nodes that all can reach have no ZooKeeper.
    LinkedWithoutZooKeeper,
    /// In a cluster of five no other node can open connections to the next in the queue, and then the leader dies.
    LeaderDeadNextClosedOff,
    /// A row of its ledger is rotten: it begins again by itself.
    LeaderDamaged,
    FollowerDamaged,
    ZooKeeperAway,
    ZooKeeperAwayForLeader,
    ZooKeeperAwayForFollower,
    /// All clocks are right but the leader's.
    LeaderClockFalse,
}

/// What a fault that lasts leaves.
struct Remains {
    /// Nodes that need not serve.
    unable: Vec<usize>,
    /// How long each other node may leave a payment or a read without an answer.
    bound: u64,
    /// A node that must not lead.
    shunned: Option<usize>,
}

/// What is required while a fault lasts.
struct Service {
    fault: LastingFault,
    /// The nodes that must serve.
    able: Vec<usize>,
    /// How long each of them may leave a payment or a read without an answer.
    bound: u64,
    /// A node that must not lead.
    shunned: Option<usize>,
    /// The requests that waited for responses before. While one still does, its response was lost in a network that has been
    /// mended since, which a connection would report at once: the time of the bound begins when the last of them has timed out.
    earlier: Vec<Requester>,
}

impl LastingFault {
    const OF_ONE: [Self; 2] = [Self::ZooKeeperAway, Self::ZooKeeperAwayForLeader];
    const OF_FIVE: [Self; 2] = [Self::TwoDead, Self::LeaderDeadNextClosedOff];
    const OF_THREE: [Self; 19] = [
        Self::LeaderDead,
        Self::LeaderMachineDown,
        Self::FollowerDead,
        Self::LeaderDiskHangs,
        Self::FollowerDiskHangs,
        Self::LeaderDiskFull,
        Self::FollowerDiskFull,
        Self::FollowerHearsNothing,
        Self::FollowerUnheard,
        Self::FollowerCannotConnect,
        Self::LeaderCannotConnect,
        Self::LeaderClosedOff,
        Self::LinkedWithoutZooKeeper,
        Self::LeaderDamaged,
        Self::FollowerDamaged,
        Self::ZooKeeperAway,
        Self::ZooKeeperAwayForLeader,
        Self::ZooKeeperAwayForFollower,
        Self::LeaderClockFalse,
    ];

    /// The fault that a run ends with, if it is one of those that do. They take turns.
    pub(crate) fn of_run(seed: u64, nodes: usize) -> Option<Self> {
        let turn = seed.is_multiple_of(RUNS_PER_FAULT).then_some(seed / RUNS_PER_FAULT)?;
        let turn = usize::try_from(turn).expect("seeds are small");
        Some(match nodes {
            1 => Self::OF_ONE[turn % Self::OF_ONE.len()],
            5 if turn.is_multiple_of(3) => Self::OF_FIVE[turn / 3 % Self::OF_FIVE.len()],
            _ => Self::OF_THREE[turn % Self::OF_THREE.len()],
        })
    }

    /// What the simulation calls it among the faults that it has met.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::LeaderDead | Self::LeaderMachineDown | Self::FollowerDead => "lasting death",
            Self::TwoDead => "lasting deaths of two",
            Self::LeaderDiskHangs | Self::FollowerDiskHangs => "lasting hung disk",
            Self::LeaderDiskFull | Self::FollowerDiskFull => "lasting full disk",
            Self::FollowerHearsNothing | Self::FollowerUnheard => "lasting one-way cut",
            Self::FollowerCannotConnect | Self::LeaderCannotConnect => "lasting refusal of connections",
            Self::LeaderDamaged | Self::FollowerDamaged => "lasting damage",
            Self::LeaderClosedOff => "lasting closure of the leader",
            Self::LinkedWithoutZooKeeper => "lasting refusal of connections without ZooKeeper",
            Self::LeaderDeadNextClosedOff => "lasting death and closure of the next",
            Self::ZooKeeperAway => "lasting outage of ZooKeeper",
            Self::LeaderClockFalse => "lasting false clock",
            Self::ZooKeeperAwayForLeader | Self::ZooKeeperAwayForFollower => "lasting outage of ZooKeeper for one",
        }
    }
}

impl World {
    /// From now on no other node can open connections to this one.
    pub(crate) fn close_to_others(&mut self, node: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.links.close(other, node);
        }
    }

    /// In a cluster that has settled, begins a fault that stays, and checks that the others serve meanwhile.
    pub(crate) fn endure(&mut self, fault: LastingFault) {
        let leader = if self.knobs.nodes == 1 { Some(0) } else { self.oracle.leader(self.now) };
        let leader = leader.expect("a cluster that has settled has a leader");
        // Once two processes have had one node's id, the run destroys no more disks.
        let is_damage = matches!(fault, LastingFault::LeaderDamaged | LastingFault::FollowerDamaged);
        let fault = if is_damage && self.nodes.len() > self.knobs.nodes { LastingFault::FollowerDead } else { fault };
        self.trace.show("lasting", &fault);
        self.met.insert(fault.name());
        let earlier = self.open_requests();
        let calm = self.knobs.clone();
        (self.knobs.think, self.knobs.client_timeout) = (THINK, PATIENCE);
        self.clients_work_at(&(0..self.knobs.nodes).collect::<Vec<_>>());
        let load = self.random.below(LOAD_BEFORE);
        self.run_until(self.now + load);
        let Remains { unable, bound, shunned } = self.begin_lasting(fault, leader);
        let able: Vec<usize> = (0..self.knobs.nodes).filter(|node| !unable.contains(node)).collect();
        self.clients_work_at(&able);
        match fault {
            LastingFault::LeaderDamaged | LastingFault::FollowerDamaged => {
                self.require_repair(&Service { fault, able, bound, shunned: None, earlier }, unable[0]);
            }
            LastingFault::LeaderClockFalse => {
                self.require_true_leader(&Service { fault, able, bound, shunned, earlier }, leader);
            }
            _ => self.require_service(&Service { fault, able, bound, shunned, earlier }),
        }
        self.knobs = calm;
        self.end_lasting();
        self.settle(SETTLING_TIME);
    }

    fn begin_lasting(&mut self, fault: LastingFault, leader: usize) -> Remains {
        use LastingFault as F;
        let nodes = self.knobs.nodes;
        let follower = (leader + 1 + self.random.index(nodes.max(2) - 1)) % nodes;
        self.strike(fault, leader, follower);
        if nodes == 1 {
            // Nobody can take over.
            self.feed(leader, Input::Transfer(None));
        }
        let all_but = |unable: Vec<usize>, bound| Remains { unable, bound, shunned: None };
        let without = |node: usize, bound| all_but(vec![node], bound);
        match fault {
            F::LeaderDead | F::LeaderMachineDown | F::LeaderDiskFull | F::LeaderDamaged => without(leader, FAILOVER),
            F::LeaderDiskHangs => without(leader, HUNG),
            F::LeaderClosedOff => without(leader, UNREACHED),
            F::TwoDead => all_but(vec![leader, self.kill_next_leader(leader, follower)], FAILOVER),
            F::FollowerDead
            | F::FollowerDiskHangs
            | F::FollowerDiskFull
            | F::LinkedWithoutZooKeeper
            | F::FollowerDamaged => without(follower, UNDISTURBED),
            F::LeaderDeadNextClosedOff => {
                let next = self.close_next(leader);
                Remains { shunned: Some(next), ..all_but(vec![leader, next], NEXT_UNREACHED) }
            }
            // The leadership moves to a node that has links with all, and never to the follower.
            F::FollowerHearsNothing | F::FollowerUnheard => {
                Remains { shunned: Some(follower), ..all_but(Vec::new(), UNREACHED) }
            }
            F::FollowerCannotConnect | F::LeaderCannotConnect => all_but(Vec::new(), UNREACHED),
            F::LeaderClockFalse => all_but(Vec::new(), FAILOVER),
            F::ZooKeeperAway | F::ZooKeeperAwayForLeader | F::ZooKeeperAwayForFollower => {
                all_but(Vec::new(), UNDISTURBED)
            }
        }
    }

    fn strike(&mut self, fault: LastingFault, leader: usize, follower: usize) {
        match fault {
            LastingFault::LeaderDead | LastingFault::TwoDead => self.crash(leader),
            LastingFault::LeaderMachineDown => self.cut_power(leader),
            LastingFault::FollowerDead => self.crash(follower),
            LastingFault::LeaderDiskHangs => self.hang_disk(leader),
            LastingFault::FollowerDiskHangs => self.hang_disk(follower),
            LastingFault::LeaderDiskFull => self.nodes[leader].disk.full = true,
            LastingFault::FollowerDiskFull => self.nodes[follower].disk.full = true,
            LastingFault::FollowerHearsNothing => self.links.cut(leader, follower),
            LastingFault::FollowerUnheard => self.links.cut(follower, leader),
            LastingFault::FollowerCannotConnect => self.links.close(follower, leader),
            LastingFault::LeaderCannotConnect => self.links.close(leader, follower),
            LastingFault::LeaderClosedOff => self.close_to_others(leader),
            LastingFault::LinkedWithoutZooKeeper => self.close_without_zookeeper(leader, follower),
            // The leader dies once the others know that they cannot reach the next.
            LastingFault::LeaderDeadNextClosedOff => {}
            LastingFault::LeaderDamaged => self.damage(leader),
            LastingFault::FollowerDamaged => self.damage(follower),
            LastingFault::LeaderClockFalse => self.set_false(leader),
            LastingFault::ZooKeeperAway => self.zookeeper.up = false,
            LastingFault::ZooKeeperAwayForLeader => self.zookeeper_reachable[leader] = false,
            LastingFault::ZooKeeperAwayForFollower => self.zookeeper_reachable[follower] = false,
        }
    }

    /// Only the leader and this follower keep ZooKeeper. Once the others know that they have lost it, the follower cannot
    /// open connections to the leader any more.
    fn close_without_zookeeper(&mut self, leader: usize, follower: usize) {
        for node in (0..self.knobs.nodes).filter(|node| ![leader, follower].contains(node)) {
            self.zookeeper_reachable[node] = false;
        }
        self.run_until(self.now + self.knobs.session_timeout);
        self.links.close(follower, leader);
    }

    /// All clocks are set right. Once every node knows it, the leader's is set wrong.
    fn set_false(&mut self, leader: usize) {
        let right = self.knobs.clock_skew_ms;
        self.nodes.iter_mut().for_each(|node| node.set_clock(right));
        self.run_until(self.now + JUDGED);
        let wrong = self.random.pick(&FALSE_BY_MS);
        self.nodes[leader].set_clock(right + wrong);
    }

    /// The others serve, and in time a node leads whose clock is right.
    fn require_true_leader(&mut self, service: &Service, wrong: usize) {
        let began = self.now;
        self.require_service(service);
        let Service { fault, able, bound, .. } = service;
        self.run_until(self.now.max(began + JUDGED));
        let end = self.now + SECOND;
        while self.now < end {
            self.run_until(self.now + CHECK_EVERY);
            assert_ne!(self.oracle.leader(self.now), Some(wrong), "{fault:?}: its clock is false, and it leads");
            able.iter().for_each(|node| self.check_answers(*fault, *node, began, *bound));
        }
    }

    /// No other node can open connections to the next in the queue, and once they know it the leader dies.
    fn close_next(&mut self, leader: usize) -> usize {
        let next =
            self.zookeeper.queue().find(|node| *node != leader).expect("a cluster that has settled is in the queue");
        self.close_to_others(next);
        self.run_until(self.now + SECOND);
        self.crash(leader);
        next
    }

    /// A moment after the leader's death, kills the node that leads then; if none does, any other one.
    fn kill_next_leader(&mut self, dead: usize, other: usize) -> usize {
        let pause = self.random.below(BETWEEN_DEATHS);
        self.run_until(self.now + pause);
        let next = self.oracle.leader(self.now).filter(|leader| *leader != dead).unwrap_or(other);
        self.crash(next);
        next
    }

    /// Damages a node that has not repaired itself for an hour.
    fn damage(&mut self, node: usize) {
        self.forget_repair(node);
        assert!(self.rot_ledger(node), "a cluster that has settled tolerates a loss");
    }

    /// The damaged node must find the damage and vote with a new store in time, and the others serve meanwhile.
    fn require_repair(&mut self, service: &Service, damaged: usize) {
        let (began, store) = (self.now, self.nodes[damaged].disk.store_id);
        self.require_service(service);
        let fault = service.fault;
        let votes_anew = |world: &Self| {
            let Node { id, disk, .. } = &world.nodes[damaged];
            disk.store_id != store && world.oracle.votes(id, disk.store_id)
        };
        while !votes_anew(self) {
            assert!(self.now < began + REPAIRED, "{fault:?}: node{} has not begun again", damaged + 1);
            self.run_until(self.now + CHECK_EVERY);
        }
    }

    fn require_service(&mut self, service: &Service) {
        let Service { fault, able, bound, shunned, earlier } = service;
        let mut began = self.now;
        let mut end = began + bound + ASKED_AGAIN + self.random.pick(&STAYS);
        if self.zookeeper_reachable.contains(&false) {
            // The node's session ends, and with it its place in the queue.
            end = end.max(began + self.knobs.session_timeout + SECOND);
        }
        while self.now < end {
            self.run_until(self.now + CHECK_EVERY);
            let led_by = self.oracle.leader(self.now);
            assert!(led_by.is_none() || led_by != *shunned, "{fault:?}: a node leads that others do not reach");
            if earlier.iter().any(|requester| self.is_open(*requester)) {
                began = self.now;
            }
            able.iter().for_each(|node| self.check_answers(*fault, *node, began, *bound));
        }
    }

    /// What this node is asked it answers in time, and it is asked all the time.
    fn check_answers(&self, fault: LastingFault, node: usize, began: u64, bound: u64) {
        let (served, id) = (self.clients.served(node), &self.nodes[node].id);
        let kinds = [("payment", Kind::Write, served.write), ("linearizable read", Kind::Read, served.read)];
        for (what, kind, answered) in kinds {
            if let Some(since) = self.clients.asking_since(node, kind) {
                let waited = self.now - since.max(began);
                assert!(waited <= bound, "{fault:?}: {id} has not answered a {what} for {} ms", waited / MILLI);
            } else {
                let unasked = self.now - answered.max(began);
                let limit = bound + ASKED_AGAIN;
                assert!(unasked <= limit, "{fault:?}: nobody asked {id} for a {what} for {} ms", unasked / MILLI);
            }
        }
    }

    fn end_lasting(&mut self) {
        self.links.mend();
        self.zookeeper_back();
        for node in 0..self.knobs.nodes {
            self.nodes[node].disk.full = false;
            self.disk_responds(node);
            self.restart(node);
        }
        self.clients_settle();
    }
}
