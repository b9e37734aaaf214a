//! Makes what a run reads, and reads at its end what it made.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::BenchError;
use super::plan::{Plan, Read, Workload};
use super::requests::{PAYER, Readable, receiver, same_key_account};
use quorapay_client::{Client, ClientError, NewPayment, Outcome};
use quorapay_core::domain::{AccountId, IdempotencyKey, MinorUnits};

/// Payments that are made at the same time before the run.
const CONCURRENT: usize = 64;

/// A payment before the run may take this long, also on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(10);

/// Makes one payment for each account and returns what a run of this plan reads; nothing if it reads nothing.
///
/// # Errors
/// [`BenchError::NotPrepared`] with the first payment that was not made.
pub(super) async fn prepare(plan: &Plan) -> Result<Arc<[Readable]>, BenchError> {
    let Workload::Read(read, consistency) = plan.workload else { return Ok(Arc::default()) };
    let not_prepared = |error: ClientError| BenchError::NotPrepared(error.to_string());
    let client = Client::with_access(&plan.urls, DEADLINE, &plan.access).map_err(not_prepared)?;
    let client = &client;
    let payments = stream::iter(0..plan.accounts).map(|number| async move {
        let to = receiver(plan, number);
        let key = IdempotencyKey::parse(&format!("{}-made-{number}", plan.run_id)).expect("a UUID and digits");
        let account = |text: &str| AccountId::parse(text).expect("a literal with digits");
        let payment = NewPayment::new(account(PAYER), account(&to), plan.amount, plan.currency);
        match client.pay(&key, &payment).await.map_err(not_prepared)? {
            Outcome::Committed(done) => Ok((done.value.id.to_string(), to)),
            Outcome::Refused(problem) => Err(BenchError::NotPrepared(problem.to_string())),
            Outcome::Unknown { key, .. } => Err(BenchError::NotPrepared(format!("the outcome of {key} is unknown"))),
        }
    });
    let made: Vec<(String, String)> = payments.buffered(CONCURRENT).try_collect().await?;
    let consistency = consistency.name();
    let readable = |(payment, account): (String, String)| match read {
        Read::PaymentById => {
            Readable { path: format!("/v1/payments/{payment}?consistency={consistency}"), id: Some(payment) }
        }
        Read::Account => {
            Readable { path: format!("/v1/accounts/{account}?consistency={consistency}"), id: Some(account) }
        }
        Read::List => Readable { path: format!("/v1/payments?consistency={consistency}"), id: None },
    };
    Ok(made.into_iter().map(readable).collect())
}

/// What the account has that receives everything if all callers send the same keys; `None` if it cannot be read.
pub(super) async fn received(plan: &Plan) -> Option<MinorUnits> {
    let client = Client::with_access(&plan.urls, DEADLINE, &plan.access).ok()?;
    let account = AccountId::parse(&same_key_account(plan)).expect("a literal and a UUID");
    let account = client.account(&account).await.ok()?;
    account.balances.iter().find(|balance| balance.currency == plan.currency).map(|balance| balance.posted)
}
