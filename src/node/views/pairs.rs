//! Sorted pairs of keys and values, and how runs of them are merged. Pure.

use super::error::{ViewsError, damaged};
use super::kind::Kind;

/// Pairs of keys and values in ascending order of their keys, in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs {
    bytes: Vec<u8>,
    /// Where each key and its value end.
    ends: Vec<(usize, usize)>,
}

impl Pairs {
    /// Adds a pair, whose key must be above all others.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(self.last_key().is_none_or(|last| last < key), "pairs are ascending");
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// Adds all pairs of another, whose keys must be above all others.
    #[cfg(test)]
    pub(super) fn append(&mut self, other: &Self) {
        other.iter().for_each(|(key, value)| self.push(key, value));
    }

    pub(super) fn get(&self, at: usize) -> Option<(&[u8], &[u8])> {
        let (key_end, value_end) = *self.ends.get(at)?;
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        Some((&self.bytes[begin..key_end], &self.bytes[key_end..value_end]))
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        (0..self.len()).map(|at| self.get(at).expect("it is below the length"))
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all keys and values.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn last_key(&self) -> Option<&[u8]> {
        Some(self.get(self.len().checked_sub(1)?)?.0)
    }

    /// How many keys, from the first on, are not above `key`.
    pub(super) fn up_to(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.get(middle).is_some_and(|(at, _)| at <= key) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The value of a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<&[u8]> {
        let (found, value) = self.get(self.up_to(key).checked_sub(1)?)?;
        (found == key).then_some(value)
    }
}

/// Merges runs of one kind, the oldest first, as far as `bound` and from behind `after`. What belongs together becomes
/// one pair: see [`Kind::joined`].
///
/// # Errors
/// [`ViewsError::Damaged`] if values are not what this program writes.
pub(super) fn merge(
    kind: Kind,
    runs: &[Pairs],
    after: Option<&[u8]>,
    bound: Option<&[u8]>,
) -> Result<Pairs, ViewsError> {
    let mut cursors: Vec<(usize, usize)> = runs
        .iter()
        .map(|run| (after.map_or(0, |after| run.up_to(after)), bound.map_or(run.len(), |bound| run.up_to(bound))))
        .collect();
    let mut merged = Pairs::default();
    let (mut last_key, mut last_value) = (Vec::new(), Vec::new());
    loop {
        let mut lowest: Option<(usize, &[u8], &[u8])> = None;
        for (number, (at, end)) in cursors.iter().enumerate() {
            let Some((key, value)) = runs[number].get(*at).filter(|_| at < end) else { continue };
            // Of equal keys the oldest comes first.
            if lowest.is_none_or(|(_, low, _)| key < low) {
                lowest = Some((number, key, value));
            }
        }
        let Some((number, key, value)) = lowest else { break };
        cursors[number].0 += 1;
        if !last_key.is_empty() {
            if kind.join(&last_key, &mut last_value, key, value)? {
                continue;
            }
            if key <= last_key.as_slice() {
                return Err(damaged("entries that belong behind each other overlap"));
            }
            merged.push(&last_key, &last_value);
        }
        last_key.clear();
        last_key.extend_from_slice(key);
        last_value.clear();
        last_value.extend_from_slice(value);
    }
    if !last_key.is_empty() {
        merged.push(&last_key, &last_value);
    }
    Ok(merged)
}
