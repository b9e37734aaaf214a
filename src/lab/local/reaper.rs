//! No process and no folder outlives this program, even if it is killed: a small shell keeps it company and cleans up when
//! the pipe to it breaks.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::LocalError;

/// Remembers the process ids that it is told and forgets those with a minus. When its input ends it kills what is left,
/// takes away what faketime leaves in memory, unmounts what is mounted in the folder and removes the folder.
const SCRIPT: &str = r#"pids=' '
while read -r pid; do
    case $pid in
    -*) pids=${pids/ ${pid#-} / } ;;
    *) pids="$pids$pid " ;;
    esac
done
[ "$pids" = ' ' ] || kill -9 $pids 2>/dev/null
for pid in $pids; do rm -f "/dev/shm/faketime_shm_$pid" "/dev/shm/sem.faketime_sem_$pid"; done
while read -r _ mounted _; do
    case $mounted in
    "$1"/*) umount "$mounted" 2>/dev/null || umount -l "$mounted" 2>/dev/null ;;
    esac
done < <(cat /proc/self/mounts)
rm -rf -- "$1"
exit 0"#;

/// Watches over processes and one folder. Clones are the same reaper; it acts when the last is gone.
#[derive(Clone, Debug)]
pub struct Reaper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    words: Mutex<Option<ChildStdin>>,
    shell: Mutex<Child>,
}

impl Reaper {
    /// Makes a fresh folder whose name begins with `prefix`, and watches over it.
    ///
    /// # Errors
    /// [`LocalError::Io`] if the folder cannot be made or there is no bash.
    pub fn with_folder(prefix: &str) -> Result<Self, LocalError> {
        let folder = std::env::temp_dir().join(format!("{prefix}-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).map_err(LocalError::io(folder.display().to_string()))?;
        let mut command = Command::new("bash");
        // A group of its own: what ends this program from the keyboard must not end what cleans up after it.
        command
            .args(["-c", SCRIPT, "reaper"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0);
        let mut shell = command.spawn().map_err(LocalError::io("bash"))?;
        let words = Mutex::new(shell.stdin.take());
        Ok(Self { shared: Arc::new(Shared { folder, words, shell: Mutex::new(shell) }) })
    }

    /// The folder. It goes with the reaper.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Has this process killed should this program end without a word.
    pub fn watch(&self, pid: u32) {
        self.say(pid);
    }

    /// This process has ended.
    pub fn forget(&self, pid: u32) {
        self.say(format_args!("-{pid}"));
    }

    fn say(&self, word: impl Display) {
        let mut words = self.shared.words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = words.as_mut() {
            // Without the shell nobody cleans up after a crash; that is no reason to crash.
            let _ = writeln!(words, "{word}");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let words = self.words.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop(words);
        let _ = self.shell.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_is_killed_and_the_folder_is_gone_with_the_reaper() {
        let reaper = Reaper::with_folder("quorapay-reaper-test").expect("a reaper");
        let folder = reaper.folder().to_owned();
        std::fs::write(folder.join("file"), "x").expect("the folder is there");
        let mut watched = Command::new("sleep").arg("60").spawn().expect("sleep");
        let mut forgotten = Command::new("sleep").arg("60").spawn().expect("sleep");
        reaper.watch(watched.id());
        reaper.watch(forgotten.id());
        reaper.forget(forgotten.id());
        drop(reaper);
        assert!(!folder.exists());
        assert!(!watched.wait().expect("it ended").success(), "it was killed");
        assert!(forgotten.try_wait().expect("ours").is_none(), "it was not");
        forgotten.kill().and_then(|()| forgotten.wait()).expect("ours");
    }
}
