//! The order of the modules within each crate, and what the pure core must not name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules with what each may import.
type Layers = &'static [(&'static str, &'static [&'static str])];

/// The crates whose modules have an order of their own. What a crate may use of another is in its manifest.
const ROOMS: &[(&str, Layers)] = &[
    (
        "core",
        &[
            ("planted", &[]),
            ("time", &[]),
            ("domain", &["planted"]),
            ("replication", &["domain", "planted", "time"]),
            ("engine", &["domain", "planted", "replication"]),
        ],
    ),
    (
        "node",
        &[
            ("blocking", &[]),
            ("process", &[]),
            ("published", &[]),
            ("read_gate", &[]),
            ("request_id", &[]),
            ("log_limit", &[]),
            ("traces", &[]),
            ("clock", &[]),
            ("tls", &["published"]),
            ("settings", &["tls", "traces"]),
            ("ledger", &["blocking"]),
            ("views", &["blocking", "read_gate"]),
            ("port", &["published", "tls"]),
            ("transport", &["port", "published", "request_id", "tls", "traces"]),
            ("coordination", &["port"]),
            ("query", &["blocking", "ledger", "views"]),
            (
                "runtime",
                &[
                    "query",
                    "ledger",
                    "views",
                    "transport",
                    "coordination",
                    "clock",
                    "blocking",
                    "port",
                    "published",
                    "read_gate",
                    "request_id",
                    "log_limit",
                    "traces",
                ],
            ),
            ("verify", &["ledger", "views", "query"]),
            ("recover", &["ledger", "verify", "settings"]),
            ("backup", &["ledger", "verify", "settings"]),
            ("http", &["runtime", "query", "process", "request_id", "log_limit", "traces"]),
            ("client_port", &["http", "port", "runtime", "published"]),
            (
                "serve",
                &[
                    "client_port",
                    "http",
                    "port",
                    "runtime",
                    "settings",
                    "coordination",
                    "process",
                    "published",
                    "tls",
                    "transport",
                ],
            ),
            ("fuzzing", &["ledger", "transport", "settings", "http", "backup"]),
        ],
    ),
    (
        "lab",
        &[
            ("random", &[]),
            ("local", &[]),
            ("history", &[]),
            ("check", &["history"]),
            ("fault", &["local", "random"]),
            ("chaos", &["history", "check", "local", "random", "fault"]),
            ("bench", &["random"]),
            ("import", &[]),
            ("backup", &[]),
            ("certificates", &[]),
            ("dev", &["local", "fault"]),
        ],
    ),
];

/// What one crate may use of another, where that is less than everything: the folder, the crate and its modules.
const NARROW: &[(&str, &str, &[&str])] = &[
    // The adapters know entries, effects and protocol messages. Only the peers' wire names what the engine answers.
    ("node/ledger", "quorapay_core", &["domain", "replication"]),
    ("node/transport", "quorapay_core", &["domain", "replication", "engine"]),
    ("node/coordination", "quorapay_core", &["domain", "replication"]),
    ("node/clock", "quorapay_core", &["replication", "time"]),
    ("node/settings", "quorapay_core", &["domain", "replication"]),
    // The views store the filters that the engine asks.
    ("node/views", "quorapay_core", &["domain", "replication", "engine"]),
    ("node/traces", "quorapay_core", &["domain", "replication"]),
    ("node/http", "quorapay_core", &["domain", "replication"]),
    // The checker reads ledger files and judges them by a model of its own.
    ("lab/check", "quorapay_node", &["ledger"]),
    // Its clients send over any network, so that whole nodes in one thread can be their servers.
    ("lab/chaos", "quorapay_node", &["transport"]),
    // A flipped bit counts only if the audit detects it.
    ("lab/fault", "quorapay_node", &["verify"]),
    ("lab/history", "quorapay_node", &[]),
    ("lab/local", "quorapay_node", &[]),
    ("lab/bench", "quorapay_node", &[]),
    ("lab/import", "quorapay_node", &[]),
    // It writes backup files, whose format restoring and verifying share.
    ("lab/backup", "quorapay_node", &["backup"]),
    ("lab/dev", "quorapay_node", &[]),
    // A node's name in its certificate has one form.
    ("lab/certificates", "quorapay_node", &["tls"]),
    ("node/tls", "quorapay_core", &["replication"]),
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

/// The sources of a folder of `src`, or of a module that is a file.
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

/// The modules of `krate` that a text names, in `krate::a::…` and in `krate::{a, b::…}`.
fn imports(text: &str, krate: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split(&format!("{krate}::")).skip(1) {
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
    let mut wrong = Vec::new();
    for (room, layers) in ROOMS {
        let modules: BTreeSet<&str> = layers.iter().map(|(module, _)| *module).collect();
        for (module, allowed) in *layers {
            for source in sources(&format!("{room}/{module}")) {
                for import in imports(&source.text, "crate") {
                    if import != *module && modules.contains(&*import) && !allowed.contains(&&*import) {
                        wrong.push(format!("{} imports {import}", source.path.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_module_uses_of_another_crate_only_what_it_is_meant_to() {
    let mut wrong = Vec::new();
    for (module, krate, allowed) in NARROW {
        for source in sources(module) {
            for import in imports(without_tests(&source.text), krate) {
                if !allowed.contains(&&*import) {
                    wrong.push(format!("{} uses {krate}::{import}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_its_layer() {
    for (room, layers) in ROOMS {
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room).join("lib.rs");
        let lib = fs::read_to_string(lib).unwrap();
        let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        let layered: BTreeSet<&str> = layers.iter().map(|(module, _)| *module).collect();
        assert_eq!(modules.collect::<BTreeSet<_>>(), layered, "{room}");
    }
}

#[test]
fn the_pure_layers_know_no_runtime_no_file_no_clock_and_no_chance() {
    let mut wrong = Vec::new();
    for module in ["core/domain", "core/replication", "core/engine"] {
        for source in sources(module).iter().filter(|source| !source.path.ends_with("tests.rs")) {
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
    let rooms = ROOMS.iter().filter(|(room, _)| ["core", "node"].contains(room));
    let modules = rooms.flat_map(|(room, layers)| layers.iter().map(move |(module, _)| format!("{room}/{module}")));
    for module in modules.filter(|module| module != "node/clock") {
        for source in sources(&module) {
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
    assert_eq!(imports(text, "crate"), BTreeSet::from(expected));
}
