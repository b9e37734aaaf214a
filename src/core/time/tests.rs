//! Estimates against a known truth: virtual clocks that are skewed, drift, are set, or lie.

use proptest::prelude::*;

use super::*;

const SECOND_US: u64 = 1_000_000;
/// The true time at which a run begins.
const START_US: u64 = 1_700_000_000 * SECOND_US;
const DAY_US: i64 = 86_400 * MILLION;
/// How far a clock may be off that counts as right.
const TOLERANCE_US: i64 = 50_000;

/// A clock of the truth's world.
#[derive(Clone, Copy, Debug)]
struct Virtual {
    skew_us: i64,
    drift_ppm: i64,
}

impl Virtual {
    /// What it shows when this much true time has passed since the start.
    fn shows_us(&self, elapsed_us: u64) -> u64 {
        let elapsed = i128::from(elapsed_us);
        let shown = i128::from(START_US) + elapsed + elapsed * i128::from(self.drift_ppm) / 1_000_000;
        u64::try_from(shown + i128::from(self.skew_us)).expect("after 1970")
    }

    /// How far it is ahead of a monotonic clock that began with the run.
    fn offset_us(&self, own: &Monotonic, elapsed_us: u64) -> i64 {
        difference_us(self.shows_us(elapsed_us), own.shows_us(elapsed_us))
    }
}

/// The monotonic clock of the node that measures.
#[derive(Clone, Copy, Debug)]
struct Monotonic {
    drift_ppm: i64,
}

impl Monotonic {
    fn shows_us(&self, elapsed_us: u64) -> u64 {
        let elapsed = i128::from(elapsed_us);
        u64::try_from(elapsed + elapsed * i128::from(self.drift_ppm) / 1_000_000).expect("it runs forwards")
    }
}

/// How long a message takes there, stays, and takes back.
#[derive(Clone, Copy, Debug)]
struct Way {
    there_us: u64,
    held_us: u64,
    back_us: u64,
}

fn exchange(own: Monotonic, other: Virtual, begun_us: u64, way: Way) -> Exchange {
    let arrived_us = begun_us + way.there_us;
    let left_us = arrived_us + way.held_us;
    Exchange {
        sent_us: own.shows_us(begun_us),
        received_us: other.shows_us(arrived_us),
        held_us: other.shows_us(left_us) - other.shows_us(arrived_us),
        answered_us: own.shows_us(left_us + way.back_us),
    }
}

/// Measures a clock once a second and checks the bound half a second after each sample.
fn measured(own: Monotonic, other: Virtual, ways: &[Way]) -> ClockWindow {
    let mut window = ClockWindow::default();
    for (second, way) in (0_u64..).zip(ways) {
        let begun_us = second * SECOND_US;
        let sample = exchange(own, other, begun_us, *way).sample().expect("consistent times");
        window.add(sample);
        let later_us = begun_us + way.there_us + way.held_us + way.back_us + SECOND_US / 2;
        let estimate = window.estimate(own.shows_us(later_us)).expect("there is a sample");
        let wrong_by = estimate.offset_us.abs_diff(other.offset_us(&own, later_us));
        assert!(wrong_by <= estimate.error_us.unsigned_abs(), "wrong by {wrong_by} us: {estimate:?}");
    }
    window
}

fn skews() -> impl Strategy<Value = i64> {
    let size = prop_oneof![1_000..20_000_i64, 20_000..10 * MILLION, 10 * MILLION..DAY_US];
    (size, any::<bool>()).prop_map(|(size, ahead)| if ahead { size } else { -size })
}

fn drifts() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), 5..=500_i64, -500..=-5_i64]
}

/// Ways with delays of 0.1 to 50 ms that differ in both directions.
fn ways() -> impl Strategy<Value = Vec<Way>> {
    let way = (100..50_000_u64, 0..5_000_u64, 100..50_000_u64);
    prop::collection::vec(way.prop_map(|(there_us, held_us, back_us)| Way { there_us, held_us, back_us }), 1..60)
}

const QUICK: Way = Way { there_us: 200, held_us: 50, back_us: 200 };

