//! A binary fuse filter over a sorted range of digests: it answers "no" for nearly every digest that is not in it,
//! without a read from disk, and never "no" for one that is.
//!
//! Built once, stored with the data that it describes, read back as it is. Every key of it has four slots, of which the
//! exclusive or is the key's fingerprint; a fingerprint of `b` bits costs about `1.13 b` bits and errs once in `2^b`.
//! Libraries have fingerprints of whole bytes only, and eight bits are too few for the young ranges and sixteen too many
//! for the old ones (see decision 17).

use std::ops::RangeInclusive;

/// Bits of a fingerprint.
pub const FINGERPRINT_BITS: RangeInclusive<u32> = 8..=16;
/// Slots of each key.
const SLOTS: usize = 4;
/// Bits of the hash that choose a slot within its segment.
const SLOT_BITS: u32 = 18;
/// Seeds that are tried before the keys are stored as they are. Each succeeds nearly always.
const MAX_SEEDS: u64 = 32;
/// Fewer keys are stored as they are: the fuse's overhead is larger.
const MIN_FUSED: usize = 32;
/// Bytes before the words of a stored filter.
const HEADER_BYTES: usize = 1 + 1 + 1 + 4 + 8 + 8 + 8;

/// The part of a digest that filters see. Digests are uniform, so eight bytes tell nearly all of them apart.
#[must_use]
pub const fn digest_prefix(digest: &[u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The bytes are not a stored filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored filter is none")]
pub struct NoFilter;

/// A filter over the digests from one to another.
#[derive(Debug, PartialEq, Eq)]
pub struct DigestFilter {
    first: u64,
    last: u64,
    body: Body,
}

#[derive(Debug, PartialEq, Eq)]
enum Body {
    /// The sorted prefixes themselves: too few for a fuse, or no seed fits them.
    Sorted(Box<[u64]>),
    Fuse(Fuse),
}

#[derive(Debug, PartialEq, Eq)]
struct Fuse {
    bits: u32,
    shape: Shape,
    /// The fingerprints, packed.
    words: Box<[u64]>,
}

/// Where a key's slots are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    seed: u64,
    /// The slots are in segments of `1 << segment_bits`; a key's four slots are in neighbouring ones.
    segment_bits: u32,
    /// In how many segments the first slot may be.
    segments: u32,
}

impl DigestFilter {
    /// A filter over sorted prefixes, with fingerprints of that many bits, within [`FINGERPRINT_BITS`]. `None` if there
    /// are no prefixes.
    #[must_use]
    pub fn build(sorted: &[u64], bits: u32) -> Option<Self> {
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let mut keys = sorted.to_vec();
        keys.dedup();
        let bits = bits.clamp(*FINGERPRINT_BITS.start(), *FINGERPRINT_BITS.end());
        let fused = if keys.len() < MIN_FUSED { None } else { Fuse::build(&keys, bits) };
        let body = fused.map_or_else(|| Body::Sorted(keys.into_boxed_slice()), Body::Fuse);
        Some(Self { first, last, body })
    }

    /// Whether the digest with this prefix may be in it.
    #[must_use]
    pub fn may_contain(&self, prefix: u64) -> bool {
        (self.first..=self.last).contains(&prefix)
            && match &self.body {
                Body::Sorted(keys) => keys.binary_search(&prefix).is_ok(),
                Body::Fuse(fuse) => fuse.may_contain(prefix),
            }
    }

    /// The lowest prefix.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The highest prefix.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// How many bytes of memory it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let words = match &self.body {
            Body::Sorted(keys) => keys.len(),
            Body::Fuse(fuse) => fuse.words.len(),
        };
        size_of::<Self>() + words * size_of::<u64>()
    }

    /// The filter as bytes, to be stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let none = Shape { seed: 0, segment_bits: 0, segments: 0 };
        let (kind, bits, shape, words) = match &self.body {
            Body::Sorted(keys) => (0, 0, none, keys),
            Body::Fuse(fuse) => (1, fuse.bits, fuse.shape, &fuse.words),
        };
        let small = |number: u32| u8::try_from(number).expect("both are below 19");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + words.len() * size_of::<u64>());
        bytes.extend([kind, small(bits), small(shape.segment_bits)]);
        bytes.extend(shape.segments.to_le_bytes());
        [shape.seed, self.first, self.last].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes
    }

    /// The filter that [`Self::to_bytes`] returned the bytes of.
    ///
    /// # Errors
    /// [`NoFilter`] if they are not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoFilter> {
        let (header, words) = bytes.split_at_checked(HEADER_BYTES).ok_or(NoFilter)?;
        let (words, rest) = words.as_chunks::<8>();
        let words: Box<[u64]> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let number = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| NoFilter);
        let (bits, segment_bits) = (u32::from(header[1]), u32::from(header[2]));
        let segments = header[3..7].try_into().map(u32::from_le_bytes).map_err(|_| NoFilter)?;
        let shape = Shape { seed: number(7)?, segment_bits, segments };
        let body = match header[0] {
            0 if !words.is_empty() && words.is_sorted() => Body::Sorted(words),
            1 if FINGERPRINT_BITS.contains(&bits)
                && (1..=SLOT_BITS).contains(&segment_bits)
                && segments > 0
                && words.len() == words_for(shape.slots(), bits) =>
            {
                Body::Fuse(Fuse { bits, shape, words })
            }
            _ => return Err(NoFilter),
        };
        let (first, last) = (number(15)?, number(23)?);
        if rest.is_empty() && first <= last { Ok(Self { first, last, body }) } else { Err(NoFilter) }
    }
}

