//! What this node knows of all nodes' clocks: how far each is off the time that a majority shows, and whose is false.
//!
//! Every node measures every other one by the messages that flow anyway and, if none do, by a probe each second. A clock is
//! right while it is at most [`CLOCK_TOLERANCE_MS`] off the true time. The intervals in which the true time then lies are
//! intersected; a clock whose interval has no point in what a majority of the voters agrees on is a falseticker.
//!
//! Only wall clocks are compared, never corrected ones: a corrected clock follows others, and a majority of such clocks
//! could follow one that is wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::config::{CLOCK_JUDGED_AFTER_MS, CLOCK_PROBE_MS, CLOCK_TOLERANCE_MS};
use super::effect::RequestId;
use super::message::ClockTimes;
use super::types::{NodeId, Now};
use crate::domain::Timestamp;
use crate::planted::{Bug, planted};
use crate::time::{ClockWindow, CorrectedClock, Estimate, Exchange, Interval, Sample, agreement, median};

/// Requests to one node whose responses can still become samples: an append, a heartbeat beside it, and a probe.
const MAX_ASKED: usize = 4;
/// The own clock is noted this often, for its drift.
const OWN_SAMPLE_US: u64 = 1_000_000;
const TOLERANCE_US: i64 = CLOCK_TOLERANCE_MS * US_PER_MS;
const US_PER_MS: i64 = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ClusterClock {
    peers: BTreeMap<NodeId, Peer>,
    own: ClockWindow,
    /// Clocks that the current judgement does not fit: since when they are judged otherwise.
    in_doubt_since_ms: BTreeMap<NodeId, u64>,
    falsetickers: BTreeSet<NodeId>,
    agreed: Option<Agreed>,
    corrected: CorrectedClock,
}

/// One other node's clock.
#[derive(Debug, Default)]
struct Peer {
    window: ClockWindow,
    /// Requests without a response yet, with the time at which they were sent, oldest first.
    asked: VecDeque<(RequestId, u64)>,
    probed_ms: Option<u64>,
}

/// What a majority of the clocks agreed on, as an offset from the monotonic clock here.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    at_us: u64,
    /// The true time lies in it while a majority of the clocks is right.
    interval: Interval,
    /// The middle of the clocks that are right.
    offset_us: i64,
}

/// What a node knows of one clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockView {
    /// Whose clock it is.
    pub node: NodeId,
    /// How far it is ahead of the time that a majority shows, in microseconds; `None` while no majority agrees.
    pub offset_us: Option<i64>,
    /// How far the offset can be from the true one: the delay and age of the samples, and the width of the agreement.
    pub error_us: Option<i64>,
    /// How much faster than the others it runs, in parts per billion; `None` until that is known.
    pub drift_ppb: Option<i64>,
    /// Whether it is judged false.
    pub falseticker: bool,
}

/// The time that a majority of clocks shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterTime {
    /// This node's corrected clock, which follows it and never goes back.
    pub corrected: Timestamp,
    /// How far the true time can be from the corrected clock, in milliseconds, rounded up, while a majority of the clocks
    /// is right.
    pub error_ms: u64,
}

/// The voters, by whose majority clocks are judged.
pub(super) struct Electorate<'a> {
    pub(super) own: &'a NodeId,
    pub(super) voters: BTreeSet<&'a NodeId>,
    pub(super) quorum: usize,
}

/// Samples.
impl ClusterClock {
    /// A request was sent whose response tells the receiver's clock.
    pub(super) fn asked(&mut self, now: Now, node: &NodeId, id: RequestId) {
        let peer = match self.peers.get_mut(node) {
            Some(peer) => peer,
            None => self.peers.entry(node.clone()).or_default(),
        };
        if peer.asked.len() >= MAX_ASKED {
            peer.asked.pop_front();
        }
        peer.asked.push_back((id, now.reading.monotonic_us));
    }

