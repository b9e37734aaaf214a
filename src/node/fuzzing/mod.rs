//! What the fuzzer throws bytes at: every reader of bytes that come from outside, each with what must hold whatever the
//! bytes are. `tests/fuzz` runs it; nothing of it is in a normal build.
//!
//! A check returns if all is well and panics if a promise is broken. Beside "no panic" the promises are: what was read
//! and is written again reads back the same, two ways of reading the same thing agree, and an entry survives the wire
//! and its row.

mod history;
mod texts;

use crate::{http, transport};

/// Something that reads foreign bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Names it on the command line and its folder in the corpus.
    pub name: &'static str,
    /// Panics if the bytes break a promise.
    pub check: fn(&[u8]),
}

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// Every target.
pub const TARGETS: [Target; 11] = [
    target("peer_request", transport::fuzzing::request),
    target("peer_answer", transport::fuzzing::answers),
    target("payment_body", http::fuzzing::payment_body),
    target("batch_body", http::fuzzing::batch_body),
    target("change_body", http::fuzzing::change_body),
    target("account_body", http::fuzzing::account_body),
    target("compatible_body", http::fuzzing::compatible_body),
    target("query", http::fuzzing::query),
    target("texts", texts::check),
    target("settings", texts::settings),
    target("history", history::check),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn nothing_in_the_corpus_breaks_a_promise() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
        for Target { name, check } in TARGETS {
            let files = std::fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut checked = 0;
            for file in files {
                let path = file.expect("the corpus can be listed").path();
                check(&std::fs::read(path).expect("what was listed can be read"));
                checked += 1;
            }
            assert!(checked > 0, "{name} has nothing to start from");
        }
    }
}
