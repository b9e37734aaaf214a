//! Runs runbooks: every command block of a document is executed, in order and in one shell, and what it prints is compared
//! with what the document shows below it. Numbers, ids, times and the names of roles may differ.
//!
//! In a document, commands are in a block that begins with three backticks and `sh`; a block without a language right after
//! it is their output. A line `...` there stands for any lines.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::cluster::{Cluster, program};

/// Begins the line that the shell prints after each block.
const DONE: &str = "=== done with block";

/// Commands with the output that the document shows for them, if it shows any.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    commands: String,
    shown: Option<String>,
}

/// The command blocks of a document.
fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = document.lines();
    let mut follows_commands = false;
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            follows_commands &= line.is_empty();
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = text.join("\n");
        match (language, blocks.last_mut()) {
            ("sh", _) => blocks.push(Block { commands: text, shown: None }),
            ("", Some(last)) if follows_commands => last.shown = Some(text),
            _ => {}
        }
        follows_commands = language == "sh";
    }
    blocks
}

/// A line without what may differ: digits and hexadecimal numbers, widths of columns, who leads.
fn pattern(line: &str) -> String {
    let mut pattern = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let run = rest.find(|c: char| !c.is_ascii_digit() && !('a'..='f').contains(&c)).unwrap_or(rest.len());
        let (taken, shown) = match &rest[..run] {
            "" => (first.len_utf8(), &rest[..first.len_utf8()]),
            hex if hex.contains(|c: char| c.is_ascii_digit()) => (run, "#"),
            word => (run, word),
        };
        pattern.push_str(shown);
        rest = &rest[taken..];
    }
    while pattern.contains("#-#") {
        pattern = pattern.replace("#-#", "#");
    }
    let words = pattern.split_whitespace().map(|word| word.replace("leader", "role").replace("follower", "role"));
    words.collect::<Vec<_>>().join(" ")
}

/// Whether an output is what a document shows.
fn matches(shown: &[&str], output: &[&str]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((&"...", after)) => (0..=output.len()).any(|skipped| matches(after, &output[skipped..])),
        Some((first, after)) => {
            output.split_first().is_some_and(|(line, rest)| pattern(first) == pattern(line) && matches(after, rest))
        }
    }
}

/// Runs the blocks of a document with `quorapay` on the path; says which block fails and how.
fn play(document: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    symlink(program(), folder.path().join("quorapay")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let blocks = blocks(document);
    assert!(!blocks.is_empty(), "the document has no commands");
    let script: String = blocks.iter().map(|block| format!("{}\necho '{DONE}'\n", block.commands)).collect();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{script}")]).current_dir(folder.path());
    shell.env("PATH", path).envs(variables.iter().copied()).stdin(Stdio::null());
    let output = shell.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let ends = format!("{DONE}\n");
    let ended = printed.matches(&ends).count();
    let mut printed = printed.split_terminator(&ends);
    for (number, block) in (1..).zip(&blocks) {
        let printed = printed.next().unwrap_or_default();
        let fails = |how: &str| Err(format!("block {number} {how}:\n{}\nprinted:\n{printed}", block.commands));
        if number > ended {
            return fails("ended the shell");
        }
        if let Some(shown) = &block.shown
            && !matches(&shown.lines().collect::<Vec<_>>(), &printed.lines().collect::<Vec<_>>())
        {
            return fails(&format!("does not print what the document shows,\n{shown}\n"));
        }
    }
    Ok(())
}

fn runbook(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks").join(name)).unwrap()
}

#[test]
fn the_smoke_runbook_shows_what_its_commands_print() {
    let cluster = Cluster::start(3);
    let urls: Vec<String> = cluster.nodes.iter().map(|node| format!("http://127.0.0.1:{}", node.port)).collect();
    play(&runbook("smoke.md"), &[("QUORAPAY_URL", &urls.join(","))]).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_runbook_fails_if_one_of_its_commands_fails_or_prints_something_else() {
    let fine =
        "# A\n```sh\necho node1 has 12 entries\n```\n```\nnode7 has 4096 entries\n```\nThen:\n```sh\ntrue\n```\n";
    assert_eq!(play(fine, &[]), Ok(()));
    for (from, to, how) in [
        ("true", "false", "block 2 ended the shell"),
        ("echo node1", "ecco node1", "block 1 ended the shell"),
        ("has 4096 entries", "has 4096 errors", "block 1 does not print"),
        ("node7 has 4096 entries", "node7 has 4096 entries\nand more", "block 1 does not print"),
    ] {
        let failure = play(&fine.replace(from, to), &[]).expect_err(how);
        assert!(failure.starts_with(how), "{failure}");
    }
}

#[test]
fn an_output_belongs_to_the_commands_right_above_it() {
    let text = "```sh\na\n```\n```\nA\n```\ntext\n```\nno output\n```\n```sh\nb\n```\n```json\n{}\n```\n";
    let block =
        |commands: &str, shown: Option<&str>| Block { commands: commands.to_owned(), shown: shown.map(str::to_owned) };
    assert_eq!(blocks(text), [block("a", Some("A")), block("b", None)]);
    assert!(matches(&["...", "end of 5"], &["x", "y", "end of 6"]));
    assert!(!matches(&["...", "end"], &["x", "end", "more"]));
}
