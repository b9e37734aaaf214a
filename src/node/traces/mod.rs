//! Traces of requests: which are taken, what a trace consists of, and how it leaves the node.
//!
//! A request that is traced costs the other nodes nothing while it is on its way. Each node notes for every batch when it
//! was decided, sent, written and answered, and forgets that within about a second. The node that answered the request
//! asks the others afterwards what they noted of its entry, and exports all of it as one trace
//! (`docs/decisions/0020-traces-are-put-together-afterwards.md`).
//!
//! ```text
//! context    which trace a request belongs to: W3C traceparent
//! settings   which requests are traced
//! timeline   what a node notes of its batches
//! spans      a trace, made of what the nodes noted
//! otlp       spans as OTLP in JSON
//! export     sends them to a collector
//! ```
//!
//! It knows no engine, no handlers and no SQL.

mod context;
mod export;
mod otlp;
mod settings;
mod spans;
mod timeline;

pub use context::TraceContext;
pub use export::Exporter;
pub use settings::TraceSettings;
pub use spans::{NodeStretches, RequestTimes, Span, SpanKind, spans_of};
pub use timeline::{Noted, Step, Timeline};
