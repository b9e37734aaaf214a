//! The surfaces of two earlier systems, for clients that change nothing but the address: SyncPay and a fault-tolerant
//! payment ledger. `docs/COMPATIBILITY.md` maps their terms to this system's.
//!
//! ```text
//! syncpay   SyncPay's payments and its list of them
//! nodes     SyncPay's health, status, ping and settings
//! transfer  the fault-tolerant ledger's transfers
//! shared    what these handlers hold and share
//! amount    amounts as decimal numbers
//! ```
//!
//! They show the same ledger in other shapes. Nothing is decided here: requests become payments of version 1, and
//! answers are rendered from the same entries. Errors have the shape of those systems, `{error}`.

mod amount;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
#[cfg(test)]
pub(super) mod golden;
mod nodes;
mod shared;
mod syncpay;
mod transfer;

use axum::Router;
use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use shared::Compatible;

use super::state::Api;

/// All routes of the earlier systems. They have a state of their own, so that version 1 does not depend on it.
pub(super) fn router(api: Api, settings: Map<String, Value>, chaos_mode: bool) -> Router<Api> {
    let (routes, _) = routes().split_for_parts();
    routes.with_state(Compatible::new(api, settings, chaos_mode))
}

/// Their description.
pub(super) fn description() -> OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Compatible> {
    OpenApiRouter::new().merge(syncpay::router()).merge(nodes::router()).merge(transfer::router())
}
