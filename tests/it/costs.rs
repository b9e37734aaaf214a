//! Measures what a reader that holds an old state costs the payments, and what a dead follower that is far behind costs an
//! idle leader. Nothing is asserted about the figures, because they depend on the machine. `make held-readers` and
//! `make idle-cost` run these measurements in a release build on an otherwise idle machine.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::bench::bench;
use crate::support::cluster::{Cluster, TIMEOUT, wait_until};

/// Interval between two looks at the sizes of the WAL files.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// For how long an idle leader is watched.
const IDLE: Duration = Duration::from_secs(30);
/// Payments in each request that fills a cluster.
const FILL_BATCH: u64 = 1_000;
/// Units of processor time in `/proc/PID/stat` per second: the same on every Linux, whatever its kernel is built with.
const TICKS_PER_SECOND: u32 = 100;

#[test]
#[ignore = "measures; run by make held-readers"]
fn measure_payments_while_readers_hold_an_old_state_of_every_ledger() {
    let (rate, seconds) = (setting("RATE", 1_000), setting("SECONDS", 60));
    let cluster = Cluster::start(3);
    println!("{rate} payments/s for {seconds} s each");
    println!("readers           p50        p99      p99.9        max   not paid   largest WAL, node by node");
    measure_payments(&cluster, "none", rate, seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut readers: Vec<SqliteConnection> =
        cluster.nodes.iter().map(|node| runtime.block_on(hold_reader(&node.data_dir))).collect();
    measure_payments(&cluster, "one on each", rate, seconds);
    for reader in readers.drain(..) {
        runtime.block_on(reader.close()).unwrap();
    }
    let held = wal_sizes(&cluster);
    measure_payments(&cluster, "none again", rate, seconds);
    println!("WAL when the readers ended: {}; at the end: {}", megabytes(&held), megabytes(&wal_sizes(&cluster)));
}

/// Opens a read transaction, as another program that reads a ledger does.
async fn hold_reader(data_dir: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(data_dir.join("ledger.db")).read_only(true);
    let mut reader = options.connect().await.unwrap();
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    // The state is held from the first statement on.
    sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut reader).await.unwrap();
    reader
}

fn measure_payments(cluster: &Cluster, readers: &str, rate: u64, seconds: u64) {
    let (done, ended) = mpsc::channel::<()>();
    let (report, largest) = thread::scope(|scope| {
        let looking = scope.spawn(move || {
            let mut largest = wal_sizes(cluster);
            while ended.recv_timeout(LOOK_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = wal_sizes(cluster);
                largest.iter_mut().zip(now).for_each(|(most, size)| *most = size.max(*most));
            }
            largest
        });
        let arguments = ["--rate", &rate.to_string(), "--duration", &format!("{seconds}s"), "--connections", "256"];
        let report = bench(cluster, 0..cluster.nodes.len(), &arguments);
        drop(done);
        (report, looking.join().unwrap())
    });
    let results = &report["results"];
    let ms = |name: &str| Duration::from_micros(results["latency_us"][name].as_u64().unwrap()).as_secs_f64() * 1e3;
    let count = |name: &str| results[name].as_u64().unwrap();
    let not_paid: u64 = ["refused", "errors", "unknown", "dropped"].map(count).iter().sum();
    println!(
        "{readers:<12} {:>6.2} ms {:>7.2} ms {:>7.2} ms {:>7.2} ms {not_paid:>10}   {}",
        ms("p50"),
        ms("p99"),
        ms("p99_9"),
        ms("max"),
        megabytes(&largest)
    );
}

fn wal_sizes(cluster: &Cluster) -> Vec<u64> {
    let size = |data_dir: &Path| fs::metadata(data_dir.join("ledger.db-wal")).map_or(0, |file| file.len());
    cluster.nodes.iter().map(|node| size(&node.data_dir)).collect()
}

fn megabytes(sizes: &[u64]) -> String {
    let tenths = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
    let shown: Vec<String> = sizes.iter().map(|bytes| tenths(*bytes)).collect();
    format!("{} MB", shown.join(", "))
}

#[test]
#[ignore = "measures; run by make idle-cost"]
fn measure_an_idle_leader_with_a_dead_follower_far_behind() {
    let entries = setting("ENTRIES", 100_000);
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    println!("leader idle, all nodes up, empty ledger: {}", processor_time(&cluster, leader));
    let [dead, other] = cluster.followers()[..] else { panic!("two followers") };
    cluster.kill(dead);
    let (requests, batch) = (entries.to_string(), FILL_BATCH.to_string());
    let fill = ["--requests", &requests, "--batch", &batch, "--connections", "4", "--deadline-ms", "60000"];
    let filled = bench(&cluster, leader..leader + 1, &fill);
    assert!(filled["results"]["ok"].as_u64().unwrap() > 0, "{filled}");
    cluster.wait_caught_up(other, leader);
    assert_eq!(cluster.leader(), leader, "the same node leads");
    println!("leader idle, a follower dead and {entries} payments behind: {}", processor_time(&cluster, leader));
    cluster.restart(dead);
    wait_for_all_entries(&cluster, dead, leader);
    assert_eq!(cluster.wait_ready(), leader, "the same node leads");
    println!("leader idle, all nodes up and caught up: {}", processor_time(&cluster, leader));
}

/// Waits as long as the node makes progress.
fn wait_for_all_entries(cluster: &Cluster, node: usize, leader: usize) {
    let goal = cluster.nodes[leader].last_entry().0;
    let node = &cluster.nodes[node];
    wait_until("the node answers", || node.try_get("/livez").is_some());
    let (mut best, mut since) = (0, Instant::now());
    while best < goal {
        let applied = node.try_get("/livez").map_or(0, |answer| answer.number("Quorapay-Index"));
        if applied > best {
            (best, since) = (applied, Instant::now());
        }
        assert!(since.elapsed() < TIMEOUT, "no progress at {best} of {goal}");
        thread::sleep(LOOK_INTERVAL);
    }
}

/// What a process uses of one processor while nothing is asked of it.
fn processor_time(cluster: &Cluster, node: usize) -> String {
    let pid = cluster.nodes[node].pid();
    let (before, began) = (ticks(pid), Instant::now());
    thread::sleep(IDLE);
    let used = Duration::from_secs(ticks(pid) - before) / TICKS_PER_SECOND;
    let share = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    format!("{} ms of processor time in {} s ({share:.1} % of a core)", used.as_millis(), IDLE.as_secs())
}

/// User and system time of a process.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field, a name in parentheses, may contain spaces. User and system time are the 14th and the 15th.
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
