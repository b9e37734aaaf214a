//! Fuzz targets: every reader of bytes that come from outside, with the properties that must hold for all bytes.
//! `tests/fuzz` runs them; they are not in a normal build.
//!
//! A check panics if a property fails. Besides "no panic" the properties are: a value that was read and is written
//! again reads back the same, two readers of the same thing agree, and an entry survives the wire and its row.

mod history;
mod texts;

use crate::{backup, http, transport};

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line, and of its folder in the corpus.
    pub name: &'static str,
    /// Panics if a property fails for these bytes.
    pub check: fn(&[u8]),
}

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// All targets.
pub const TARGETS: [Target; 13] = [
    target("peer_request", transport::fuzzing::request),
    target("peer_answer", transport::fuzzing::answers),
    target("payment_body", http::fuzzing::payment_body),
    target("batch_body", http::fuzzing::batch_body),
    target("change_body", http::fuzzing::change_body),
    target("account_body", http::fuzzing::account_body),
    target("api_key", http::fuzzing::api_key),
    target("compatible_body", http::fuzzing::compatible_body),
    target("query", http::fuzzing::query),
    target("texts", texts::check),
    target("settings", texts::settings),
    target("history", history::check),
    target("backup", backup::fuzzing::check),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_property_holds_for_the_whole_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
        for Target { name, check } in TARGETS {
            let files = std::fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut checked = 0;
            for file in files {
                let path = file.expect("the corpus can be listed").path();
                check(&std::fs::read(path).expect("what was listed can be read"));
                checked += 1;
            }
            assert!(checked > 0, "{name} has an empty corpus");
        }
    }
}
