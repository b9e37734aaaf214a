//! The order among the files of the protocol, as the map in `src/core/replication/mod.rs` states it.

use std::path::{Path, PathBuf};

/// The files and folders of `replication` in the order of the map in its `mod.rs`.
fn map() -> Vec<String> {
    let lines = include_str!("../../src/core/replication/mod.rs").lines();
    let map = lines.skip_while(|line| *line != "//! # Map").skip_while(|line| *line != "//! ```text").skip(1);
    let names = map.take_while(|line| *line != "//! ```").map(|line| &line[4..21]);
    names.flat_map(|names| names.split(',').map(|name| name.trim().to_owned())).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it is read").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn each_file_imports_only_files_above_it_in_the_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("replication");
    let map = map();
    let rank = |name: &str| map.iter().position(|listed| listed == name);
    let mut files = 0;
    for path in sources(&root) {
        let path = path.strip_prefix(&root).expect("it is below the root");
        let in_folder = path.components().count() > 1;
        let name = path.iter().next().and_then(|name| name.to_str()).expect("a name").trim_end_matches(".rs");
        if path.ends_with("tests.rs") {
            continue;
        }
        let Some(own) = rank(name) else {
            assert!(["mod", "sample"].contains(&name), "the map does not list {name}");
            continue;
        };
        files += 1;
        let text = std::fs::read_to_string(root.join(path)).expect("it is read");
        let code = text.split("#[cfg(test)]").next().expect("a first part");
        let prefix = if in_folder { "use crate::replication::" } else { "use super::" };
        for import in code.lines().filter_map(|line| line.strip_prefix(prefix)) {
            let imported = import.split("::").next().expect("a first part");
            assert!(rank(imported).is_some_and(|rank| rank < own), "{} imports {imported}", path.display());
        }
    }
    assert!(files >= 30, "{files} files were checked");
}
