//! Sends rows in batches and counts their outcomes.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::checkpoint::Counts;
use super::error::{ImportError, StopCause};
use super::report::{RefusalReport, RefusedRow};
use super::source::hex_128;
use quorapay_client::{
    BatchItem, BatchLines, BatchLinesFull, Client, ClientError, DecidedBatch, Done, Outcome, PaymentStatus, Problem,
};
use quorapay_core::domain::IdempotencyKey;

/// A row with its key, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct KeyedRow {
    pub(super) line: u64,
    pub(super) number: u64,
    pub(super) key: IdempotencyKey,
    pub(super) item: BatchItem,
}

/// Rows that are sent in one request.
#[derive(Debug, Default)]
pub(super) struct RowBatch {
    rows: Vec<KeyedRow>,
    lines: BatchLines,
    keys: HashSet<IdempotencyKey>,
}

impl RowBatch {
    /// Adds a row, or returns it if it belongs to the next batch, because this one is full or has its key already. A node
    /// refuses a batch that has a key twice, but answers the same key in a later batch as a replay.
    pub(super) fn push(&mut self, row: KeyedRow) -> Result<(), Box<KeyedRow>> {
        if self.keys.contains(&row.key) || self.lines.push(&row.item).is_err() {
            return Err(Box::new(row));
        }
        self.keys.insert(row.key.clone());
        self.rows.push(row);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Sends the rows and counts their outcomes.
    ///
    /// # Errors
    /// [`ImportError::Stopped`] if not every row is known to be decided. To send the same rows again is safe.
    pub(super) async fn send(mut self, client: &Client, report: &mut RefusalReport) -> Result<Counts, ImportError> {
        let mut counts = Counts::default();
        while !self.rows.is_empty() {
            let key = self.key();
            match client.batch_lines(&key, &self.lines, false).await {
                Ok(Outcome::Committed(done)) => {
                    self.count(&done, report, &mut counts)?;
                    break;
                }
                Ok(Outcome::Refused(problem)) => {
                    let at = problem.item.filter(|at| *at < self.rows.len());
                    let at = at.ok_or_else(|| ImportError::stopped(&problem, StopCause::Failed))?;
                    let row = self.rows.remove(at);
                    report.add(refused_by_node(&row, &problem))?;
                    counts.refused += 1;
                    self.rebuild_lines().expect("fewer rows fit where more did");
                }
                Ok(Outcome::Unknown { .. }) => {
                    let reason = "the outcome of the last batch is unknown";
                    return Err(ImportError::stopped(&reason, StopCause::OutcomeUnknown));
                }
                Err(error @ ClientError::Unreachable { .. }) => {
                    return Err(ImportError::stopped(&error, StopCause::Unreachable));
                }
                Err(error) => return Err(ImportError::stopped(&error, StopCause::Failed)),
            }
        }
        Ok(counts)
    }

    /// The batch's key is derived from its content: the same rows have the same key.
    fn key(&self) -> IdempotencyKey {
        let digest = hex_128(&Sha256::digest(self.lines.as_bytes()));
        IdempotencyKey::parse(&format!("import-batch-{digest}")).expect("hexadecimal digits are printable")
    }

    fn rebuild_lines(&mut self) -> Result<(), BatchLinesFull> {
        self.lines = BatchLines::default();
        self.rows.iter().try_for_each(|row| self.lines.push(&row.item))
    }

    fn count(
        &self,
        done: &Done<DecidedBatch>,
        report: &mut RefusalReport,
        counts: &mut Counts,
    ) -> Result<(), ImportError> {
        let results = &done.value.results;
        if results.len() != self.rows.len() {
            return Err(ImportError::ResultCount { rows: self.rows.len(), results: results.len() });
        }
        for (row, result) in self.rows.iter().zip(results) {
            counts.replayed += u64::from(done.replayed || result.replayed);
            if result.payment.status != PaymentStatus::Rejected {
                counts.succeeded += 1;
                continue;
            }
            counts.refused += 1;
            report.add(RefusedRow {
                line: row.line,
                row: row.number,
                idempotency_key: row.key.to_string(),
                code: result.payment.rejection.as_deref().unwrap_or("rejected").to_owned(),
                field: None,
                detail: None,
                payment_id: Some(result.payment.id.to_string()),
            })?;
        }
        Ok(())
    }
}

fn refused_by_node(row: &KeyedRow, problem: &Problem) -> RefusedRow {
    RefusedRow {
        line: row.line,
        row: row.number,
        idempotency_key: row.key.to_string(),
        code: problem.code.to_string(),
        field: problem.field.as_deref().map(str::to_owned),
        detail: problem.detail.as_deref().map(str::to_owned),
        payment_id: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use quorapay_client::NewPayment;
    use quorapay_client::fake::{FakeNode, Reply, payment_for, problem};
    use quorapay_core::domain::{AccountId, Currency, MinorUnits};

    fn row(number: u64, key: &str) -> KeyedRow {
        let account = |id| AccountId::parse(id).unwrap();
        let key = IdempotencyKey::parse(key).unwrap();
        let amount = MinorUnits::new(i64::try_from(number).unwrap());
        let payment = NewPayment::new(account("a"), account("b"), amount, Currency::parse("USD").unwrap());
        KeyedRow { line: number + 1, number, item: BatchItem { idempotency_key: Some(key.clone()), payment }, key }
    }

    fn batch(rows: u64) -> RowBatch {
        let mut batch = RowBatch::default();
        (1..=rows).for_each(|number| batch.push(row(number, &format!("k{number}"))).unwrap());
        batch
    }

    async fn send(node: &FakeNode, batch: RowBatch) -> (Result<Counts, ImportError>, RefusalReport) {
        let client = Client::new(std::slice::from_ref(&node.url), Duration::from_millis(800)).unwrap();
        let mut report = RefusalReport::open(None, None).unwrap();
        (batch.send(&client, &mut report).await, report)
    }

    #[test]
    fn a_row_whose_key_is_in_the_batch_already_belongs_to_the_next() {
        let mut batch = batch(2);
        assert_eq!(batch.push(row(3, "k1")).unwrap_err().number, 3);
        assert_eq!(batch.len(), 2);
    }

    #[tokio::test]
    async fn a_row_that_the_node_refuses_for_its_form_is_taken_out_and_the_rest_is_sent() {
        let node = FakeNode::start(|request| match request.lines.len() {
            3 => {
                let mut refusal = problem(400, "invalid_amount", false, "not_applied");
                refusal["item"] = json!(1);
                refusal["field"] = json!("payments[1].amount");
                Reply::Answer(400, refusal)
            }
            _ => {
                let results: Vec<_> = request.payments().iter().map(payment_for).collect();
                let (status, index) = ("decided", 9);
                Reply::Answer(
                    200,
                    json!({
                        "status": status, "index": index, "epoch": 1, "created_at": "2026-01-01T00:00:00Z",
                        "succeeded": 2, "rejected": 0, "results": results,
                    }),
                )
            }
        });
        let (counts, report) = send(&node, batch(3)).await;
        assert_eq!(counts.unwrap(), Counts { succeeded: 2, replayed: 0, refused: 1 });
        let refused = &report.first_rows()[0];
        assert_eq!((refused.line, refused.row, refused.code.as_str()), (3, 2, "invalid_amount"));
        let keys: Vec<_> = node.received().into_iter().map(|request| request.key.unwrap()).collect();
        assert!(keys[0].starts_with("import-batch-") && keys[0] != keys[1], "{keys:?}");
    }

    #[tokio::test]
    async fn an_unknown_outcome_stops_the_import_and_is_not_counted() {
        let node = FakeNode::start(|_| Reply::Drop);
        let (counts, _) = send(&node, batch(1)).await;
        assert!(matches!(counts.unwrap_err(), ImportError::Stopped { cause: StopCause::OutcomeUnknown, .. }));
    }
}
