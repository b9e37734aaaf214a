//! The metrics as JSON, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::registry::Registry;

use super::super::access::Refusals;
use super::super::samples;
use super::super::write_json::to_json;
use super::numbers::Now;
use super::summary::page;
use super::{ApiMetrics, Batches, Latest, Requests, Route};
use crate::runtime::BankSummary;

pub(in crate::http) fn numbers(shapes: &mut Vec<(String, Vec<u8>)>) {
    let requests = Requests::default();
    for took_us in [100, 700, 3_000, 90_000_000] {
        requests.count(Route::PaymentCreate, StatusCode::CREATED, Duration::from_micros(took_us));
    }
    requests.count(Route::Livez, StatusCode::IM_A_TEAPOT, Duration::ZERO);
    let metrics = ApiMetrics {
        registry: Arc::new(Registry::default()),
        requests: Arc::new(requests),
        batches: Arc::new(Batches::default()),
        latest: Arc::new(Latest::default()),
        refusals: Arc::new(Refusals::default()),
    };
    let bank = BankSummary { open_holds: 3, ..BankSummary::default() };
    let (status, process) = (samples::status(), samples::process());
    let now = Now { status: &status, bank: &bank, process: Some(&process) };
    shapes.push(("metrics json".to_owned(), to_json(&metrics.by_route(now), 0)));
    shapes.push(("metrics summary".to_owned(), page(&metrics.with_all_routes(now), "leader").into_bytes()));
    let simulated = Now { process: None, ..now };
    shapes.push(("metrics without a process".to_owned(), to_json(&metrics.by_route(simulated), 0)));
}
