//! Runs the command blocks of a document, in order and in one shell. The shell asks this process for what the commands
//! themselves cannot do, over a socket: to start or to stop a node, or to bring about what a part of the document is for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::thread;

use super::document::{Block, blocks, matches};
use crate::support::cluster::program;

/// Begins the line that the shell prints after each block.
const DONE: &str = "=== done with block";

/// After so many seconds a document that waits for something is taken to wait for ever.
const LIMIT_SECONDS: &str = "100";

/// Asks this process for something and prints the answer. The answer to what fails is on the error output.
const ASK: &str = r#"
ask() {
  local stage answer
  exec {stage}<>"/dev/tcp/127.0.0.1/$STAGE_PORT"
  echo "$*" >&"$stage"
  answer=$(cat <&"$stage")
  exec {stage}>&-
  case $answer in
    ok*) printf '%s' "${answer#ok}" ;;
    *) echo "the test could not do this: $* $answer" >&2; return 1 ;;
  esac
}
scene() { local said; said=$(ask scene "$@"); eval "$said"; }
"#;

/// What a shell asks for is done here. Returns commands for the shell, or why it cannot be done.
pub(super) type Perform<'a> = &'a mut dyn FnMut(&str) -> Result<String, String>;

/// Runs the blocks of a document with `quorapay` on the path; says which block fails and how. `definitions` are commands
/// before the first block. Before the first block of each section, `perform` gets `scene` and its heading.
pub(super) fn play(document: &str, definitions: &str, perform: Perform<'_>) -> Result<(), String> {
    let blocks = blocks(document);
    assert!(!blocks.is_empty(), "the document has no commands");
    let folder = tempfile::tempdir().unwrap();
    symlink(program(), folder.path().join("quorapay")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut shell = Command::new("timeout");
    shell.args(["--kill-after=5", LIMIT_SECONDS, "bash", "-euo", "pipefail", "-c", &script(&blocks, definitions)]);
    shell.env("PATH", path).env("STAGE_PORT", address.port().to_string());
    shell.current_dir(folder.path()).stdin(Stdio::null());
    let output = thread::scope(|scope| {
        let running = scope.spawn(|| {
            let output = shell.output();
            // An empty connection says that the shell has ended.
            TcpStream::connect(address).unwrap();
            output
        });
        serve(&listener, perform);
        running.join().unwrap()
    });
    let printed = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
    println!("{printed}");
    compare(&blocks, &printed)
}

fn script(blocks: &[Block], definitions: &str) -> String {
    let mut script = format!("exec 2>&1\n{ASK}\n{definitions}\n");
    let mut section = "";
    for block in blocks {
        if block.section != section {
            section = &block.section;
            writeln!(script, "scene '{}'", section.replace('\'', r"'\''")).unwrap();
        }
        writeln!(script, "{}\necho '{DONE}'", block.commands).unwrap();
    }
    script
}

/// Answers the shell until it ends.
fn serve(listener: &TcpListener, perform: Perform<'_>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = String::new();
        BufReader::new(&stream).read_line(&mut request).unwrap();
        if request.is_empty() {
            return;
        }
        let answer = perform(request.trim()).map_or_else(|why| why, |commands| format!("ok{commands}"));
        // A shell that has ended meanwhile wants no answer.
        let _ = stream.write_all(answer.as_bytes());
    }
}

fn compare(blocks: &[Block], printed: &str) -> Result<(), String> {
    let ends = format!("{DONE}\n");
    let ended = printed.matches(&ends).count();
    let mut printed = printed.split_terminator(&ends);
    for (number, block) in (1..).zip(blocks) {
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

/// The headings of a document that have commands below them.
pub(super) fn sections(document: &str) -> BTreeSet<String> {
    blocks(document).into_iter().map(|block| block.section).collect()
}

#[test]
fn a_runbook_fails_if_one_of_its_commands_fails_or_prints_something_else() {
    let fine =
        "# A\n```sh\necho node1 has 12 entries\n```\n```\nnode7 has 4096 entries\n```\nThen:\n```sh\ntrue\n```\n";
    let play = |document: &str| play(document, "", &mut |_| Ok(String::new()));
    assert_eq!(play(fine), Ok(()));
    for (from, to, how) in [
        ("true", "false", "block 2 ended the shell"),
        ("echo node1", "ecco node1", "block 1 ended the shell"),
        ("has 4096 entries", "has 4096 errors", "block 1 does not print"),
        ("node7 has 4096 entries", "node7 has 4096 entries\nand more", "block 1 does not print"),
    ] {
        let failure = play(&fine.replace(from, to)).expect_err(how);
        assert!(failure.starts_with(how), "{failure}");
    }
}

#[test]
fn what_a_part_is_for_is_brought_about_before_its_first_command() {
    let text = "## It's cut\n```sh\necho \"$N\"\nask connect \"$N\"\n```\n```\nnode2\n```\n```sh\ntrue\n```\n";
    let mut asked = Vec::new();
    let played = play(text, "", &mut |request| {
        asked.push(request.to_owned());
        Ok(if request.starts_with("scene") { "N=node2".to_owned() } else { String::new() })
    });
    assert_eq!((played, asked), (Ok(()), vec!["scene It's cut".to_owned(), "connect node2".to_owned()]));
    let refused = play(text, "N=node2", &mut |_| Err("no".to_owned())).expect_err("it cannot be brought about");
    assert!(refused.starts_with("block 1 ended the shell"), "{refused}");
}
