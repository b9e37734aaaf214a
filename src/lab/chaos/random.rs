//! The only source of chance in a plan: SplitMix64 (Steele, Lea, Flood 2014), seeded by the run's seed. It is written out
//! here so that a seed draws the same faults for ever, whatever a library does to its generators.

/// A deterministic generator.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(super) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True this many times out of a thousand.
    pub(super) const fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1_000 < per_mille
    }

    /// A place in a list of this length, which is not zero.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).expect("lists are shorter than 2^64");
        usize::try_from(self.next() % bound).expect("below a usize")
    }

    /// Brings a list into a random order (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let other = self.index(end + 1);
            list.swap(end, other);
        }
    }
}