proptest! {
    #[test]
    fn the_true_offset_lies_within_the_error_bound_whatever_the_delays_skew_and_drift(
        skew_us in skews(), drift_ppm in drifts(), own_drift_ppm in drifts(), ways in ways(),
    ) {
        measured(Monotonic { drift_ppm: own_drift_ppm }, Virtual { skew_us, drift_ppm }, &ways);
    }

    #[test]
    fn with_symmetric_delays_the_estimate_is_right_to_a_millisecond(
        skew_us in skews(), drift_ppm in drifts(), delay_us in 100..50_000_u64,
    ) {
        let (own, other) = (Monotonic { drift_ppm: 0 }, Virtual { skew_us, drift_ppm });
        let way = Way { there_us: delay_us, held_us: 10, back_us: delay_us };
        let window = measured(own, other, &[way; 40]);
        let now_us = 40 * SECOND_US;
        let estimate = window.estimate(now_us).expect("there are samples");
        prop_assert!(estimate.offset_us.abs_diff(other.offset_us(&own, now_us)) <= 1_000, "{:?}", estimate);
    }

    #[test]
    fn drift_is_known_to_ten_parts_per_million_after_half_a_minute(
        skew_us in skews(), drift_ppm in drifts(), own_drift_ppm in drifts(),
        jitter in prop::collection::vec((0..100_u64, 0..100_u64), 40),
    ) {
        let (own, other) = (Monotonic { drift_ppm: own_drift_ppm }, Virtual { skew_us, drift_ppm });
        let way = |(there, back): (u64, u64)| Way { there_us: 200 + there, held_us: 50, back_us: 200 + back };
        let ways: Vec<Way> = jitter.into_iter().map(way).collect();
        let window = measured(own, other, &ways);
        let drift_ppb = window.estimate(own.shows_us(40 * SECOND_US)).and_then(|e| e.drift_ppb).expect("enough samples");
        let true_ppb = (drift_ppm - own_drift_ppm) * 1_000;
        prop_assert!(drift_ppb.abs_diff(true_ppb) <= 10_000, "{} against {}", drift_ppb, true_ppb);
    }

    #[test]
    fn a_clock_that_is_set_is_measured_anew_by_its_second_sample_and_bounded_again(
        before_us in skews(), after_us in skews(), drift_ppm in drifts(), ways in ways(),
    ) {
        let own = Monotonic { drift_ppm: 0 };
        let mut window = measured(own, Virtual { skew_us: before_us, drift_ppm }, &ways);
        let set = Virtual { skew_us: after_us, drift_ppm };
        let first_us = u64::try_from(ways.len()).expect("few") * SECOND_US;
        for begun_us in [first_us, first_us + SECOND_US] {
            window.add(exchange(own, set, begun_us, QUICK).sample().expect("consistent times"));
        }
        let now_us = first_us + 2 * SECOND_US;
        let estimate = window.estimate(now_us).expect("there are samples");
        let wrong_by = estimate.offset_us.abs_diff(set.offset_us(&own, now_us));
        prop_assert!(wrong_by <= estimate.error_us.unsigned_abs(), "wrong by {} us: {:?}", wrong_by, estimate);
    }

    #[test]
    fn the_true_time_lies_in_the_agreement_while_a_majority_of_clocks_is_right(
        right in prop::collection::vec((-TOLERANCE_US..=TOLERANCE_US, 0..20_000_i64, -1_000..=1_000_i64), 3),
        liars in prop::collection::vec(skews(), 0..=2),
    ) {
        // An error of the measurement is within its own bound.
        let honest = right.iter().map(|(off_us, error_us, wrong)| {
            Interval::around(off_us + error_us * wrong / 1_000, TOLERANCE_US + error_us)
        });
        let lies = liars.iter().map(|skew_us| Interval::around(*skew_us, TOLERANCE_US));
        let all: Vec<Interval> = honest.chain(lies).collect();
        let agreed = agreement(&all, all.len() / 2 + 1).expect("a majority is right");
        prop_assert!(agreed.low_us <= 0 && 0 <= agreed.high_us, "{:?}", agreed);
        for lie in liars.iter().filter(|lie| lie.abs() > 4 * TOLERANCE_US + 40_000) {
            prop_assert!(!Interval::around(*lie, TOLERANCE_US).meets(&agreed), "{} passes for right", lie);
        }
    }

    #[test]
    fn an_agreement_is_what_a_search_of_all_points_finds(
        ends in prop::collection::vec((-20..20_i64, 0..20_i64), 0..7), quorum in 1..5_usize,
    ) {
        let intervals: Vec<Interval> =
            ends.iter().map(|(low, width)| Interval { low_us: *low, high_us: low + width }).collect();
        let holds = |point: &i64| {
            intervals.iter().filter(|i| i.low_us <= *point && *point <= i.high_us).count() >= quorum
        };
        let points: Vec<i64> = (-20..60).filter(holds).collect();
        let searched = points.first().zip(points.last()).map(|(low, high)| Interval { low_us: *low, high_us: *high });
        prop_assert_eq!(agreement(&intervals, quorum), searched);
    }

    #[test]
    fn a_corrected_clock_never_goes_back_whatever_it_follows(
        targets in prop::collection::vec((1..2_000_000_u64, prop::option::of(-DAY_US..DAY_US)), 1..60),
    ) {
        let (mut clock, mut now_us, mut shown_us) = (CorrectedClock::default(), 0, i64::MIN);
        for (after_us, off_us) in targets {
            now_us += after_us;
            let truth = |now_us: u64| difference_us(START_US + now_us, 0);
            for probed_us in [now_us - after_us, now_us - after_us / 2, now_us] {
                let shows_us = clock.shows_us(probed_us).unwrap_or(i64::MIN);
                prop_assert!(shows_us >= shown_us, "it went back from {} to {}", shown_us, shows_us);
                shown_us = shows_us;
            }
            clock.follow(now_us, off_us.map(|off_us| truth(now_us) + off_us));
            prop_assert!(clock.shows_us(now_us).is_none_or(|shows_us| shows_us >= shown_us));
        }
    }
}

