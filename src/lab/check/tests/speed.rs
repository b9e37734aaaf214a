//! How long a check takes. Measures, and asserts only that the verdict is right.

use std::time::Instant;

use super::world::{World, payment};
use crate::check::Report;
use crate::check::{Verdict, judge, ledgers};

const OPERATIONS: u64 = 200_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: cargo test --lib check::tests::speed -- --ignored --nocapture"]
async fn two_hundred_thousand_operations_are_checked_quickly() {
    let mut world = World::new();
    for number in 0..OPERATIONS / 2 {
        let to = format!("customer:{}", number % 100);
        let index = world.write(&format!("run-{number}"), payment("external:card", &to, 1));
        let posted = i64::try_from(1 + number / 100).unwrap();
        world.read_account(&to, index, posted);
    }
    let stored = world.stored().await;
    let subjects = stored.subjects();
    let began = Instant::now();
    let mut report = Report::default();
    let truth = ledgers::read(&subjects.ledgers, &mut report).await.unwrap();
    truth.finish(&mut report);
    let ledgers_took = began.elapsed();
    let began = Instant::now();
    judge::judge(&subjects.histories, &truth, &mut report).unwrap();
    let histories_took = began.elapsed();
    report.conclude();
    assert_eq!(report.verdict, Verdict::Kept, "{report}");
    let bytes = std::fs::metadata(stored.history()).unwrap().len();
    eprintln!(
        "{OPERATIONS} operations ({} MB) judged in {histories_took:?}; 3 ledgers of {} entries read, verified and \
         replayed in {ledgers_took:?}",
        bytes >> 20,
        truth.last()
    );
}
