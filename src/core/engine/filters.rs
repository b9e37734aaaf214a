//! The filters over everything in the views: for each sorted run of digests a filter, in parts.

use std::fmt;
use std::sync::Arc;

use super::digest_filter::{DigestFilter, digest_prefix};

/// Filters over sorted runs of digests. Each run is in parts, ascending.
#[derive(Clone, Default)]
pub struct DigestFilters {
    runs: Vec<Vec<Arc<DigestFilter>>>,
}

/// What the views hold, approximately.
#[derive(Clone, Debug, Default)]
pub struct ViewsFilters {
    /// Idempotency keys.
    pub keys: DigestFilters,
    /// Orders for which anything was charged.
    pub orders: DigestFilters,
}

impl DigestFilters {
    /// Filters over these runs. The parts of a run are ascending and do not overlap.
    #[must_use]
    pub fn new(mut runs: Vec<Vec<Arc<DigestFilter>>>) -> Self {
        runs.retain(|run| !run.is_empty());
        for run in &runs {
            assert!(run.is_sorted_by(|one, next| one.last() <= next.first()), "the parts of a run are ascending");
        }
        Self { runs }
    }

    /// Whether one of the runs may hold the digest.
    #[must_use]
    pub fn may_contain(&self, digest: &[u8; 16]) -> bool {
        let prefix = digest_prefix(digest);
        self.runs.iter().any(|run| {
            let begun = &run[..run.partition_point(|part| part.first() <= prefix)];
            // Different digests with one prefix may be on both sides of a border between parts.
            begun.iter().rev().take_while(|part| part.last() >= prefix).any(|part| part.may_contain(prefix))
        })
    }

    /// How many bytes of memory the filters take.
    #[must_use]
    pub fn size(&self) -> usize {
        self.runs.iter().flatten().map(|part| part.size()).sum()
    }
}

impl fmt::Debug for DigestFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: usize = self.runs.iter().map(Vec::len).sum();
        write!(f, "{parts} filters over {} runs", self.runs.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(prefix: u64, rest: u8) -> [u8; 16] {
        let mut digest = [rest; 16];
        digest[..8].copy_from_slice(&prefix.to_be_bytes());
        digest
    }

    fn run(parts: &[&[u64]]) -> Vec<Arc<DigestFilter>> {
        parts.iter().filter_map(|keys| DigestFilter::build(keys, 16)).map(Arc::new).collect()
    }

    #[test]
    fn a_digest_is_looked_for_in_every_run_and_there_in_its_part() {
        let filters = DigestFilters::new(vec![run(&[&[10, 20], &[30, 40]]), run(&[&[15]]), Vec::new()]);
        for present in [10, 15, 20, 30, 40] {
            assert!(filters.may_contain(&digest(present, 0)), "{present}");
        }
        for absent in [0, 11, 25, 35, 41, u64::MAX] {
            assert!(!filters.may_contain(&digest(absent, 0)), "{absent}");
        }
        assert!(!DigestFilters::default().may_contain(&digest(1, 0)));
    }

    #[test]
    fn digests_with_one_prefix_are_found_on_both_sides_of_a_border() {
        let filters = DigestFilters::new(vec![run(&[&[10, 20], &[20, 20], &[20, 40]])]);
        assert!(filters.may_contain(&digest(20, 0)) && filters.may_contain(&digest(20, 255)));
    }
}