#[test]
fn one_wrong_sample_is_dropped() {
    let (own, other) = (Monotonic { drift_ppm: 0 }, Virtual { skew_us: 2_000, drift_ppm: 20 });
    let mut window = measured(own, other, &[QUICK; 10]);
    let before = window.estimate(10 * SECOND_US).expect("there are samples");
    let liar = Virtual { skew_us: 9_000_000, drift_ppm: 0 };
    window.add(exchange(own, liar, 10 * SECOND_US, QUICK).sample().expect("consistent times"));
    assert_eq!(window.estimate(10 * SECOND_US), Some(before));
    window.add(exchange(own, other, 11 * SECOND_US, QUICK).sample().expect("consistent times"));
    let after = window.estimate(12 * SECOND_US).expect("there are samples");
    assert!(after.offset_us.abs_diff(2_000 + START_US.cast_signed()) < 1_000, "{after:?}");
}

#[test]
fn a_clock_that_runs_as_no_clock_does_is_followed_all_the_same() {
    let mut window = ClockWindow::default();
    let (own, runaway) = (Monotonic { drift_ppm: 0 }, Virtual { skew_us: 0, drift_ppm: 200_000 });
    for second in 0..60 {
        window.add(exchange(own, runaway, second * SECOND_US, QUICK).sample().expect("consistent times"));
        let now_us = second * SECOND_US + SECOND_US / 2;
        let wrong_by = window.estimate(now_us).map(|e| e.offset_us.abs_diff(runaway.offset_us(&own, now_us)));
        assert!(wrong_by.is_some_and(|wrong_by| wrong_by <= 3 * 200_000), "{wrong_by:?} us after {second} s");
    }
}

#[test]
fn nothing_is_known_of_a_clock_that_was_not_heard_for_long() {
    let (own, other) = (Monotonic { drift_ppm: 0 }, Virtual { skew_us: 0, drift_ppm: 0 });
    let window = measured(own, other, &[QUICK; 3]);
    assert!(window.estimate(30 * SECOND_US).is_some());
    assert_eq!(window.estimate(33 * SECOND_US), None);
}

#[test]
fn times_that_contradict_each_other_and_forged_ones_are_harmless() {
    let honest = Exchange { sent_us: 100, received_us: START_US, held_us: 10, answered_us: 500 };
    assert!(honest.sample().is_some());
    assert_eq!(Exchange { held_us: 1_000, ..honest }.sample(), None, "it stayed longer than the exchange took");
    assert_eq!(Exchange { answered_us: 50, ..honest }.sample(), None);
    for received_us in [0, u64::MAX] {
        let forged = Exchange { received_us, ..honest }.sample().expect("nothing contradicts it");
        let mut window = ClockWindow::default();
        window.add(forged);
        let estimate = window.estimate(1_000).expect("there is a sample");
        assert!(agreement(&[Interval::around(estimate.offset_us, i64::MAX)], 1).is_some());
        let mut clock = CorrectedClock::default();
        clock.follow(1_000, Some(estimate.offset_us));
        clock.follow(2_000, Some(-estimate.offset_us));
        assert!(clock.shows_us(u64::MAX).is_some());
    }
}

