//! A Bloom filter that grows: for nearly every digest that was never inserted it answers "no" without a read from disk.
//! It never answers "no" for one that was.

/// Capacity of the first stage; each further stage has twice the capacity of the one before.
const FIRST_STAGE_CAPACITY: usize = 1 << 16;
/// Rate of false positives of each stage at its capacity.
const FALSE_POSITIVE_RATE: f64 = 0.001;
/// The hash seed: fixed, because equal histories must behave alike. Callers cannot choose digests.
const SEED: u128 = 0x51_75_6f_72_61_70_61_79;

/// A list of Bloom filters, of which the last one is being filled: a single one would have to know its final size.
#[derive(Debug, Default)]
pub(super) struct BloomFilter {
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    filter: fastbloom::BloomFilter,
    remaining: usize,
    capacity: usize,
}

impl BloomFilter {
    /// Whether the digest may have been inserted.
    pub(super) fn may_contain(&self, digest: &[u8; 16]) -> bool {
        self.stages.iter().any(|stage| stage.filter.contains(digest))
    }

    pub(super) fn insert(&mut self, digest: &[u8; 16]) {
        if self.stages.last().is_none_or(|stage| stage.remaining == 0) {
            let capacity = self.stages.last().map_or(FIRST_STAGE_CAPACITY, |stage| stage.capacity * 2);
            let filter =
                fastbloom::BloomFilter::with_false_pos(FALSE_POSITIVE_RATE).seed(&SEED).expected_items(capacity);
            self.stages.push(Stage { filter, remaining: capacity, capacity });
        }
        let stage = self.stages.last_mut().expect("one was just made if there was none");
        stage.filter.insert(digest);
        stage.remaining -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IdempotencyKey;

    fn digest(n: u64) -> [u8; 16] {
        IdempotencyKey::parse(&n.to_string()).expect("digits are printable").digest().0
    }

    #[test]
    fn it_has_no_false_negatives_and_few_false_positives() {
        let mut filter = BloomFilter::default();
        let inserted = 3 * FIRST_STAGE_CAPACITY as u64;
        (0..inserted).for_each(|n| filter.insert(&digest(n)));
        assert!((0..inserted).all(|n| filter.may_contain(&digest(n))));
        let false_positives = (inserted..inserted + 10_000).filter(|n| filter.may_contain(&digest(*n))).count();
        assert!(false_positives < 100, "{false_positives} of 10,000");
    }
}
