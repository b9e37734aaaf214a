//! The only source of chance of a process: SplitMix64 (Steele, Lea, Flood 2014). It is written out here so that a seed
//! asks the same for ever, whatever a library does to its generators.

/// A deterministic generator.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// A generator of its own for each process of a seed.
    pub(super) fn of_process(seed: u64, process: u32) -> Self {
        let mut chance = Self(seed);
        let salt = chance.next();
        Self(salt ^ u64::from(process).wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An amount from 1 to `most`.
    pub(super) fn amount(&mut self, most: u32) -> i64 {
        i64::try_from(1 + self.below(u64::from(most))).expect("at most a u32")
    }

    /// A place in a list of this length, which is not zero.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).expect("lists are shorter than 2^64");
        usize::try_from(self.below(bound)).expect("below a usize")
    }
}