#[test]
fn a_clock_behind_jumps_and_a_clock_ahead_is_slowed_down() {
    let mut clock = CorrectedClock::default();
    assert_eq!(clock.shows_us(0), None, "no majority has agreed yet");
    clock.follow(0, Some(1_000_000));
    clock.follow(10, Some(5_000_000));
    assert_eq!(clock.shows_us(10), Some(5_000_000), "it jumps");
    clock.follow(20, Some(5_000_010 - 40_000));
    assert_eq!(clock.shows_us(20 + 1_000_000), Some(5_000_010 + 990_000), "it loses 10 ms a second");
    clock.follow(2_000_020, Some(6_980_010 + 500));
    assert_eq!(clock.shows_us(2_100_020), Some(6_980_010 + 100_500), "500 us are made up for in 100 ms");
}

/// How wrong an estimate is, and its bound, right before the next sample: the moment at which both are worst. The printed
/// table is in docs/TIME.md.
#[test]
fn asking_once_a_second_bounds_the_error_of_a_steady_clock_to_two_milliseconds() {
    println!(
        "| asked every | drift | wrong by, mean | wrong by, worst | bound, mean | bound, worst | exchanges an hour |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut bounds_us = Vec::new();
    for drift_ppm in [20, 500] {
        for interval_us in [10_000, 100_000, SECOND_US, 5 * SECOND_US, 15 * SECOND_US] {
            let (wrong, bound) = asked_every(interval_us, drift_ppm);
            let mean = |values: &[u64]| values.iter().sum::<u64>() / u64::try_from(values.len()).expect("some");
            let worst = |values: &[u64]| values.iter().copied().max().expect("some");
            println!(
                "| {} ms | {drift_ppm} ppm | {} us | {} us | {} us | {} us | {} |",
                interval_us / 1_000,
                mean(&wrong),
                worst(&wrong),
                mean(&bound),
                worst(&bound),
                3_600 * SECOND_US / interval_us
            );
            assert!(wrong.iter().zip(&bound).all(|(wrong, bound)| wrong <= bound));
            if interval_us == SECOND_US {
                bounds_us.push(mean(&bound));
            }
        }
    }
    assert!(bounds_us.iter().all(|mean| *mean <= 2_000), "{bounds_us:?}");
}

/// For ten minutes: ways of 0.1 to 0.3 ms in each direction, one message in ten up to 5 ms longer.
fn asked_every(interval_us: u64, drift_ppm: i64) -> (Vec<u64>, Vec<u64>) {
    let (own, other) = (Monotonic { drift_ppm: 0 }, Virtual { skew_us: 250_000, drift_ppm });
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % limit
    };
    let mut delay = || 100 + below(200) + if below(10) == 0 { below(5_000) } else { 0 };
    let (mut window, mut wrong, mut bound) = (ClockWindow::default(), Vec::new(), Vec::new());
    for round in 0..600 * SECOND_US / interval_us {
        let begun_us = round * interval_us;
        let way = Way { there_us: delay(), held_us: 20, back_us: delay() };
        window.add(exchange(own, other, begun_us, way).sample().expect("consistent times"));
        let later_us = begun_us + interval_us.max(way.there_us + way.back_us + 20);
        let estimate = window.estimate(own.shows_us(later_us)).expect("there is a sample");
        wrong.push(estimate.offset_us.abs_diff(other.offset_us(&own, later_us)));
        bound.push(estimate.error_us.unsigned_abs());
    }
    (wrong, bound)
}

#[test]
fn of_many_samples_at_once_the_best_one_of_a_second_is_kept_and_few_are_looked_at() {
    let (own, other) = (Monotonic { drift_ppm: 0 }, Virtual { skew_us: 7_000, drift_ppm: 0 });
    let mut window = ClockWindow::default();
    for begun_us in (SECOND_US..2 * SECOND_US).step_by(100) {
        let slow = if begun_us == SECOND_US + SECOND_US / 2 { 0 } else { 3_000 };
        let way = Way { there_us: 200 + slow, held_us: 0, back_us: 200 };
        window.add(exchange(own, other, begun_us, way).sample().expect("consistent times"));
    }
    let estimate = window.estimate(2 * SECOND_US).expect("there are samples");
    assert!(estimate.error_us >= 200 && estimate.error_us < 2_500, "{estimate:?}");
    let error_us = estimate.offset_us.abs_diff(other.offset_us(&own, 2 * SECOND_US));
    assert!(error_us <= estimate.error_us.unsigned_abs());
    let newest_us = window.newest_us();
    window.add(exchange(own, other, 2 * SECOND_US - 90, QUICK).sample().expect("consistent times"));
    assert_eq!(window.newest_us(), newest_us, "it is hardly newer");
}
