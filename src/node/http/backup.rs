//! `/v1/ledger/backup`: the entries of the ledger as bytes, from which a reader computes every hash.
//!
//! A task of its own reads ahead of the connection by one piece. It rests after each piece for as long as the piece took,
//! so that payments go first, and ends when nobody reads any more.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{NodeHandle, ReadError};
use quorapay_api::{Code, query};
use quorapay_core::domain::LogIndex;

use super::answer::HttpAnswer;
use super::call::Call;
use super::ledger::take_from;
use super::metrics::Route;
use super::openapi;
use super::problem::Problem;
use super::read::Read;
use super::request::Query;
use super::state::Api;

/// About how many bytes of entries are read at a time, and the most that are handed to the connection at a time.
const PIECE_BYTES: usize = 256 << 10;

/// How long a reader may read nothing.
const READER_TIMEOUT: Duration = Duration::from_secs(60);

/// After a piece the task rests so many times as long as the piece took: half of a core at most.
const REST_FACTOR: u32 = 1;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(backup))
}

/// Back the ledger up
///
/// Entries in their canonical bytes, oldest first, up to what was committed when the request came: the hash before the
/// first entry; then pieces, each a length of four bytes (little-endian), so many bytes of entries, and the hash after
/// the last of them; then a length of zero, without which the stream is not whole. Every entry stands behind its own
/// length of four bytes. Its hash is SHA-256 over the hash before it and its bytes. `quorapay backup` reads and keeps
/// this stream.
#[utoipa::path(
    get, path = "/v1/ledger/backup", tag = "Ledger", operation_id = "backUpLedger",
    security(("api_key" = ["cluster:admin"])),
    params(query::BackupRange, query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "The entries; as of `Quorapay-Index`.", content((String = "application/octet-stream"))),
        openapi::LedgerBackupProblems,
    ),
)]
async fn backup(api: Call, request: Request) -> Response {
    api.answer(Route::LedgerBackup, begin(&api, request)).await
}

async fn begin(api: &Call, request: Request) -> Result<HttpAnswer, Problem> {
    let permit = Arc::clone(&api.permits.backups).try_acquire_owned().map_err(|_| Problem::overloaded())?;
    let (parts, _) = request.into_parts();
    api.check_readable([])?;
    let mut query = Query::new(parts.uri.query());
    let from = take_from(&mut query)?;
    let to = query.index(query::TO_INDEX)?.map_or(LogIndex(u64::MAX), LogIndex);
    let read = Read::begin(api, &parts.headers, query).await?;
    let upto = to.min(read.applied_index());
    if from > upto.next() {
        let detail = format!("a backup from entry {from} needs the entry before it, but what is wanted ends at {upto}");
        return Err(Problem::bad_request(Code::InvalidIndex, detail).field(query::FROM_INDEX));
    }
    let before = read.fetch(api.node.position(from.previous())).await?;
    let (pieces, receiver) = mpsc::channel(1);
    let backup = Backup { node: api.node.clone(), next: from, upto, pieces, _permit: permit };
    tokio::spawn(backup.run(before.hash.0));
    let pieces = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    Ok(HttpAnswer::octets(Body::from_stream(pieces), read.as_of()))
}

/// A backup while it is sent.
struct Backup {
    node: NodeHandle,
    next: LogIndex,
    upto: LogIndex,
    pieces: mpsc::Sender<Result<Bytes, ReadError>>,
    _permit: OwnedSemaphorePermit,
}

/// The reader is gone or reads nothing.
struct NobodyReads;

impl Backup {
    async fn run(mut self, before: [u8; 32]) {
        match self.send_all(before).await {
            Ok(Ok(())) => {}
            // The connection is closed before its end, and the reader tries another node.
            Ok(Err(error)) => drop(self.send(Err(error)).await),
            Err(NobodyReads) => tracing::info!(next = %self.next, "a backup ended early: nobody reads it any more"),
        }
    }

    async fn send_all(&mut self, before: [u8; 32]) -> Result<Result<(), ReadError>, NobodyReads> {
        self.send(Ok(Bytes::copy_from_slice(&before))).await?;
        while self.next <= self.upto {
            let began = Instant::now();
            let stretch = match self.node.stretch(self.next, self.upto, PIECE_BYTES).await {
                Ok(stretch) => stretch,
                Err(error) => return Ok(Err(error)),
            };
            let rest = began.elapsed() * REST_FACTOR;
            let length = u32::try_from(stretch.bytes.len()).expect("a batch is limited to megabytes");
            self.send(Ok(Bytes::copy_from_slice(&length.to_le_bytes()))).await?;
            let mut bytes = Bytes::from(stretch.bytes);
            while !bytes.is_empty() {
                let part = bytes.split_to(bytes.len().min(PIECE_BYTES));
                self.send(Ok(part)).await?;
            }
            self.send(Ok(Bytes::copy_from_slice(&stretch.end.hash.0))).await?;
            self.next = stretch.end.index.next();
            tokio::time::sleep(rest).await;
        }
        self.send(Ok(Bytes::from_static(&[0; quorapay_api::BACKUP_LENGTH_BYTES]))).await.map(Ok)
    }

    async fn send(&self, piece: Result<Bytes, ReadError>) -> Result<(), NobodyReads> {
        self.pieces.send_timeout(piece, READER_TIMEOUT).await.map_err(|_| NobodyReads)
    }
}