impl Shape {
    /// Enough slots for this many keys.
    fn of(keys: usize, seed: u64) -> Self {
        let log = keys.ilog2();
        // The published fit for four slots: segments of 2.91^-1 log n - 0.5 bits, and 0.77 + 0.305 ln 600000 / ln n slots
        // for each key.
        let segment_bits = (log * 649 / 1_000).saturating_sub(1).clamp(1, SLOT_BITS);
        let per_thousand_keys = 770 + 5_855 / log as usize;
        let slots = keys * per_thousand_keys / 1_000;
        let segments = slots.div_ceil(1 << segment_bits).saturating_sub(SLOTS - 1).max(1);
        Self { seed, segment_bits, segments: u32::try_from(segments).expect("a filter has fewer than 2^32 keys") }
    }

    const fn slots(self) -> usize {
        (self.segments as usize + SLOTS - 1) << self.segment_bits
    }

    /// A bijection, so different keys never have equal hashes.
    const fn hash(self, key: u64) -> u64 {
        let mut hash = key.wrapping_add(self.seed);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }

    /// The four slots of a hash, each in a segment of its own.
    fn slots_of(self, hash: u64) -> [usize; SLOTS] {
        let length = u128::from(self.segments) << self.segment_bits;
        let first = usize::try_from((u128::from(hash) * length) >> 64).expect("a slot's number is that of a word");
        let mask = (1_usize << self.segment_bits) - 1;
        std::array::from_fn(|number| {
            let shift = SLOT_BITS as usize * (SLOTS - 1 - number);
            // The highest bits chose the segment: of the first slot only the offset that they gave is left.
            let offset = if number == 0 { 0 } else { usize::try_from((hash >> shift) & 0x3_ffff).unwrap_or(0) };
            (first + (number << self.segment_bits)) ^ (offset & mask)
        })
    }
}

