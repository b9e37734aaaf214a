//! The house keeps its shape: what may import what, and what the pure layers must not know.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with what it may import. A module may always import itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &["planted"]),
    ("planted", &[]),
    ("replication", &["domain", "planted"]),
    ("engine", &["domain", "planted", "replication"]),
    ("settings", &["domain", "replication"]),
    ("history", &["domain", "replication"]),
    ("ledger", &["domain", "replication", "engine"]),
    ("views", &["domain", "replication", "engine"]),
    ("transport", &["domain", "replication", "engine"]),
    ("coordination", &["domain", "replication", "engine"]),
    ("clock", &["domain", "replication", "engine"]),
    ("runtime", &["domain", "replication", "engine", "ledger", "views", "transport", "coordination", "clock"]),
    ("api", &["domain", "replication", "engine", "runtime"]),
    ("client", &["domain", "replication"]),
    ("fuzzing", &["domain", "replication", "ledger", "transport", "settings", "api"]),
    ("local", &[]),
    ("chaos", &["domain", "replication", "client", "history", "check", "local", "runtime"]),
    ("check", &["domain", "replication", "ledger", "history"]),
    (
        "cli",
        &[
            "domain",
            "replication",
            "engine",
            "ledger",
            "coordination",
            "runtime",
            "settings",
            "api",
            "client",
            "check",
            "chaos",
            "local",
        ],
    ),
];

/// What a layer without input and output must not name.
const IMPURE: &[&str] = &[
    "tokio",
    "sqlx",
    "reqwest",
    "axum",
    "hyper",
    "zookeeper_client",
    "futures_util",
    "Instant",
    "SystemTime",
    "rand",
    "HashMap",
    "HashSet",
    "thread",
    "fs",
    "net",
];

/// A source file without its comments, so that what it explains is not taken for what it does.
struct Source {
    path: PathBuf,
    text: String,
}

fn sources(module: &str) -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    gather(&src.join(module), &mut files);
    let single = src.join(format!("{module}.rs"));
    if single.exists() {
        files.push(single);
    }
    assert!(!files.is_empty(), "there is no module {module}");
    files.into_iter().map(|path| Source { text: without_comments(&fs::read_to_string(&path).unwrap()), path }).collect()
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The part of a file that is not its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// The crate's modules that a text names, in `crate::a::…` and in `crate::{a, b::…}`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads_of_group(group)),
            None => found.extend(word(rest)),
        }
    }
    found
}

fn heads_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut at_head) = (0_usize, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => at_head = true,
            _ if at_head && !character.is_whitespace() => {
                heads.extend(word(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn names(text: &str, name: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.into_iter().any(|word| word == name)
}

#[test]
fn a_module_imports_only_what_stands_under_it() {
    let modules: BTreeSet<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    let mut wrong = Vec::new();
    for (module, allowed) in LAYERS {
        for source in sources(module) {
            for import in imports(&source.text) {
                if import != *module && modules.contains(&*import) && !allowed.contains(&&*import) {
                    wrong.push(format!("{} imports {import}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_its_layer() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: Vec<&str> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let layered: BTreeSet<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    assert_eq!(modules.into_iter().collect::<BTreeSet<_>>(), layered);
}

#[test]
fn the_pure_layers_know_no_runtime_no_file_no_clock_and_no_chance() {
    let mut wrong = Vec::new();
    for module in ["domain", "replication", "engine"] {
        for source in sources(module) {
            let text = without_tests(&source.text);
            let found = IMPURE.iter().filter(|name| names(text, name));
            wrong.extend(found.map(|name| format!("{} names {name}", source.path.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_one_module_of_the_node_reads_the_wall_clock() {
    let mut wrong = Vec::new();
    // A client's command line and what tries a cluster from outside are no part of the node: they may time themselves.
    for (module, _) in LAYERS.iter().filter(|(module, _)| !["clock", "cli", "client", "chaos"].contains(module)) {
        for source in sources(module) {
            if without_tests(&source.text).contains("SystemTime::now") {
                wrong.push(source.path.display().to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::ledger::{self, A};\nuse crate::{api, cli::{x, y}, views::Z};\nlet a = crate::clock::now();";
    let expected = ["api", "cli", "clock", "ledger", "views"].map(str::to_owned);
    assert_eq!(imports(text), BTreeSet::from(expected));
}
