//! Charges an order once and refunds a part of it. The outcome of both is known, whatever fails in between.
//!
//! `QUORAPAY_URL=http://127.0.0.1:7101,http://127.0.0.1:7102 cargo run --example checkout`

use std::error::Error;
use std::time::Duration;

use quorapay_client::{Client, NewPayment, Order, Outcome};
use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, MinorUnits, OrderId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let urls = std::env::var("QUORAPAY_URL").unwrap_or_else(|_| "http://127.0.0.1:7101".to_owned());
    let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
    println!("{}", checkout(&urls, "rust-1001").await?);
    Ok(())
}

/// Says what became of the order.
pub(crate) async fn checkout(urls: &[String], order: &str) -> Result<String, Box<dyn Error>> {
    let client = Client::new(urls, Duration::from_secs(10))?;
    let total = MinorUnits::new(15_075);
    let payment = NewPayment {
        order: Some(Order { id: OrderId::parse(order)?, total }),
        ..NewPayment::new(
            AccountId::parse("external:card")?,
            AccountId::parse("shop:42")?,
            total,
            Currency::parse("USD")?,
        )
    };
    // The key belongs to the intent and is stored with it: whoever repeats this, however often, charges once.
    let key = IdempotencyKey::parse(&format!("{order}-charge-1"))?;
    let paid = match client.pay(&key, &payment).await? {
        Outcome::Committed(done) => done.value,
        Outcome::Refused(problem) => return Ok(format!("not paid: {}", problem.code)),
        Outcome::Unknown { key, .. } => return Ok(format!("unknown: ask again under {key}")),
    };
    let key = IdempotencyKey::parse(&format!("{order}-refund-1"))?;
    match client.refund(&key, &paid.id, Some(MinorUnits::new(1_000))).await? {
        Outcome::Committed(done) => Ok(format!("paid {}, refunded {}", paid.amount, done.value.refunded)),
        Outcome::Refused(problem) => Ok(format!("paid, not refunded: {}", problem.code)),
        Outcome::Unknown { key, .. } => Ok(format!("paid, refund unknown: ask again under {key}")),
    }
}
