//! A test of the simulation itself: the sweep must find each bug of `quorapay_core::planted`.
//!
//! `PLANTED=name SEED=n` replays one catch. With `PLANTED_TABLE=file` the table is written between that file's markers.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use quorapay_core::planted::{ALL, Bug, select};

use super::runs::{Failure, failure, from_environment, sweep};

/// A bug that is not found within this number of seeds fails the test.
const MAX_SEEDS: u64 = 12_000;
/// Seeds of one step. The result is the lowest seed of the first step that finds the bug.
const STEP: u64 = 50;

const BEGIN: &str = "<!-- planted: begin -->";
const END: &str = "<!-- planted: end -->";

struct Catch {
    bug: Bug,
    first: Option<Failure>,
    seconds: f64,
}

fn steps(seeds: u64) -> impl Iterator<Item = Range<u64>> {
    (0..seeds.div_ceil(STEP)).map(move |step| 1 + step * STEP..1 + ((step + 1) * STEP).min(seeds))
}

fn search_for(bug: Bug, max_seeds: u64) -> Catch {
    let began = Instant::now();
    // A step is completed even after its first failure, so that the result does not depend on the number of processors.
    let first = steps(max_seeds).find_map(|seeds| {
        let (failures, _) = sweep(seeds, usize::MAX, || select(Some(bug)));
        failures.into_iter().next()
    });
    Catch { bug, first, seconds: began.elapsed().as_secs_f64() }
}

/// `no catch up` for `NoCatchUp`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words.replace("zoo keeper", "ZooKeeper")
}

fn table(catches: &[Catch]) -> String {
    let mut table = "| bug | seeds | caught by | replay |\n|---|---|---|---|\n".to_owned();
    for Catch { bug, first, .. } in catches {
        let name = format!("{bug:?}");
        let row = match first {
            Some(failure) => {
                let (seed, check) = (failure.seed, failure.check());
                format!("| {} | {seed} | `{check}` | `make planted PLANTED={name} SEED={seed}` |", spaced(&name))
            }
            None => format!("| {} | not caught | | |", spaced(&name)),
        };
        writeln!(table, "{row}").expect("writing to a string cannot fail");
    }
    table
}

fn write_table(file: &str, table: &str) {
    let text = std::fs::read_to_string(file).expect("the file of the table can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the file has the first marker");
    let (_, after) = rest.split_once(END).expect("the file has the second marker");
    std::fs::write(file, format!("{before}{BEGIN}\n{table}{END}{after}")).expect("the file can be written");
}

fn chosen() -> Vec<Bug> {
    let name = std::env::var("PLANTED").unwrap_or_default();
    let chosen: Vec<Bug> = ALL.iter().copied().filter(|bug| name.is_empty() || format!("{bug:?}") == name).collect();
    assert!(!chosen.is_empty(), "no planted bug is called {name}: there are {ALL:?}");
    chosen
}

#[test]
fn every_planted_bug_is_caught() {
    let chosen = chosen();
    if let (&[bug], Some(seed)) = (chosen.as_slice(), from_environment("SEED")) {
        select(Some(bug));
        let caught = failure(seed, std::env::var_os("TRACE").is_some(), &AtomicU64::new(0));
        select(None);
        eprintln!("{}", caught.unwrap_or_else(|| panic!("seed {seed} does not catch {bug:?}")).report());
        return;
    }
    let max_seeds = from_environment("N").unwrap_or(MAX_SEEDS);
    let mut catches = Vec::new();
    for bug in chosen {
        let catch = search_for(bug, max_seeds);
        let found = catch.first.as_ref().map_or_else(
            || format!("survived {max_seeds} seeds"),
            |failure| format!("seed {}, {}: {:.100}", failure.seed, failure.check(), failure.reason),
        );
        eprintln!("{bug:?}: {found} ({:.1} s)", catch.seconds);
        catches.push(catch);
    }
    let table = table(&catches);
    eprintln!("\n{table}");
    if let Some(file) = std::env::var_os("PLANTED_TABLE") {
        write_table(&file.to_string_lossy(), &table);
    }
    let survivors: Vec<Bug> = catches.iter().filter(|catch| catch.first.is_none()).map(|catch| catch.bug).collect();
    assert!(survivors.is_empty(), "planted bugs that {max_seeds} seeds did not catch: {survivors:?}");
}
