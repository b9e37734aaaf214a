//! Checks the orders that payments name.

use std::collections::BTreeMap;

use quorapay_core::domain::{
    Bank, MinorUnits, Operation, OrderId, OrderState, PaymentOutcome, PaymentRequest, Rejection,
};

/// Compares the state of the order that each payment names as the one before it with the bank of the audit, which has
/// every order. A bank accepts what a payment says of an order that it does not have.
pub(super) fn check_orders(bank: &Bank, operation: &Operation) -> Result<(), String> {
    let payments: Vec<(&PaymentRequest, Option<OrderState>, PaymentOutcome)> = match operation {
        Operation::Payment(payment) => vec![(&payment.request, payment.order_before, payment.outcome)],
        Operation::Batch(batch) => {
            batch.items.iter().map(|item| (&item.request, item.order_before, item.outcome)).collect()
        }
        Operation::Account(_)
        | Operation::PaymentChange(_)
        | Operation::Expiry(_)
        | Operation::KeyFence(_)
        | Operation::ApiKey(_) => Vec::new(),
    };
    let mut here: BTreeMap<&OrderId, OrderState> = BTreeMap::new();
    for (request, said, outcome) in payments {
        let Some(order) = &request.order else { continue };
        let known = here.get(&order.id).copied().or_else(|| bank.order(&order.id));
        if known != said {
            return Err(format!("order {} was written as {said:?}, it was {known:?}", order.id));
        }
        // A payment of an aborted batch counted until the batch was undone.
        let charged = matches!(
            outcome,
            PaymentOutcome::Succeeded { .. }
                | PaymentOutcome::Authorized { .. }
                | PaymentOutcome::Rejected(Rejection::BatchAborted)
        );
        if charged {
            let used = known.map_or(MinorUnits::ZERO, |state| state.used).checked_add(request.amount);
            let used = used.ok_or_else(|| format!("order {} is charged more than can be counted", order.id))?;
            here.insert(&order.id, OrderState { currency: request.currency, total: order.total, used });
        }
    }
    Ok(())
}
