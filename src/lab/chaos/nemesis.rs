//! Draws faults from the seed. Pure: it decides, others act.
//!
//! Kinds are drawn like cards from a shuffled deck, so that each comes up once before any comes up again. Which process a
//! fault hits is decided later, when it is known which node leads.

use std::time::Duration;

use super::kind::FaultKind;
use crate::random::Random;

/// In how many of a thousand rounds there are two faults at once.
const TWO_AT_ONCE_PER_MILLE: u64 = 200;

/// Minimum and maximum duration of a fault, unless its kind needs a certain duration.
const DURATION_MS: (u64, u64) = (1_200, 3_000);
/// Minimum and maximum pause between two rounds: long enough for clients to make payments without faults.
const PAUSE_MS: (u64, u64) = (400, 1_000);

/// The first turn is below this: more than any kind has forms, so that short runs with consecutive seeds have all of them.
const MAX_FIRST_TURN: u64 = 1_000;

/// A fault whose kind is drawn and whose target is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DrawnFault {
    pub(super) kind: FaultKind,
    /// Seed of every choice that is made when the fault is injected.
    pub(super) seed: u64,
    /// Kinds with several forms take them in turn; the seed decides which one comes first.
    pub(super) turn: usize,
    pub(super) duration: Duration,
}

/// One fault, or two at once, and the pause after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) first: DrawnFault,
    pub(super) second: Option<DrawnFault>,
    pub(super) pause: Duration,
}

/// An endless sequence of faults.
pub(super) struct Nemesis {
    random: Random,
    kinds: Vec<FaultKind>,
    deck: Vec<FaultKind>,
    /// The turn of every kind in this deck.
    turn: usize,
}

impl Nemesis {
    /// Draws from these kinds, at least one.
    pub(super) fn new(seed: u64, kinds: Vec<FaultKind>) -> Self {
        assert!(!kinds.is_empty(), "there is nothing to draw from");
        let first_turn = usize::try_from(seed % MAX_FIRST_TURN).expect("below the bound");
        Self { random: Random::new(seed), kinds, deck: Vec::new(), turn: first_turn }
    }

    pub(super) fn next(&mut self) -> Round {
        let first = self.draw();
        let two = self.random.chance(TWO_AT_ONCE_PER_MILLE) && self.kinds.len() > 1;
        let second = two.then(|| self.draw());
        let pause = Duration::from_millis(self.random.between(PAUSE_MS.0, PAUSE_MS.1));
        Round { first, second, pause }
    }

    fn draw(&mut self) -> DrawnFault {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            self.random.shuffle(&mut self.deck);
            self.turn += 1;
        }
        let kind = self.deck.pop().expect("the deck was just filled");
        let duration = Duration::from_millis(self.random.between(DURATION_MS.0, DURATION_MS.1));
        DrawnFault { kind, seed: self.random.next(), turn: self.turn, duration }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_faults_and_another_does_not() {
        let rounds = |seed| {
            let mut nemesis = Nemesis::new(seed, FaultKind::ALL.to_vec());
            (0..100).map(|_| nemesis.next()).collect::<Vec<_>>()
        };
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
    }

    #[test]
    fn short_runs_with_consecutive_seeds_begin_with_consecutive_turns() {
        let turns = |seed| {
            let mut nemesis = Nemesis::new(seed, vec![FaultKind::PowerLoss]);
            [nemesis.draw().turn, nemesis.draw().turn]
        };
        assert_eq!([turns(1), turns(2)], [[2, 3], [3, 4]]);
    }

    #[test]
    fn every_kind_comes_up_before_any_comes_up_again() {
        let mut nemesis = Nemesis::new(3, FaultKind::ALL.to_vec());
        let dealt: Vec<FaultKind> = (0..FaultKind::ALL.len()).map(|_| nemesis.draw().kind).collect();
        assert_eq!(dealt.into_iter().collect::<BTreeSet<_>>(), FaultKind::ALL.into());
    }
}
