//! The documents name only files that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// A name in backticks is taken for a file of this repository if it begins with one of these.
const TOP_LEVEL: &[&str] = &[
    "src",
    "docs",
    "tests",
    "migrations",
    "examples",
    "zk",
    "runbooks",
    ".ci",
    "Cargo.toml",
    "Cargo.lock",
    "Makefile",
    "Dockerfile",
    "docker-compose.yml",
    "README.md",
    "LICENSE",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "deny.toml",
    "rust-toolchain.toml",
    ".editorconfig",
    ".env.example",
    ".github",
    "rustfmt.toml",
    ".clippy.toml",
];

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"].map(|name| root.join(name)).to_vec();
    for folder in ["docs", "runbooks"] {
        gather(&root.join(folder), &mut documents);
    }
    documents.into_iter().filter(|document| document.exists()).collect()
}

fn gather(folder: &Path, documents: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, documents);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
}

/// What a text names in backticks, without arguments and line numbers.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter_map(|name| name.split([' ', ':', '#']).next())
}

/// What a text links to within the repository, from where it stands.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

fn is_of_this_repository(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    // `src` and the like alone may be a word of any other meaning.
    plain && TOP_LEVEL.contains(&first) && (name.contains('/') || name.contains('.'))
}

#[test]
fn every_file_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let named = names(&text).filter(|name| is_of_this_repository(name)).map(|name| root.join(name));
        let linked = links(&text).map(|target| document.parent().unwrap().join(target));
        for path in named.chain(linked).filter(|path| !path.exists()) {
            missing.push(format!("{} names {}", document.display(), path.display()));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_image_names_the_version_of_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("Dockerfile")).unwrap();
    let label = format!("org.opencontainers.image.version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&label), "the Dockerfile has no label {label}");
}

#[test]
fn every_test_that_the_api_names_for_a_promise_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/API.md")).unwrap();
    let table = text.split("## Where each promise is tested").nth(1).expect("the table of promises");
    let quoted = table.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let mut named = 0;
    for (module, test) in quoted.filter_map(|name| name.split_once("::")) {
        let source = fs::read_to_string(root.join(format!("tests/it/{module}.rs"))).unwrap();
        assert!(source.contains(&format!("#[test]\nfn {test}()")), "there is no test {module}::{test}");
        named += 1;
    }
    assert!(named > 40, "only {named} tests are named");
}

/// Every folder below `src` that holds code.
fn code_folders(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let holds_code = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path().extension().is_some();
        if fs::read_dir(&path).unwrap().any(holds_code) {
            found.push(path.clone());
        }
        code_folders(&path, found);
    }
}

#[test]
fn the_architecture_lists_every_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let listed: Vec<&str> = names(&text).collect();
    let mut folders = Vec::new();
    code_folders(&root.join("src"), &mut folders);
    let folders = folders.iter().map(|folder| folder.strip_prefix(root).unwrap().to_str().unwrap());
    let missing: Vec<&str> = folders.filter(|folder| !listed.contains(folder)).collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md does not list {missing:#?}");
}
