//! Rows on their way to the ledger, batch by batch.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::report::{RefusedRow, Report};
use super::resume::Counts;
use super::source::hex_128;
use crate::cli::{CliError, ExitCode};
use quorapay_client::{
    BatchItem, BatchLines, BatchLinesFull, BatchResult, Client, ClientError, Done, Outcome, PaymentStatus, Problem,
};
use quorapay_core::domain::IdempotencyKey;

/// A row with its key, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    pub(super) line: u64,
    pub(super) number: u64,
    pub(super) key: IdempotencyKey,
    pub(super) item: BatchItem,
}

/// Rows that are sent together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    rows: Vec<Keyed>,
    lines: BatchLines,
    keys: HashSet<IdempotencyKey>,
}

impl Batch {
    /// Adds a row, or gives it back if it belongs to the next batch: this one is full, or has its key already. A node
    /// refuses a batch that has a key twice, but answers the same key in a later one as what it is, a repetition.
    pub(super) fn push(&mut self, row: Keyed) -> Result<(), Box<Keyed>> {
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

    /// Sends the rows and notes what became of each.
    ///
    /// # Errors
    /// [`CliError::Stopped`] if not every row is known to be decided. To send the same rows again is safe.
    pub(super) async fn send(mut self, client: &Client, report: &mut Report) -> Result<Counts, CliError> {
        let mut counts = Counts::default();
        while !self.rows.is_empty() {
            let key = self.key();
            match client.batch_lines(&key, &self.lines, false).await {
                Ok(Outcome::Committed(done)) => {
                    self.note(&done, report, &mut counts)?;
                    break;
                }
                Ok(Outcome::Refused(problem)) => {
                    let at = problem.item.filter(|at| *at < self.rows.len());
                    let at = at.ok_or_else(|| stopped(&problem, ExitCode::Failed))?;
                    let row = self.rows.remove(at);
                    report.add(refused_for_its_form(&row, &problem))?;
                    counts.refused += 1;
                    self.write_again().expect("fewer rows fit where more did");
                }
                Ok(Outcome::Unknown { .. }) => {
                    let why = "the outcome of the last batch is unknown";
                    return Err(stopped(&why, ExitCode::OutcomeUnknown));
                }
                Err(error @ ClientError::Unreachable { .. }) => return Err(stopped(&error, ExitCode::Unreachable)),
                Err(error) => return Err(stopped(&error, ExitCode::Failed)),
            }
        }
        Ok(counts)
    }

    /// A batch's own key follows from its content: the same rows are the same batch.
    fn key(&self) -> IdempotencyKey {
        let digest = hex_128(&Sha256::digest(self.lines.as_bytes()));
        IdempotencyKey::parse(&format!("import-batch-{digest}")).expect("hexadecimal digits are printable")
    }

    fn write_again(&mut self) -> Result<(), BatchLinesFull> {
        self.lines = BatchLines::default();
        self.rows.iter().try_for_each(|row| self.lines.push(&row.item))
    }

    fn note(&self, done: &Done<BatchResult>, report: &mut Report, counts: &mut Counts) -> Result<(), CliError> {
        let results = &done.value.results;
        if results.len() != self.rows.len() {
            let detail = format!("{} rows were sent, {} results came back", self.rows.len(), results.len());
            return Err(CliError::Failed(detail));
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
                code: result.payment.rejection.clone().unwrap_or_else(|| "rejected".to_owned()),
                field: None,
                detail: None,
                payment_id: Some(result.payment.id.clone()),
            })?;
        }
        Ok(())
    }
}

fn refused_for_its_form(row: &Keyed, problem: &Problem) -> RefusedRow {
    RefusedRow {
        line: row.line,
        row: row.number,
        idempotency_key: row.key.to_string(),
        code: problem.code.clone(),
        field: problem.field.clone(),
        detail: problem.detail.clone(),
        payment_id: None,
    }
}

fn stopped(why: &dyn std::fmt::Display, code: ExitCode) -> CliError {
    CliError::Stopped { detail: format!("{why}; the same command goes on where this one stopped"), code }
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

    fn row(number: u64, key: &str) -> Keyed {
        let account = |id| AccountId::parse(id).unwrap();
        let key = IdempotencyKey::parse(key).unwrap();
        let amount = MinorUnits::new(i64::try_from(number).unwrap());
        let payment = NewPayment::new(account("a"), account("b"), amount, Currency::parse("USD").unwrap());
        Keyed { line: number + 1, number, item: BatchItem { idempotency_key: Some(key.clone()), payment }, key }
    }

    fn batch(rows: u64) -> Batch {
        let mut batch = Batch::default();
        (1..=rows).for_each(|number| batch.push(row(number, &format!("k{number}"))).unwrap());
        batch
    }

    async fn send(node: &FakeNode, batch: Batch) -> (Result<Counts, CliError>, Report) {
        let client = Client::new(std::slice::from_ref(&node.url), Duration::from_millis(800)).unwrap();
        let mut report = Report::open(None, None).unwrap();
        (batch.send(&client, &mut report).await, report)
    }

    #[test]
    fn a_key_that_the_batch_has_belongs_to_the_next() {
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
        let refused = &report.shown()[0];
        assert_eq!((refused.line, refused.row, refused.code.as_str()), (3, 2, "invalid_amount"));
        let keys: Vec<_> = node.received().into_iter().map(|request| request.key.unwrap()).collect();
        assert!(keys[0].starts_with("import-batch-") && keys[0] != keys[1], "{keys:?}");
    }

    #[tokio::test]
    async fn an_outcome_that_nobody_can_tell_stops_the_import_and_is_not_counted() {
        let node = FakeNode::start(|_| Reply::Drop);
        let (counts, _) = send(&node, batch(1)).await;
        assert!(matches!(counts.unwrap_err(), CliError::Stopped { code: ExitCode::OutcomeUnknown, .. }));
    }
}
