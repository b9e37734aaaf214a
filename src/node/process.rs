//! What the operating system says of this process and of the disk of its data directory.
//!
//! It knows nothing of a node or of metrics, and guesses nothing: what cannot be read is absent. A simulation of whole nodes
//! has no reader, because these figures differ from run to run.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use nix::time::{ClockId, clock_gettime};
use procfs::process::{LimitValue, Process};

/// The name under which the time of the process's first thread is shown: the event loop, the handlers of requests and the
/// connections of peers.
const MAIN_THREAD: &str = "main";

/// The files whose sizes are shown, in the data directory. The ledger's write-ahead log is watched by the ledger itself.
const FILES: [&str; 3] = ["ledger.db", "views.db", "views.db-wal"];

/// What was read at one moment. `None` is what the system does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessState {
    /// User and system time of all threads, including those that have ended.
    pub cpu: Option<Duration>,
    /// The same by the names of the threads. What a thread used between the last reading and its end is missing.
    pub cpu_by_thread: BTreeMap<String, Duration>,
    /// Memory that is in RAM.
    pub resident_bytes: Option<u64>,
    /// Address space.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// How many may be open.
    pub max_fds: Option<u64>,
    /// Start since the Unix epoch.
    pub started: Option<Duration>,
    /// Threads that run.
    pub threads: Option<u64>,
    /// Bytes that storage had to deliver.
    pub storage_read_bytes: Option<u64>,
    /// Bytes that were handed to storage.
    pub storage_written_bytes: Option<u64>,
    /// What this process may still write to the disk of the data directory.
    pub disk_free_bytes: Option<u64>,
    /// Size of that disk.
    pub disk_size_bytes: Option<u64>,
    /// Sizes of the databases and of the views' write-ahead log, by file name; a file that is not there is absent.
    pub file_bytes: BTreeMap<&'static str, u64>,
}

/// Reads the state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProcessReader {
    data_dir: PathBuf,
    threads: Arc<Mutex<ThreadTimes>>,
}

impl ProcessReader {
    /// Of this process, and of the disk that holds this directory.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, threads: Arc::default() }
    }

    /// The state now. Some of the files cost system calls for each thread, so another thread reads them.
    ///
    /// # Panics
    /// If that thread panics.
    pub async fn read(&self) -> ProcessState {
        let reader = self.clone();
        tokio::task::spawn_blocking(move || reader.read_here()).await.expect("it does not panic, and nobody aborts it")
    }

    fn read_here(&self) -> ProcessState {
        let mut state = ProcessState { cpu: processor_time(), ..ProcessState::default() };
        if let Ok(process) = Process::myself() {
            self.read_process(&process, &mut state);
        }
        if let Ok(disk) = statvfs(&self.data_dir) {
            state.disk_free_bytes = Some(disk.blocks_available() * disk.fragment_size());
            state.disk_size_bytes = Some(disk.blocks() * disk.fragment_size());
        }
        let size = |name: &'static str| Some((name, fs::metadata(self.data_dir.join(name)).ok()?.len()));
        state.file_bytes = FILES.into_iter().filter_map(size).collect();
        state
    }

    fn read_process(&self, process: &Process, state: &mut ProcessState) {
        if let Ok(stat) = process.stat() {
            state.virtual_bytes = Some(stat.vsize);
            state.resident_bytes = stat.rss.checked_mul(procfs::page_size());
            state.threads = u64::try_from(stat.num_threads).ok();
            let since_boot = duration_of_ticks(stat.starttime);
            state.started = procfs::boot_time_secs().ok().map(|boot| Duration::from_secs(boot) + since_boot);
        }
        if let Ok(io) = process.io() {
            (state.storage_read_bytes, state.storage_written_bytes) = (Some(io.read_bytes), Some(io.write_bytes));
        }
        state.open_fds = process.fd_count().ok().and_then(|count| u64::try_from(count).ok());
        if let Ok(limits) = process.limits() {
            state.max_fds = Some(match limits.max_open_files.soft_limit {
                LimitValue::Value(limit) => limit,
                LimitValue::Unlimited => u64::MAX,
            });
        }
        let running = process.tasks().into_iter().flatten().filter_map(|task| {
            let task = task.ok()?;
            let stat = task.stat().ok()?;
            let name = if task.tid == process.pid() { MAIN_THREAD.to_owned() } else { stat.comm };
            Some((task.tid, Thread { name, cpu: duration_of_ticks(stat.utime + stat.stime) }))
        });
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        state.cpu_by_thread = threads.update(running.collect());
    }
}

