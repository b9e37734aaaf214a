//! `/openapi.json` and `/docs`: the API's description, and a page that shows it and loads nothing from other hosts.

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::Response;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::HttpAnswer;
use super::call::Call;
use super::metrics::Route;
use super::openapi;
use super::state::Api;

/// The page may load its own style and script and read the description, and nothing else. It may not be framed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(description))
        .routes(routes!(page))
        .route("/docs/page.css", get(style))
        .route("/docs/page.js", get(script))
}

/// This description
///
/// OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", tag = "Node", operation_id = "openapi",
    security(("api_key" = [])),
    responses((status = 200, description = "The description.", body = Object), openapi::AnyKeyProblems),
)]
async fn description(api: Call) -> Response {
    api.answer(Route::Description, async { Ok(HttpAnswer::fixed(JSON, api.description.to_vec())) }).await
}

/// Reference
///
/// This description as a page for people.
#[utoipa::path(
    get, path = "/docs", tag = "Node", operation_id = "docs",
    security(("api_key" = [])),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html"),
        openapi::AnyKeyProblems,
    ),
)]
async fn page(api: Call) -> Response {
    file(&api, HTML, include_bytes!("page.html")).await
}

async fn style(api: Call) -> Response {
    file(&api, CSS, include_bytes!("page.css")).await
}

async fn script(api: Call) -> Response {
    file(&api, JAVASCRIPT, include_bytes!("page.js")).await
}

async fn file(api: &Call, content_type: HeaderValue, content: &'static [u8]) -> Response {
    let mut response =
        api.answer(Route::Reference, async { Ok(HttpAnswer::fixed(content_type, content.to_vec())) }).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    headers.insert(REFERRER_POLICY, NO_REFERRER);
    response
}
