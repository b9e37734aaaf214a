//! A client's request while it is handled: its id, and the response that is made of its handler's result.

use std::convert::Infallible;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::time::Instant;

use crate::request_id::RequestId;
use quorapay_api::headers;

use super::answer::{AsOf, HttpAnswer};
use super::metrics::Route;
use super::problem::Problem;
use super::state::Api;

/// A request with the state of its handler.
pub(super) struct Call<S = Api> {
    state: S,
    id: RequestId,
    /// When its head had arrived.
    began: Instant,
}

impl<S: AsRef<Api> + Clone + Send + Sync> FromRequestParts<S> for Call<S> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let id = state.as_ref().requests.id(parts.headers.get(headers::REQUEST_ID.lower));
        Ok(Self { state: state.clone(), id, began: Instant::now() })
    }
}

impl<S> Deref for Call<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S: AsRef<Api>> Call<S> {
    /// The state of version 1.
    pub(super) fn api(&self) -> &Api {
        self.state.as_ref()
    }

    /// What the logs name the request by.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Makes a response of a handler's result, with the headers of every answer, counts it, and logs it if that matters.
    pub(super) async fn respond(
        &self,
        route: Route,
        handler: impl Future<Output = Result<HttpAnswer, Problem>>,
    ) -> Response {
        let api = self.api();
        let explained = |problem: Problem| problem.while_rebuilding(api.node.status().views_rebuilding);
        let mut answer = handler.await.unwrap_or_else(|problem| explained(problem).named(&self.id).into_answer());
        if answer.lacks_as_of() {
            answer = answer.with_as_of(AsOf::of_status(&api.node.status()));
        }
        let (status, took) = (answer.status(), self.began.elapsed());
        api.metrics.count(route, status, took);
        let logged = api.requests.answered(&self.id, route, status, took);
        // A made id becomes a text only where somebody may look for it.
        let shown = logged || !status.is_success() || matches!(self.id, RequestId::Given(_));
        answer.into_response(&api.name, shown.then(|| self.id.header()))
    }
}

impl Call {
    /// Makes a response of a handler's result. Errors are problems.
    pub(super) async fn answer(
        &self,
        route: Route,
        handler: impl Future<Output = Result<HttpAnswer, Problem>>,
    ) -> Response {
        self.respond(route, handler).await
    }
}
