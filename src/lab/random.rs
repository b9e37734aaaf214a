//! SplitMix64 (Steele, Lea, Flood 2014), the one seeded generator of the laboratory.
//!
//! It is written out here so that a seed gives the same faults and the same load whatever version of a library is used.

/// A deterministic generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator for one of several streams of the same seed.
    #[must_use]
    pub const fn of_stream(seed: u64, stream: u32) -> Self {
        /// An odd constant, so that different streams start far apart.
        const STREAM_FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;
        let salt = Self(seed).next();
        Self(salt ^ (stream as u64).wrapping_mul(STREAM_FACTOR))
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        let value = mix(self.0);
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        value
    }

    /// A number below `bound`, which is not zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True with a probability of `per_mille` / 1,000.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// An index into a list of this length, which is not zero.
    pub fn index(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).expect("lists are shorter than 2^64");
        usize::try_from(self.below(bound)).expect("below a usize")
    }

    /// Shuffles a list (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let other = self.index(end + 1);
            list.swap(end, other);
        }
    }
}

/// The increment of SplitMix64's state: 2^64 divided by the golden ratio.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// One step of SplitMix64 from a given state. Maps consecutive numbers to values without a visible pattern.
pub const fn mix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(GOLDEN_GAMMA);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