    /// The response to a request has arrived. A response that comes twice counts once.
    pub(super) fn heard(&mut self, now: Now, node: &NodeId, id: RequestId, clock: ClockTimes) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        let Some(place) = peer.asked.iter().position(|(asked, _)| *asked == id) else { return };
        let Some((_, sent_us)) = peer.asked.remove(place) else { return };
        let ClockTimes { received_us, held_us } = clock;
        let exchange = Exchange { sent_us, received_us, held_us, answered_us: now.reading.monotonic_us };
        if let Some(sample) = exchange.sample() {
            peer.window.add(sample);
        }
    }

    /// Those of the other nodes that are due for a probe, because no message has told their clock lately. Forgets nodes that
    /// are gone.
    pub(super) fn take_due_probes(&mut self, now: Now, others: Vec<NodeId>) -> Vec<NodeId> {
        self.peers.retain(|node, _| others.contains(node));
        let is_due = |moment_ms: u64| now.monotonic_ms >= moment_ms + CLOCK_PROBE_MS;
        let mut due = others;
        due.retain(|node| {
            let peer = self.peers.entry(node.clone()).or_default();
            let is_due =
                peer.probed_ms.is_none_or(is_due) && peer.window.newest_us().is_none_or(|us| is_due(us / 1_000));
            if is_due {
                peer.probed_ms = Some(now.monotonic_ms);
            }
            is_due
        });
        due
    }
}

/// Judgement.
impl ClusterClock {
    /// Determines what a majority agrees on now, sets the corrected clock's course, and judges every clock. A judgement
    /// changes once a clock has been judged otherwise all the time for [`CLOCK_JUDGED_AFTER_MS`]; it stands while no majority
    /// agrees.
    pub(super) fn judge(&mut self, now: Now, electorate: &Electorate<'_>) {
        let at_us = now.reading.monotonic_us;
        if self.own.newest_us().is_none_or(|newest_us| at_us >= newest_us + OWN_SAMPLE_US) {
            self.own.add(Sample { at_us, offset_us: now.reading.offset_us(), error_us: 0 });
        }
        let clocks = self.estimates(now, electorate.own);
        self.agreed = agreed(at_us, &clocks, electorate);
        let target_us = self.agreed.map(|agreed| agreed.time_us(at_us));
        self.corrected.follow(at_us, target_us);
        let Some(Agreed { interval, .. }) = self.agreed else { return self.in_doubt_since_ms.clear() };
        for (node, estimate) in &clocks {
            let differs = !shown_by(estimate).meets(&interval);
            self.judge_one(now, node, differs);
        }
        let is_known = |node: &NodeId| clocks.iter().any(|(known, _)| known == node);
        self.in_doubt_since_ms.retain(|node, _| is_known(node));
        self.falsetickers.retain(|node| node == electorate.own || self.peers.contains_key(node));
    }

    fn judge_one(&mut self, now: Now, node: &NodeId, differs: bool) {
        if differs == self.falsetickers.contains(node) {
            self.in_doubt_since_ms.remove(node);
            return;
        }
        let since_ms = *self.in_doubt_since_ms.entry(node.clone()).or_insert(now.monotonic_ms);
        if now.monotonic_ms < since_ms + CLOCK_JUDGED_AFTER_MS {
            return;
        }
        self.in_doubt_since_ms.remove(node);
        if differs {
            self.falsetickers.insert(node.clone());
        } else {
            self.falsetickers.remove(node);
        }
    }

    /// All clocks of which something is known, this node's own among them.
    fn estimates(&self, now: Now, own: &NodeId) -> Vec<(NodeId, Estimate)> {
        let at_us = now.reading.monotonic_us;
        let drift_ppb = self.own.estimate(at_us).and_then(|estimate| estimate.drift_ppb);
        let mine = Estimate { offset_us: now.reading.offset_us(), error_us: 0, drift_ppb };
        let known = |(node, peer): (&NodeId, &Peer)| Some((node.clone(), peer.window.estimate(at_us)?));
        self.peers.iter().filter_map(known).chain([(own.clone(), mine)]).collect()
    }

