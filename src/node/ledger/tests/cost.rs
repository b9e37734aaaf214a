//! Measurements of cost; run optimised, with `--ignored --nocapture`.

use super::*;

/// Processor time of this process so far, all threads, in seconds; the kernel counts it in hundredths.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_ascii_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

#[tokio::test]
#[ignore = "measures"]
async fn rows_are_stored_at_a_few_microseconds_each() {
    let chain = Chain::of_payments(400_000);
    for batch in [1, 16, 64, 256, 4_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = opened(dir.path()).await;
        let rows = if batch == 1 { 10_000 } else { chain.entries.len() };
        let (begun, processor) = (std::time::Instant::now(), processor_seconds());
        for entries in chain.entries[..rows].chunks(batch) {
            let commit_index = entries[0].index.previous();
            let write = Persist { entries: entries.to_vec(), commit_index, ..Persist::default() };
            ledger.writer.persist(&[write]).await.unwrap();
            ledger.writer.checkpoint_if_due().await.unwrap();
        }
        let (written, processor_written) = (begun.elapsed().as_secs_f64(), processor_seconds() - processor);
        let (begun, processor) = (std::time::Instant::now(), processor_seconds());
        let last = LogIndex(u64::try_from(rows).unwrap());
        let mut from = LogIndex(1);
        while from <= last {
            let read = ledger.reader.entries(from, last, 4_096).await.unwrap();
            from = read.last().unwrap().index.next();
        }
        let (read, processor_read) = (begun.elapsed().as_secs_f64(), processor_seconds() - processor);
        let rows = f64::from(u32::try_from(rows).unwrap());
        let each = |seconds: f64| format!("{:.2} us", seconds * 1e6 / rows);
        println!("batches of {batch}: a row written {} ({} processor)", each(written), each(processor_written));
        println!("    read {} ({} processor)", each(read), each(processor_read));
    }
}

#[tokio::test]
#[ignore = "measures"]
async fn payments_of_batches_are_stored_and_read_at_about_a_microsecond_each() {
    let mut chain = Chain::begun();
    for number in 0..20 {
        let item = |at: i64| {
            item("external:card", &format!("customer-{}", at % 100), 100 + at, Some(&format!("key-{number}-{at}")))
        };
        chain.request(batch(false, (0..10_000).map(item).collect()));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let begun = std::time::Instant::now();
    for entry in &chain.entries {
        let write = Persist { entries: vec![Arc::clone(entry)], ..Persist::default() };
        ledger.writer.persist(&[write]).await.unwrap();
    }
    println!("a payment written {} ns", begun.elapsed().as_nanos() / 200_000);
    let begun = std::time::Instant::now();
    for entry in &chain.entries {
        assert_eq!(ledger.reader.entry(entry.index).await.unwrap().as_ref(), Some(entry));
    }
    println!("    read {} ns", begun.elapsed().as_nanos() / 200_000);
}
