//! A set that may say "maybe" of what it does not hold, in a few bits for each thing that it does: it answers nearly every
//! question about something new without a read. It knows digests, not what they stand for.

use fastbloom::BloomFilter;

/// How many digests the first part is made for; each further part is made for twice as many as the one before.
const FIRST_PART: usize = 1 << 16;
/// Of this share of new digests each part says "maybe".
const FALSE_POSITIVE_RATE: f64 = 0.001;
/// The hash seed: fixed, because equal histories must behave alike. Digests cannot be chosen by a caller.
const SEED: u128 = 0x51_75_6f_72_61_70_61_79;

/// See the module. It grows without being told how large it will be.
#[derive(Debug, Default)]
pub(super) struct Filter {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    bloom: BloomFilter,
    room: usize,
    capacity: usize,
}

impl Filter {
    /// Whether the digest may have been inserted. Never `false` for one that was.
    pub(super) fn may_hold(&self, digest: &[u8; 16]) -> bool {
        self.parts.iter().any(|part| part.bloom.contains(digest))
    }

    /// Notes a digest.
    pub(super) fn insert(&mut self, digest: &[u8; 16]) {
        if self.parts.last().is_none_or(|part| part.room == 0) {
            let capacity = self.parts.last().map_or(FIRST_PART, |part| part.capacity * 2);
            let bloom = BloomFilter::with_false_pos(FALSE_POSITIVE_RATE).seed(&SEED).expected_items(capacity);
            self.parts.push(Part { bloom, room: capacity, capacity });
        }
        let part = self.parts.last_mut().expect("one was just made if there was none");
        part.bloom.insert(digest);
        part.room -= 1;
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
    fn nothing_inserted_is_ever_said_to_be_new_and_few_new_ones_are_said_to_be_known() {
        let mut filter = Filter::default();
        let known = 3 * FIRST_PART as u64;
        (0..known).for_each(|n| filter.insert(&digest(n)));
        assert!((0..known).all(|n| filter.may_hold(&digest(n))));
        let false_alarms = (known..known + 10_000).filter(|n| filter.may_hold(&digest(*n))).count();
        assert!(false_alarms < 100, "{false_alarms} of 10,000");
    }
}
