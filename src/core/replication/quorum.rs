//! What a quorum of nodes has reached.

/// The highest value that at least `quorum` of the values have reached; the default if there are fewer values.
pub(super) fn reached_by_quorum<T: Ord + Copy + Default>(mut values: Vec<T>, quorum: usize) -> T {
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(quorum - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_quorum_has_reached_is_what_that_many_have_reached() {
        for (values, quorum, reached) in [
            (vec![7], 1, 7),
            (vec![9, 7], 2, 7),
            (vec![0, 9_000, 9], 2, 9),
            (vec![0, 0, 9], 2, 0),
            (vec![5, 1, 4, 2, 3], 3, 3),
            (vec![], 1, 0),
        ] {
            assert_eq!(reached_by_quorum(values.clone(), quorum), reached, "{values:?}");
        }
    }
}