    /// The clocks that are judged false.
    pub(super) const fn falsetickers(&self) -> &BTreeSet<NodeId> {
        &self.falsetickers
    }
}

/// What is shown.
impl ClusterClock {
    /// How far the true time can be from this moment of the ledger, in milliseconds, rounded up; `None` while no majority
    /// agrees.
    pub(super) fn error_of_ms(&self, now: Now, timestamp: Timestamp) -> Option<u64> {
        let us = i64::try_from(timestamp.0).unwrap_or(i64::MAX).saturating_mul(US_PER_MS);
        // A stamp is in whole milliseconds: the moment lies up to one later.
        self.agreed.map(|agreed| agreed.error_ms(now.reading.monotonic_us, us))
    }

    /// The corrected clock, while a majority agrees.
    pub(super) fn time(&self, now: Now) -> Option<ClusterTime> {
        let at_us = now.reading.monotonic_us;
        let (agreed, corrected_us) = (self.agreed?, self.corrected.shows_us(at_us)?);
        let corrected = Timestamp(u64::try_from(corrected_us / US_PER_MS).unwrap_or(0));
        Some(ClusterTime { corrected, error_ms: agreed.error_ms(at_us, corrected_us) })
    }

    /// Every known clock, by node.
    pub(super) fn views(&self, now: Now, own: &NodeId) -> Vec<ClockView> {
        let clocks = self.estimates(now, own);
        let is_right = |node: &NodeId| !self.falsetickers.contains(node);
        let drifts = clocks.iter().filter(|(node, _)| is_right(node)).filter_map(|(_, clock)| clock.drift_ppb);
        let usual_ppb = median(drifts.collect());
        let view = |(node, clock): (NodeId, Estimate)| ClockView {
            offset_us: self.agreed.map(|agreed| clock.offset_us.saturating_sub(agreed.offset_us)),
            error_us: self.agreed.map(|agreed| clock.error_us.saturating_add(agreed.half_width_us())),
            drift_ppb: clock.drift_ppb.zip(usual_ppb).map(|(drift, usual)| drift.saturating_sub(usual)),
            falseticker: self.falsetickers.contains(&node),
            node,
        };
        let mut views: Vec<ClockView> = clocks.into_iter().map(view).collect();
        views.sort_unstable_by(|one, other| one.node.cmp(&other.node));
        views
    }
}

impl Agreed {
    const fn time_us(&self, monotonic_us: u64) -> i64 {
        self.offset_us.saturating_add_unsigned(monotonic_us)
    }

    const fn half_width_us(&self) -> i64 {
        self.interval.high_us.saturating_sub(self.offset_us)
    }

    /// How far the true time can be from this moment.
    fn error_ms(&self, monotonic_us: u64, moment_us: i64) -> u64 {
        let Interval { low_us, high_us } = self.interval.after(monotonic_us.saturating_sub(self.at_us));
        let before_us = moment_us.saturating_sub(low_us.saturating_add_unsigned(monotonic_us));
        let after_us = high_us.saturating_add_unsigned(monotonic_us).saturating_sub(moment_us);
        u64::try_from(before_us.max(after_us)).unwrap_or(0).div_ceil(US_PER_MS.unsigned_abs())
    }
}

/// Where the true time is if this clock is right.
fn shown_by(clock: &Estimate) -> Interval {
    let error_us = if planted(Bug::ClockErrorIgnored) { 0 } else { clock.error_us };
    Interval::around(clock.offset_us, error_us.saturating_add(TOLERANCE_US))
}

