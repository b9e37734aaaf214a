//! No process and no folder outlives the tests, even if they are killed: a small shell keeps them company and cleans up
//! when the pipe to them breaks.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

/// Remembers the process ids that it is told, forgets those with a minus, and kills what is left when the input ends.
const SCRIPT: &str = r#"pids=' '
while read -r pid; do
    case $pid in
    -*) pids=${pids/ ${pid#-} / } ;;
    *) pids="$pids$pid " ;;
    esac
done
[ "$pids" = ' ' ] || kill -9 $pids 2>/dev/null
rm -rf -- "$1""#;

struct Reaper {
    folder: std::path::PathBuf,
    words: Mutex<ChildStdin>,
}

fn reaper() -> &'static Reaper {
    static REAPER: OnceLock<Reaper> = OnceLock::new();
    REAPER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("quorapay-it-").tempdir().unwrap().keep();
        let mut shell = Command::new("bash");
        // A group of its own: what ends the tests from the keyboard must not end what cleans up after them.
        shell.args(["-c", SCRIPT, "reaper"]).arg(&folder).stdin(Stdio::piped()).process_group(0);
        let words = shell.spawn().expect("bash keeps the tests company").stdin.take().unwrap();
        Reaper { folder, words: Mutex::new(words) }
    })
}

fn say(word: impl Display) {
    let mut words = reaper().words.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(words, "{word}").expect("the shell listens until the tests end");
}

/// Has this process killed should the tests end without a word.
pub(crate) fn watch(pid: u32) {
    say(pid);
}

/// This process has ended.
pub(crate) fn forget(pid: u32) {
    say(format_args!("-{pid}"));
}

/// A folder that goes with its owner, or with the tests.
pub(crate) fn folder(name: &str) -> TempDir {
    let parent: &Path = &reaper().folder;
    tempfile::Builder::new().prefix(name).tempdir_in(parent).unwrap()
}
