//! Whole nodes in one thread: the runtime, the routers of clients and peers, the coordination, and real SQLite files, over a
//! simulated network and a simulated ZooKeeper, on clocks that the run moves. A seed determines everything; the same seed
//! gives the same history, byte for byte.
//!
//! The simulation in `tests/sim` runs the core alone and hundreds of times as fast; this one runs what surrounds it. The
//! clients are those of `quorapay chaos`, and its checker judges.

mod coordination;
mod disk;
mod faults;
mod host;
mod lasting;
mod network;
mod world;
mod zookeeper;

use std::env;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The seeds of a short run. `N=` runs more, `FIRST=` begins at another, `SEED=` runs one.
#[test]
fn a_sweep_of_whole_nodes_keeps_every_guarantee() {
    if env::var_os("TRACE").is_some() {
        tracing_subscriber::fmt().with_env_filter("info,quorapay_node=debug").without_time().init();
    }
    let (first, count) = match env::var("SEED") {
        Ok(_) => (number("SEED", 0), 1),
        Err(_) => (number("FIRST", 1), number("N", 20)),
    };
    let mut committed = 0;
    for seed in first..first + count {
        println!("seed {seed}; run it again with SEED={seed} make nodes");
        committed += world::run(seed).committed;
    }
    println!("{count} seeds, {committed} writes committed");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let seed = number("SEED", 7);
    let (first, second) = (world::run(seed), world::run(seed));
    assert_eq!(first.trace, second.trace);
    for (line, (first, second)) in first.history.lines().zip(second.history.lines()).enumerate() {
        assert_eq!(first, second, "line {}", line + 1);
    }
    assert_eq!(first, second);
}