impl Fuse {
    fn build(keys: &[u64], bits: u32) -> Option<Self> {
        // Fixed seeds: equal histories make equal files. Nobody can choose digests for which all of them fail.
        (1..=MAX_SEEDS).find_map(|seed| {
            let shape = Shape::of(keys.len(), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let order = peel(keys, shape)?;
            let mut fuse = Self { bits, shape, words: vec![0; words_for(shape.slots(), bits)].into_boxed_slice() };
            for (hash, slot) in order.into_iter().rev() {
                // The slot itself is still zero.
                let value = fuse.xor_of(hash) ^ fuse.fingerprint(hash);
                fuse.set(slot, value);
            }
            Some(fuse)
        })
    }

    fn may_contain(&self, key: u64) -> bool {
        let hash = self.shape.hash(key);
        self.xor_of(hash) == self.fingerprint(hash)
    }

    fn xor_of(&self, hash: u64) -> u64 {
        self.shape.slots_of(hash).into_iter().fold(0, |xor, slot| xor ^ self.get(slot))
    }

    const fn fingerprint(&self, hash: u64) -> u64 {
        (hash ^ (hash >> 32)) & self.mask()
    }

    const fn mask(&self) -> u64 {
        (1 << self.bits) - 1
    }

    fn get(&self, slot: usize) -> u64 {
        let at = slot * self.bits as usize;
        let (word, shift) = (at / 64, at % 64);
        let low = self.words[word] >> shift;
        // One word more than the fingerprints need: see `words_for`.
        let high = if shift == 0 { 0 } else { self.words[word + 1] << (64 - shift) };
        (low | high) & self.mask()
    }

    fn set(&mut self, slot: usize, value: u64) {
        let at = slot * self.bits as usize;
        let (word, shift) = (at / 64, at % 64);
        self.words[word] |= value << shift;
        if shift > 0 {
            self.words[word + 1] |= value >> (64 - shift);
        }
    }
}

const fn words_for(slots: usize, bits: u32) -> usize {
    (slots * bits as usize).div_ceil(64) + 1
}

/// The order in which keys can be taken away so that each, when it goes, is alone in one of its slots: that slot is
/// free to make its fingerprint right when they come back in reverse. `None` if they cannot all be taken away.
fn peel(keys: &[u64], shape: Shape) -> Option<Vec<(u64, usize)>> {
    let mut counts = vec![0_u32; shape.slots()];
    let mut hashes = vec![0_u64; shape.slots()];
    for key in keys {
        let hash = shape.hash(*key);
        for slot in shape.slots_of(hash) {
            counts[slot] += 1;
            hashes[slot] ^= hash;
        }
    }
    let mut alone: Vec<usize> = (0..counts.len()).filter(|slot| counts[*slot] == 1).collect();
    let mut order = Vec::with_capacity(keys.len());
    while let Some(slot) = alone.pop() {
        if counts[slot] != 1 {
            continue;
        }
        let hash = hashes[slot];
        order.push((hash, slot));
        for other in shape.slots_of(hash) {
            counts[other] -= 1;
            hashes[other] ^= hash;
            if counts[other] == 1 {
                alone.push(other);
            }
        }
    }
    (order.len() == keys.len()).then_some(order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers without a pattern.
    fn random(count: usize, seed: u64) -> Vec<u64> {
        let shape = Shape { seed, segment_bits: 1, segments: 1 };
        (0..count as u64).map(|number| shape.hash(number.wrapping_mul(0x2545_f491_4f6c_dd1d))).collect()
    }

    fn sorted(count: usize, seed: u64) -> Vec<u64> {
        let mut keys = random(count, seed);
        keys.sort_unstable();
        keys
    }

    #[test]
    fn it_has_every_key_and_errs_as_rarely_as_its_fingerprints_are_long() {
        for (count, bits) in [(1, 8), (31, 8), (32, 8), (33, 16), (1_000, 11), (65_536, 8), (131_072, 9), (200_000, 12)]
        {
            let keys = sorted(count, 1);
            let filter = DigestFilter::build(&keys, bits).expect("there are keys");
            assert!(keys.iter().all(|key| filter.may_contain(*key)), "{count} keys, {bits} bits");
            let others = random(400_000, 7 << 40);
            let errors = others.iter().filter(|key| filter.may_contain(**key)).count();
            assert!(errors <= 400_000 * 12 / 10 / (1 << bits) + 20, "{errors} errors of {count} keys, {bits} bits");
        }
    }

    #[test]
    fn a_large_filter_takes_little_more_than_its_fingerprints() {
        for (count, bits, most) in [(65_536, 8, 1.16), (131_072, 8, 1.14), (131_072, 9, 1.28), (65_536, 12, 1.74)] {
            let filter = DigestFilter::build(&sorted(count, 2), bits).expect("there are keys");
            let per_key = filter.size() as f64 / count as f64;
            assert!(per_key < most, "{per_key:.3} bytes for each of {count} keys at {bits} bits");
        }
    }

    #[test]
    fn no_keys_have_no_filter() {
        assert_eq!(DigestFilter::build(&[], 8), None);
    }

    #[test]
    fn equal_keys_count_once() {
        let filter = DigestFilter::build(&[5; 1_000], 8).expect("there is a key");
        assert!(filter.may_contain(5) && !filter.may_contain(6));
    }

    proptest! {
        #[test]
        fn a_stored_filter_is_read_back_as_it_was(count in 1_usize..2_000, seed: u64, bits in 8_u32..=16) {
            let keys = sorted(count, seed);
            let filter = DigestFilter::build(&keys, bits).expect("there are keys");
            let read = DigestFilter::from_bytes(&filter.to_bytes()).expect("it was just stored");
            prop_assert!(keys.iter().all(|key| read.may_contain(*key)));
            prop_assert_eq!(read, filter);
        }

        #[test]
        fn foreign_bytes_are_refused_or_make_a_filter_that_answers(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(filter) = DigestFilter::from_bytes(&bytes) {
                let found = filter.may_contain(filter.first());
                prop_assert!(found || !bytes.is_empty());
            }
        }

        #[test]
        fn a_cut_filter_is_refused(count in 40_usize..400, cut in 1_usize..40) {
            let bytes = DigestFilter::build(&sorted(count, 3), 9).expect("there are keys").to_bytes();
            prop_assert_eq!(DigestFilter::from_bytes(&bytes[..bytes.len() - cut]), Err(NoFilter));
        }
    }
}
