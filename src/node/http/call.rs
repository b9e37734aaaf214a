//! A client's request while it is handled: its id, and the response that is made of its handler's result.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::time::Instant;

use crate::request_id::RequestId;
use crate::runtime::{CommittedWrite, Consistency, SubmitError};
use crate::traces::{RequestTimes, TraceContext};
use quorapay_api::headers;
use quorapay_core::domain::{AccountId, LogIndex, OperationRequest, Proposal};
use quorapay_core::replication::NodeId;

use super::access::{Caller, Refusal};
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
    /// `None` if this node takes no traces.
    trace: Option<Box<CallTrace>>,
    caller: Caller,
}

/// What a trace of a write would need.
struct CallTrace {
    context: Option<TraceContext>,
    submitted: OnceLock<Submitted>,
}

/// When a write was handed to the node, and what became of it.
struct Submitted {
    parsed: Instant,
    decided: Instant,
    entry: Option<(NodeId, LogIndex)>,
}

impl<S: AsRef<Api> + Clone + Send + Sync> FromRequestParts<S> for Call<S> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let id = state.as_ref().requests.id(parts.headers.get(headers::REQUEST_ID.lower));
        let trace = state.as_ref().node.takes_traces().then(|| {
            let context = parts.headers.get(headers::TRACEPARENT.lower).and_then(|value| value.to_str().ok());
            Box::new(CallTrace { context: context.and_then(TraceContext::parse), submitted: OnceLock::new() })
        });
        let began = Instant::now();
        let caller = Caller::of(state.as_ref().callers, &state.as_ref().node, &parts.headers).await;
        Ok(Self { state: state.clone(), id, began, trace, caller })
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

    /// Hands a write to the node and waits for its entry.
    pub(super) async fn submit(&self, proposal: &Proposal, deadline: Instant) -> Result<CommittedWrite, SubmitError> {
        let parsed = self.trace.as_ref().map(|_| Instant::now());
        let submitted = self.api().node.submit(self.caller.id(), proposal, &self.id, deadline).await;
        if let (Some(trace), Some(parsed)) = (&self.trace, parsed) {
            let entry = submitted.as_ref().ok().map(|committed| (committed.leader.clone(), committed.entry.index));
            // A request hands over one write.
            let _ = trace.submitted.set(Submitted { parsed, decided: Instant::now(), entry });
        }
        submitted
    }

    /// Checks what this node can see of a write. The rest is checked where it is decided.
    pub(super) fn check_request(&self, request: &OperationRequest) -> Result<(), Problem> {
        let Some(state) = self.caller.state() else { return Ok(()) };
        state.grant.check_request(request, None).map_err(|denial| Refusal::Denied(denial).problem())
    }

    /// Checks that the caller may read what concerns these accounts; without any, what concerns everybody.
    pub(super) fn check_readable<'id>(
        &self,
        accounts: impl IntoIterator<Item = &'id AccountId>,
    ) -> Result<(), Problem> {
        let Some(state) = self.caller.state() else { return Ok(()) };
        state.grant.check_readable(accounts).map_err(|denial| Refusal::Denied(denial).problem())
    }

    /// Judges the key of a call that is neither a read nor decided in the ledger, as of everything that was answered
    /// before.
    pub(super) async fn confirm_caller(&self, deadline: Instant) -> Result<(), Problem> {
        if self.caller.state().is_none() {
            return Ok(());
        }
        self.api().node.read_point(Consistency::Linearizable, None, deadline).await?;
        self.caller.check_still(&self.api().node).map_err(Refusal::problem)
    }

    /// Runs a handler if the route is for the caller. The key of a read is judged again after it: the read point has been
    /// reached by then.
    async fn authorised(
        &self,
        route: Route,
        handler: impl Future<Output = Result<HttpAnswer, Problem>>,
    ) -> Result<HttpAnswer, Problem> {
        let node = &self.api().node;
        self.caller.check_route(node, route).map_err(Refusal::problem)?;
        let answer = handler.await?;
        if !route.is_write() {
            self.caller.check_still(node).map_err(Refusal::problem)?;
        }
        Ok(answer)
    }

    /// Sends the trace of an answered write, if it is traced.
    fn trace(&self, route: Route, status: StatusCode, took: Duration) {
        let node = &self.api().node;
        let Some(CallTrace { context, submitted }) = self.trace.as_deref() else { return };
        let Some(Submitted { parsed, decided, entry }) = submitted.get() else { return };
        if node.takes_trace(context.as_ref(), took) {
            node.trace(RequestTimes {
                context: *context,
                route: route.name(),
                request_id: self.id.to_string(),
                status: status.as_u16(),
                began: self.began,
                parsed: *parsed,
                decided: *decided,
                answered: self.began + took,
                entry: entry.clone(),
            });
        }
    }

    /// Makes a response of a handler's result, with the headers of every answer, counts it, and logs it if that matters.
    /// `shape` makes an answer of a problem.
    pub(super) async fn respond(
        &self,
        route: Route,
        handler: impl Future<Output = Result<HttpAnswer, Problem>>,
        shape: impl FnOnce(Problem) -> HttpAnswer,
    ) -> Response {
        let api = self.api();
        let mut answer = match self.authorised(route, handler).await {
            Ok(answer) => answer,
            Err(problem) => {
                if let Some(refusal) = problem.refusal() {
                    api.metrics.refusals().refused(refusal, route, self.caller.named(), &self.id);
                }
                shape(problem)
            }
        };
        if answer.lacks_as_of() {
            answer = answer.with_as_of(AsOf::of_status(&api.node.status()));
        }
        let (status, took) = (answer.status(), self.began.elapsed());
        api.metrics.count(route, status, took);
        self.trace(route, status, took);
        let logged = api.requests.answered(&self.id, route, status, took);
        // A made id becomes a text only where somebody may look for it.
        let shown = logged || !status.is_success() || matches!(self.id, RequestId::Given(_));
        answer.into_response(&api.name, shown.then(|| self.id.header()))
    }
}

impl Call {
    /// Makes a response of a handler's result. Errors are problems.
    // No future of its own: it would copy the handler's once more.
    pub(super) fn answer(
        &self,
        route: Route,
        handler: impl Future<Output = Result<HttpAnswer, Problem>>,
    ) -> impl Future<Output = Response> {
        let explained = |problem: Problem| {
            problem.while_rebuilding(self.node.status().views_rebuilding).named(&self.id).into_answer()
        };
        self.respond(route, handler, explained)
    }
}