fn agreed(at_us: u64, clocks: &[(NodeId, Estimate)], electorate: &Electorate<'_>) -> Option<Agreed> {
    let of_voters = || clocks.iter().filter(|(node, _)| electorate.voters.contains(node)).map(|(_, clock)| clock);
    let intervals: Vec<Interval> = of_voters().map(shown_by).collect();
    let interval = agreement(&intervals, electorate.quorum)?;
    let right = of_voters().filter(|clock| shown_by(clock).meets(&interval)).map(|clock| clock.offset_us);
    let offset_us = median(right.collect())?.clamp(interval.low_us, interval.high_us);
    Some(Agreed { at_us, interval, offset_us })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::sample::node;
    use crate::time::Reading;

    const HOUR_MS: i64 = 3_600_000;
    /// The true time at which a run begins.
    const START_US: u64 = 1_700_000_000_000_000;

    /// Node 1, and how far the clocks of all are off, in milliseconds.
    struct Cluster {
        ids: Vec<NodeId>,
        off_ms: Vec<i64>,
        clock: ClusterClock,
        elapsed_ms: u64,
        requests: u64,
    }

    impl Cluster {
        fn of(off_ms: &[i64]) -> Self {
            let ids = (1..=off_ms.len()).map(|number| node(&format!("node{number}"))).collect();
            let clock = ClusterClock::default();
            Self { ids, off_ms: off_ms.to_vec(), clock, elapsed_ms: 1_000, requests: 0 }
        }

        fn wall_us(&self, of: usize) -> u64 {
            (START_US + self.elapsed_ms * 1_000).saturating_add_signed(self.off_ms[of] * 1_000)
        }

        fn now(&self) -> Now {
            Now::of(Reading { monotonic_us: self.elapsed_ms * 1_000, wall_us: self.wall_us(0) })
        }

        /// Runs for this long with a tick each 10 ms. Probes to the nodes that answer take a millisecond.
        fn run(&mut self, ms: u64, answer: &[usize]) {
            let end_ms = self.elapsed_ms + ms;
            while self.elapsed_ms < end_ms {
                for to in self.clock.take_due_probes(self.now(), self.ids[1..].to_vec()) {
                    self.requests += 1;
                    let id = RequestId(self.requests);
                    self.clock.asked(self.now(), &to, id);
                    let at = self.ids.iter().position(|id| *id == to).expect("a node");
                    if answer.contains(&at) {
                        let received_us = self.wall_us(at) + 500;
                        self.elapsed_ms += 1;
                        self.clock.heard(self.now(), &to, id, ClockTimes { received_us, held_us: 0 });
                    }
                }
                let electorate =
                    Electorate { own: &self.ids[0], voters: self.ids.iter().collect(), quorum: self.ids.len() / 2 + 1 };
                self.clock.judge(self.now(), &electorate);
                self.elapsed_ms += 10;
            }
        }

        fn falsetickers(&self) -> Vec<&str> {
            self.clock.falsetickers().iter().map(NodeId::as_str).collect()
        }

        fn assert_time_is_bounded(&self) {
            let time = self.clock.time(self.now()).expect("a majority agrees");
            let true_ms = START_US / 1_000 + self.elapsed_ms;
            assert!(time.corrected.0.abs_diff(true_ms) <= time.error_ms, "{time:?} at {true_ms}");
        }
    }

    #[test]
    fn one_false_clock_is_named_the_own_one_too_and_is_right_again_once_it_is_set() {
        for wrong in 0..3 {
            for off_ms in [HOUR_MS, -24 * HOUR_MS, 151] {
                let mut cluster = Cluster::of(&[0, 4, -3]);
                cluster.run(5_000, &[1, 2]);
                assert_eq!(cluster.falsetickers(), [""; 0]);
                cluster.assert_time_is_bounded();
                cluster.off_ms[wrong] = off_ms;
                cluster.run(1_500, &[1, 2]);
                assert_eq!(cluster.falsetickers(), [""; 0], "not at once");
                cluster.run(4_000, &[1, 2]);
                assert_eq!(cluster.falsetickers(), [format!("node{}", wrong + 1)], "{off_ms}");
                cluster.assert_time_is_bounded();
                let view = &cluster.clock.views(cluster.now(), &cluster.ids[0])[wrong];
                let (offset_us, error_us) = view.offset_us.zip(view.error_us).expect("a majority agrees");
                assert!((offset_us - off_ms * 1_000).abs() <= error_us && error_us < 60_000, "{view:?}");
                cluster.off_ms[wrong] = 1;
                cluster.run(5_000, &[1, 2]);
                assert_eq!(cluster.falsetickers(), [""; 0], "it was set right");
            }
        }
    }

    #[test]
    fn clocks_that_all_differ_are_not_judged_and_show_no_time() {
        let mut cluster = Cluster::of(&[0, HOUR_MS, -HOUR_MS]);
        cluster.run(20_000, &[1, 2]);
        assert_eq!(cluster.falsetickers(), [""; 0]);
        assert_eq!(cluster.clock.time(cluster.now()), None);
        assert_eq!(cluster.clock.error_of_ms(cluster.now(), Timestamp(0)), None);
    }

    #[test]
    fn a_judgement_stands_while_no_majority_is_heard() {
        let mut cluster = Cluster::of(&[0, HOUR_MS, 0]);
        cluster.run(10_000, &[1, 2]);
        assert_eq!(cluster.falsetickers(), ["node2"]);
        cluster.run(60_000, &[1]);
        assert_eq!(cluster.falsetickers(), ["node2"], "node1 alone is no majority");
        cluster.off_ms[1] = 0;
        cluster.run(10_000, &[1]);
        assert_eq!(cluster.falsetickers(), [""; 0]);
    }

    #[test]
    fn two_of_five_clocks_may_be_false() {
        let mut cluster = Cluster::of(&[40, -40, 0, 500, 500]);
        cluster.run(10_000, &[1, 2, 3, 4]);
        assert_eq!(cluster.falsetickers(), ["node4", "node5"]);
        cluster.assert_time_is_bounded();
    }

    #[test]
    fn the_error_of_a_stamp_covers_how_far_it_is_from_the_true_time() {
        let mut cluster = Cluster::of(&[0, 0, 0]);
        cluster.run(5_000, &[1, 2]);
        let true_ms = START_US / 1_000 + cluster.elapsed_ms;
        for (behind_ms, at_least, at_most) in [(0, 50, 55), (3, 53, 58), (7_000, 7_050, 7_055)] {
            let error = cluster.clock.error_of_ms(cluster.now(), Timestamp(true_ms - behind_ms)).expect("they agree");
            assert!((at_least..=at_most).contains(&error), "{error} ms for a stamp {behind_ms} ms behind");
        }
    }

    #[test]
    fn a_node_is_probed_once_a_second_while_no_message_tells_its_clock() {
        let mut cluster = Cluster::of(&[0, 0, 0]);
        cluster.run(60_000, &[1]);
        assert!((110..=122).contains(&cluster.requests), "{} probes of two nodes in a minute", cluster.requests);
        let asked = cluster.clock.peers.values().map(|peer| peer.asked.len()).max();
        assert_eq!(asked, Some(MAX_ASKED), "a node that does not answer costs no more memory");
    }

    #[test]
    #[ignore = "measures; docs/TIME.md says how"]
    fn measure_what_an_exchange_costs() {
        const EXCHANGES: u64 = 2_000_000;
        let (mut cluster, peer) = (Cluster::of(&[0, 0, 0]), node("node2"));
        let began = std::time::Instant::now();
        for number in 0..EXCHANGES {
            // Ten thousand appends a second.
            cluster.elapsed_ms += number % 10 / 9;
            let (now, id) = (cluster.now(), RequestId(number));
            cluster.clock.asked(now, &peer, id);
            cluster.clock.heard(now, &peer, id, ClockTimes { received_us: now.reading.wall_us, held_us: 0 });
        }
        println!("{} ns for each append and its response", began.elapsed().as_nanos() / u128::from(EXCHANGES));
    }
}