/// One thread that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thread {
    name: String,
    cpu: Duration,
}

/// Adds up the processor time of threads of the same name, also of those that have ended since, so that no sum decreases.
/// A node has fewer than a dozen names, and they are those of its own code.
#[derive(Debug, Default)]
struct ThreadTimes {
    running: BTreeMap<i32, Thread>,
    ended: BTreeMap<String, Duration>,
}

impl ThreadTimes {
    /// Takes the threads that run now. Returns the sums.
    fn update(&mut self, running: BTreeMap<i32, Thread>) -> BTreeMap<String, Duration> {
        for (id, before) in std::mem::replace(&mut self.running, running) {
            // The system gives an id again. A thread may also be renamed: its time counts under the name that it has now.
            let goes_on = self.running.get(&id).is_some_and(|now| now.cpu >= before.cpu);
            if !goes_on {
                *self.ended.entry(before.name).or_default() += before.cpu;
            }
        }
        let mut sums = self.ended.clone();
        for thread in self.running.values() {
            *sums.entry(thread.name.clone()).or_default() += thread.cpu;
        }
        sums
    }
}

/// To the nanosecond, unlike the ticks of `/proc`.
fn processor_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok().map(Duration::from)
}

fn duration_of_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1_000 / procfs::ticks_per_second().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(threads: &[(i32, &str, u64)]) -> BTreeMap<i32, Thread> {
        let thread = |name: &str, ms| Thread { name: name.to_owned(), cpu: Duration::from_millis(ms) };
        threads.iter().map(|(id, name, ms)| (*id, thread(name, *ms))).collect()
    }

    fn sums(times: &mut ThreadTimes, running: &[(i32, &str, u64)]) -> Vec<(String, u128)> {
        times.update(threads(running)).into_iter().map(|(name, cpu)| (name, cpu.as_millis())).collect()
    }

    #[test]
    fn the_time_of_threads_of_one_name_is_added_up_and_never_decreases() {
        let named = |name: &str, ms| (name.to_owned(), ms);
        let mut times = ThreadTimes::default();
        assert_eq!(
            sums(&mut times, &[(1, "main", 500), (2, "reader", 30), (3, "reader", 40)]),
            [named("main", 500), named("reader", 70)]
        );
        // One reader has ended, and its id belongs to a younger thread.
        assert_eq!(
            sums(&mut times, &[(1, "main", 600), (2, "worker", 10), (3, "reader", 50)]),
            [named("main", 600), named("reader", 80), named("worker", 10)]
        );
        assert_eq!(
            sums(&mut times, &[(1, "main", 600)]),
            [named("main", 600), named("reader", 80), named("worker", 10)]
        );
    }

    #[tokio::test]
    async fn this_process_and_its_disk_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ledger.db"), [0; 4_096]).expect("a file");
        let reader = ProcessReader::new(folder.path().to_owned());
        let first = reader.read().await;
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let started = first.started.expect("shown");
        assert!(started < clock && clock - started < Duration::from_secs(86_400), "{started:?} at {clock:?}");
        assert_eq!(first.file_bytes, BTreeMap::from([("ledger.db", 4_096)]));
        let (free, size) = (first.disk_free_bytes.expect("shown"), first.disk_size_bytes.expect("shown"));
        assert!(free <= size && size > 0);
        assert!(first.resident_bytes.expect("shown") > 1 << 20 && first.virtual_bytes >= first.resident_bytes);
        assert!(first.open_fds.expect("shown") > 2 && first.max_fds >= first.open_fds);
        assert!(first.threads.expect("shown") >= 2, "{first:?}");
        assert!(first.cpu_by_thread.contains_key(MAIN_THREAD), "{first:?}");
        while reader.read().await.cpu.expect("shown") <= first.cpu.expect("shown") {}
    }

    #[tokio::test]
    async fn what_is_written_to_the_disk_is_counted() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder on a disk");
        let reader = ProcessReader::new(folder.path().to_owned());
        let before = reader.read().await.storage_written_bytes.expect("shown");
        fs::write(folder.path().join("file"), vec![7; 1 << 20]).expect("a file");
        let after = reader.read().await.storage_written_bytes.expect("shown");
        assert!(after - before >= 1 << 20, "{before} and then {after}");
    }
}
