//! Measures what the views cost, as they grow:
//! `cargo test --release -p quorapay-node --lib views::measure -- --ignored --nocapture`, with `PAYMENTS` and `CHUNK`.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::segment::SegmentState;
use super::tests::opened;
use super::*;
use quorapay_core::domain::{KeyDigest, LogIndex, OperationRequest, PaymentChangeKind};
use quorapay_core::replication::sample::{Chain, account, hold, payment};

/// Steps of merging after each chunk, as the projector takes them.
const MERGE_STEPS: usize = 6;
/// Accounts that pay, and as many that receive.
const ACCOUNTS: u64 = 5_000;
/// Unused keys that are tried against the filters.
const TRIED: u64 = 200_000;

/// What was measured since the last line.
#[derive(Default)]
struct Costs {
    entries: u64,
    processor: Duration,
    written: u64,
    longest_chunk: Duration,
    longest_step: Duration,
    most_filter_bytes: f64,
    most_errors: f64,
    most_segments: usize,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

fn of_proc(file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Payments between ten thousand accounts; every tenth holds money for an order, and is captured by the next entry.
fn append(chain: &mut Chain, number: u64) {
    let (from, to) = (number.wrapping_mul(7_919) % ACCOUNTS, number.wrapping_mul(104_729) % ACCOUNTS);
    let (from, to) = (format!("external:{from}"), format!("customer-{to}"));
    if number.is_multiple_of(10) {
        chain.request(hold(&from, &to, 100, Some((&format!("order-{number:09}"), 100))));
        let payment = chain.last_payment(0);
        chain.request(OperationRequest::PaymentChange { payment, change: PaymentChangeKind::Capture(None) });
    } else {
        chain.request(payment(&from, &to, 100, None, None));
    }
}

fn unused(number: u64) -> KeyDigest {
    let mixed = u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    KeyDigest((mixed ^ (mixed >> 61)).wrapping_mul(0x2545_f491_4f6c_dd1d_0000_0000_0000_0001).to_be_bytes())
}

fn errors_of(writer: &ViewsWriter, tried: u64) -> f64 {
    let filters = writer.filters();
    let errors = (0..tried).filter(|number| filters.keys.may_contain(&unused(*number).0)).count();
    errors as f64 / tried as f64 * 100.0
}

#[tokio::test]
#[ignore = "measures"]
async fn measure_what_payments_cost_as_the_views_grow() {
    let (payments, chunk) = (setting("PAYMENTS", 1_000_000), setting("CHUNK", 16_384));
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    let (mut chain, mut costs, mut number) = (Chain::begun(), Costs::default(), 0);
    println!(
        "payments  us/entry  B/entry  chunk ms  step ms  segments  B/key (most)  errors % (most)  file B/entry  RSS MB"
    );
    while number < payments {
        while (chain.entries.len() as u64) < chunk {
            append(&mut chain, number);
            number += 1;
        }
        project(&mut views.writer, &chain, &mut costs).await;
        chain.entries.clear();
        chain.bank.forget_up_to(chain.last().index, usize::MAX);
        if number % 1_000_000 < chunk {
            print_line(&views.writer, number, &dir, &costs);
            costs = Costs::default();
        }
    }
    lookups(&mut views, number).await;
    let began = Instant::now();
    let again = opened(dir.path()).await;
    println!("opened in {:?}, {} MB of filters", began.elapsed(), again.writer.filters().keys.size() >> 20);
}

async fn project(writer: &mut ViewsWriter, chain: &Chain, costs: &mut Costs) {
    let (processor_before, written_before) = (processor(), of_proc("/proc/self/io", "write_bytes:"));
    let began = Instant::now();
    writer.project(&chain.entries).await.unwrap();
    costs.longest_chunk = costs.longest_chunk.max(began.elapsed());
    for _ in 0..MERGE_STEPS {
        let began = Instant::now();
        let more = writer.merge_step().await.unwrap();
        costs.longest_step = costs.longest_step.max(began.elapsed());
        if !more {
            break;
        }
    }
    costs.entries += chain.entries.len() as u64;
    costs.processor += processor() - processor_before;
    costs.written += of_proc("/proc/self/io", "write_bytes:") - written_before;
    let keys: u64 = writer.segments().in_state(SegmentState::Whole).map(|segment| segment.keys).sum();
    costs.most_filter_bytes = costs.most_filter_bytes.max(writer.filters().keys.size() as f64 / keys as f64);
    costs.most_errors = costs.most_errors.max(errors_of(writer, TRIED / 20));
    costs.most_segments = costs.most_segments.max(writer.segments().in_state(SegmentState::Whole).count());
}

fn print_line(writer: &ViewsWriter, number: u64, dir: &tempfile::TempDir, costs: &Costs) {
    let keys: u64 = writer.segments().in_state(SegmentState::Whole).map(|segment| segment.keys).sum();
    let file = std::fs::metadata(dir.path().join("views.db")).unwrap().len();
    println!(
        "{number:>8}  {:>8.2}  {:>7}  {:>8.1}  {:>7.1}  {:>8}  {:>5.3} ({:.3})  {:>6.2} ({:.2})  {:>12.1}  {:>6}",
        costs.processor.as_secs_f64() * 1e6 / costs.entries as f64,
        costs.written / costs.entries,
        costs.longest_chunk.as_secs_f64() * 1e3,
        costs.longest_step.as_secs_f64() * 1e3,
        costs.most_segments,
        writer.filters().keys.size() as f64 / keys as f64,
        costs.most_filter_bytes,
        errors_of(writer, TRIED),
        costs.most_errors,
        file as f64 / keys as f64,
        of_proc("/proc/self/status", "VmRSS:") >> 10,
    );
}

/// What reads cost.
async fn lookups(views: &mut OpenViews, payments: u64) {
    let used = |number: u64| {
        let key = format!("key-{:08}", 3 + number % payments);
        quorapay_core::domain::IdempotencyKey::parse(&key).unwrap().digest()
    };
    let began = Instant::now();
    for number in 0..1_000 {
        assert!(views.reader.key(used(number * 9_973)).await.unwrap().is_some());
    }
    println!("a used key: {:?}", began.elapsed() / 1_000);
    let began = Instant::now();
    let digests: Vec<_> = (0..1_000).map(|number| used(number * 9_973)).collect();
    views.reader.keys(digests).await.unwrap();
    println!("a used key among a thousand: {:?}", began.elapsed() / 1_000);
    let began = Instant::now();
    for number in 0..1_000 {
        let id = account(&format!("customer-{number}"));
        assert_eq!(views.reader.account_entries(&id, LogIndex(u64::MAX), 50).await.unwrap().len(), 50);
    }
    println!("the newest 50 entries of an account: {:?}", began.elapsed() / 1_000);
}
