//! No process and no folder outlives this program, even if it is killed: a helper shell cleans up when its input ends.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::LocalError;

/// Reads process ids to remember, or to forget if they begin with a minus. At the end of its input it kills the remembered
/// processes, removes faketime's shared memory, unmounts what is mounted in the folder, and removes the folder.
///
/// Processes whose command line names a file in the folder are killed too: this program may have been killed after it
/// started one and before it could say so. The pattern comes through a pipe, so that `grep` does not find itself.
const SCRIPT: &str = r#"pids=' '
while read -r pid; do
    case $pid in
    -*) pids=${pids/ ${pid#-} / } ;;
    *) pids="$pids$pid " ;;
    esac
done
for found in $(grep -lF -f <(printf '%s/' "$1") /proc/[0-9]*/cmdline 2>/dev/null); do
    found=${found#/proc/}
    pids="$pids${found%/cmdline} "
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

/// Cleans up after processes and one folder. Clones share one reaper, which acts when the last is dropped.
#[derive(Clone, Debug)]
pub struct Reaper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    commands: Mutex<Option<ChildStdin>>,
    shell: Mutex<Child>,
}

impl Reaper {
    /// Creates a folder whose name begins with `prefix`, and removes it in the end.
    ///
    /// # Errors
    /// [`LocalError::Io`] if the folder cannot be made or there is no bash.
    pub fn with_folder(prefix: &str) -> Result<Self, LocalError> {
        let folder = std::env::temp_dir().join(format!("{prefix}-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).map_err(LocalError::io(folder.display().to_string()))?;
        let mut command = Command::new("bash");
        // A separate process group, so that Ctrl-C does not end the shell together with this program.
        command
            .args(["-c", SCRIPT, "reaper"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0);
        let mut shell = command.spawn().map_err(LocalError::io("bash"))?;
        let commands = Mutex::new(shell.stdin.take());
        Ok(Self { shared: Arc::new(Shared { folder, commands, shell: Mutex::new(shell) }) })
    }

    /// The folder. It is removed with the reaper.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Kills this process if it still runs when the reaper acts.
    pub fn watch(&self, pid: u32) {
        self.send(pid);
    }

    /// Forgets a process that has ended.
    pub fn forget(&self, pid: u32) {
        self.send(format_args!("-{pid}"));
    }

    fn send(&self, line: impl Display) {
        let mut commands = self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commands) = commands.as_mut() {
            // A broken pipe only means that nothing cleans up after a crash.
            let _ = writeln!(commands, "{line}");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let commands = self.commands.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop(commands);
        let _ = self.shell.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_never_watched_but_names_a_file_of_the_folder_is_killed() {
        let reaper = Reaper::with_folder("quorapay-reaper-test").expect("a reaper");
        let file = reaper.folder().join("file");
        std::fs::write(&file, "x").expect("the folder is there");
        let mut unknown = Command::new("tail").arg("-f").arg(&file).stdout(Stdio::null()).spawn().expect("tail");
        drop(reaper);
        assert!(!unknown.wait().expect("it ended").success(), "it was killed");
    }

    #[test]
    fn watched_processes_are_killed_and_the_folder_is_removed_with_the_reaper() {
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
