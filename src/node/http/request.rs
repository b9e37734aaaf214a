//! The parts that requests share: deadline, idempotency key, content type, body and query.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt;
use http_body_util::LengthLimitError;
use tokio::time::Instant;
use url::form_urlencoded;

use quorapay_api::limits::{DEFAULT_DEADLINE_MS, DEFAULT_PAGE_ITEMS, MAX_BODY_BYTES, MAX_DEADLINE_MS, MAX_PAGE_ITEMS};
use quorapay_api::{Code, headers, query};
use quorapay_core::domain::IdempotencyKey;

use super::problem::Problem;

/// Most bytes of a body that are parsed without a yield to other tasks on the thread.
const PIECE_BYTES: usize = 64 << 10;

/// Where the page is from that had the browser send a request. Pages cannot set it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// When the caller stops waiting.
pub(super) fn deadline(given: &HeaderMap) -> Result<Instant, Problem> {
    timeout(given).map(|timeout| Instant::now() + timeout)
}

/// How long the caller waits.
pub(super) fn timeout(given: &HeaderMap) -> Result<Duration, Problem> {
    let Some(value) = given.get(headers::DEADLINE_MS.lower) else {
        return Ok(Duration::from_millis(DEFAULT_DEADLINE_MS));
    };
    let milliseconds = value.to_str().ok().and_then(whole_number);
    match milliseconds {
        Some(ms @ 1..=MAX_DEADLINE_MS) => Ok(Duration::from_millis(ms)),
        _ => {
            let name = headers::DEADLINE_MS.name;
            let detail = format!("{name} is a number of milliseconds from 1 to {MAX_DEADLINE_MS}");
            Err(Problem::bad_request(Code::InvalidDeadline, detail).field(name))
        }
    }
}

/// The idempotency key of a write.
pub(super) fn idempotency_key(given: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let name = headers::IDEMPOTENCY_KEY.name;
    let mut values = given.get_all(headers::IDEMPOTENCY_KEY.lower).iter();
    let Some(value) = values.next() else {
        let detail = format!("every write needs an {name} header, so that it can be repeated without harm");
        return Err(Problem::bad_request(Code::IdempotencyKeyRequired, detail).field(name));
    };
    let invalid = |detail: String| Problem::bad_request(Code::InvalidIdempotencyKey, detail).field(name);
    if values.next().is_some() {
        return Err(invalid(format!("a write has one {name} header")));
    }
    let text = value.to_str().unwrap_or_default();
    IdempotencyKey::parse(text).map_err(|error| invalid(error.to_string()))
}

/// Refuses a body whose content type is not JSON.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers) {
        Some(MediaType::Json) => Ok(()),
        _ => Err(unsupported_media_type("application/json")),
    }
}

/// The content types of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    /// One JSON value per line.
    Ndjson,
}

/// The body's content type, if it is one of these.
pub(super) fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    if is("application/json") {
        Some(MediaType::Json)
    } else if is("application/x-ndjson") || is("application/ndjson") {
        Some(MediaType::Ndjson)
    } else {
        None
    }
}

/// The problem of a body with another content type.
pub(super) fn unsupported_media_type(wanted: &str) -> Problem {
    let detail = format!("the body must be sent with content-type {wanted}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::UnsupportedMediaType, detail).field("Content-Type")
}

/// Refuses a request that a web page of another site sent. For most writes this is the second check: a browser asks
/// first before it sends an idempotency key or JSON, and gets no permission.
pub(super) fn refuse_foreign_page(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text(SEC_FETCH_SITE);
    // Of older browsers, which do not say so themselves. A page without an origin of its own has "null".
    let host = text(HOST);
    let other_origin = text(ORIGIN).is_some_and(|origin| origin.split_once("://").map(|(_, from)| from) != host);
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) || (site.is_none() && other_origin) {
        let detail = "a page of another site sent this request; send it from a program, or from a page of this node";
        return Err(Problem::new(StatusCode::FORBIDDEN, Code::ForeignPage, detail));
    }
    Ok(())
}

/// Reads the body, in bounded memory and time.
pub(super) async fn body(headers: &HeaderMap, body: Body, deadline: Instant) -> Result<Bytes, Problem> {
    check_announced(headers, MAX_BODY_BYTES)?;
    match tokio::time::timeout_at(deadline, axum::body::to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(too_large(MAX_BODY_BYTES)),
        Ok(Err(_)) => Err(incomplete()),
        Err(_) => Err(too_slow()),
    }
}

/// Passes the body on piece by piece, in bounded time and only up to `limit` bytes. After a piece is refused the rest
/// is read and dropped, because a caller that is still sending would not see the answer.
pub(super) async fn body_in_pieces(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    deadline: Instant,
    mut take: impl FnMut(&[u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    check_announced(headers, limit)?;
    let mut stream = body.into_data_stream();
    let (mut length, mut taken) = (0_usize, Ok(()));
    loop {
        let bytes = match tokio::time::timeout_at(deadline, stream.next()).await {
            Ok(None) => return taken,
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(_))) => return taken.and_then(|()| Err(incomplete())),
            Err(_) => return taken.and_then(|()| Err(too_slow())),
        };
        length = length.saturating_add(bytes.len());
        if length > limit {
            return taken.and_then(|()| Err(too_large(limit)));
        }
        for piece in bytes.chunks(PIECE_BYTES) {
            if taken.is_ok() {
                taken = take(piece);
                // Other tasks on this thread run between two pieces.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Refuses a body unread if its announced length is too large.
fn check_announced(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(whole_number);
    if announced.is_some_and(|bytes| bytes > limit as u64) { Err(too_large(limit)) } else { Ok(()) }
}

fn incomplete() -> Problem {
    Problem::bad_request(Code::IncompleteBody, "the body ended before it was complete").retryable()
}

fn too_slow() -> Problem {
    let detail = "the body did not arrive within the deadline";
    Problem::new(StatusCode::REQUEST_TIMEOUT, Code::BodyTimeout, detail).retryable()
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is longer than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::BodyTooLarge, detail)
}

fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A request's query. Its parameters are taken out one by one, and one that is left is refused by name.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Splits the query of a URL.
    pub(super) fn new(query: Option<&'a str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect())
    }

    /// Takes a parameter out.
    pub(super) fn take(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, Problem> {
        let Some(at) = self.0.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.swap_remove(at);
        if self.0.iter().any(|(given, _)| given == name) {
            let detail = format!("the parameter {name} is given twice");
            return Err(Problem::bad_request(Code::DuplicateField, detail).field(name));
        }
        Ok(Some(value))
    }

    /// Takes a parameter out and parses it; `wanted` describes valid values.
    pub(super) fn parse<T>(
        &mut self,
        name: &'static str,
        code: Code,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(name)? else {
            return Ok(None);
        };
        let invalid = || Problem::bad_request(code, format!("{name} is {wanted}")).field(name);
        parse(&value).map(Some).ok_or_else(invalid)
    }

    /// Takes out a parameter that is an index.
    pub(super) fn index(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        // SQLite's integers end at 2^63 - 1, and so do indexes.
        let parse = |text: &str| whole_number(text).filter(|index| i64::try_from(*index).is_ok());
        self.parse(name, Code::InvalidIndex, "a whole number up to 9223372036854775807", parse)
    }

    /// Takes the page's size out.
    pub(super) fn limit(&mut self) -> Result<usize, Problem> {
        self.limit_or(DEFAULT_PAGE_ITEMS)
    }

    /// Takes the page's size out, for a list with another default.
    pub(super) fn limit_or(&mut self, default: usize) -> Result<usize, Problem> {
        let wanted = format!("a whole number from 1 to {MAX_PAGE_ITEMS}");
        let parse = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_PAGE_ITEMS).contains(limit));
        Ok(self.parse(query::LIMIT, Code::InvalidLimit, &wanted, parse)?.unwrap_or(default))
    }

    /// Refuses whatever was not taken out.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(Problem::bad_request(Code::UnknownField, format!("unknown parameter `{name}`")).field(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_page_of_another_site_is_refused_and_a_program_is_not() {
        let fine: [&[(&str, &str)]; 5] = [
            &[],
            &[("host", "a:7101")],
            &[("host", "a:7101"), ("origin", "http://a:7101")],
            &[("host", "a:7101"), ("origin", "https://b"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ];
        for given in fine {
            assert!(refuse_foreign_page(&headers(given)).is_ok(), "{given:?}");
        }
        let foreign: [&[(&str, &str)]; 5] = [
            &[("host", "a:7101"), ("origin", "http://evil.example")],
            &[("host", "a:7101"), ("origin", "http://a:7102")],
            &[("host", "a:7101"), ("origin", "null")],
            &[("host", "a:7101"), ("sec-fetch-site", "cross-site")],
            &[("host", "a:7101"), ("origin", "http://a:7101"), ("sec-fetch-site", "same-site")],
        ];
        for given in foreign {
            let problem = refuse_foreign_page(&headers(given)).expect_err("a foreign page");
            assert_eq!((problem.status().as_u16(), problem.code()), (403, "foreign_page"), "{given:?}");
        }
    }

    #[test]
    fn a_deadline_is_1_to_60000_milliseconds_and_5_seconds_by_default() {
        let left = |pairs: &[(&'static str, &'static str)]| {
            deadline(&headers(pairs)).map(|at| at.saturating_duration_since(Instant::now()))
        };
        let default = left(&[]).expect("no header");
        assert!(default > Duration::from_secs(4) && default <= Duration::from_secs(5));
        let longest = left(&[("quorapay-deadline-ms", "60000")]).expect("allowed");
        assert!(longest > Duration::from_secs(59));
        for bad in ["0", "60001", "-1", "+5", "1.5", "soon", "", "99999999999999999999"] {
            let problem = left(&[("quorapay-deadline-ms", bad)]).expect_err(bad);
            assert_eq!((problem.code(), problem.field_name()), ("invalid_deadline", Some("Quorapay-Deadline-Ms")));
        }
    }

    #[test]
    fn a_write_needs_exactly_one_idempotency_key() {
        let code = |pairs: &[(&'static str, &'static str)]| idempotency_key(&headers(pairs)).map_err(|p| p.code());
        assert_eq!(code(&[]), Err("idempotency_key_required"));
        assert_eq!(code(&[("idempotency-key", "")]), Err("invalid_idempotency_key"));
        assert_eq!(code(&[("idempotency-key", "a\tb")]), Err("invalid_idempotency_key"));
        assert_eq!(code(&[("idempotency-key", "a"), ("idempotency-key", "b")]), Err("invalid_idempotency_key"));
        assert_eq!(code(&[("idempotency-key", "a b")]).expect("valid").as_str(), "a b");
        let mut not_ascii = HeaderMap::new();
        not_ascii.insert("idempotency-key", HeaderValue::from_bytes(b"\xc3\xa9").expect("a header"));
        assert_eq!(idempotency_key(&not_ascii).map_err(|p| p.code()), Err("invalid_idempotency_key"));
    }

    #[test]
    fn a_body_must_be_said_to_be_json() {
        for good in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(require_json(&headers(&[("content-type", good)])).is_ok(), "{good}");
        }
        for bad in [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/jsonx")]] {
            let problem = require_json(&headers(bad)).expect_err("no JSON");
            assert_eq!((problem.status().as_u16(), problem.code()), (415, "unsupported_media_type"));
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_announced_or_not() {
        let soon = Instant::now() + Duration::from_secs(5);
        let fits = Body::from(vec![b' '; MAX_BODY_BYTES]);
        assert_eq!(body(&HeaderMap::new(), fits, soon).await.expect("fits").len(), MAX_BODY_BYTES);
        let long = Body::from(vec![b' '; MAX_BODY_BYTES + 1]);
        let unannounced = body(&HeaderMap::new(), long, soon).await.expect_err("too long");
        assert_eq!((unannounced.status().as_u16(), unannounced.code()), (413, "body_too_large"));
        let announced = body(&headers(&[("content-length", "1048577")]), Body::empty(), soon).await;
        assert_eq!(announced.expect_err("too long").code(), "body_too_large");
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_in_time_is_refused() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let problem = body(&HeaderMap::new(), never, Instant::now()).await.expect_err("too slow");
        assert_eq!((problem.status().as_u16(), problem.code()), (408, "body_timeout"));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_refused() {
        let parts = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))];
        let broken = Body::from_stream(futures_util::stream::iter(parts));
        let problem = body(&HeaderMap::new(), broken, Instant::now() + Duration::from_secs(5)).await;
        assert_eq!(problem.expect_err("broken").code(), "incomplete_body");
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_read_to_its_end_even_when_it_was_refused() {
        let soon = Instant::now() + Duration::from_secs(5);
        let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&read);
        let stream = futures_util::stream::iter((0..4).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"piece"))));
        let body = Body::from_stream(stream.inspect(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }));
        let mut pieces = 0;
        let refuse_second = |piece: &[u8]| {
            assert_eq!(piece, b"piece");
            pieces += 1;
            if pieces == 2 { Err(Problem::bad_request(Code::InvalidField, "bad")) } else { Ok(()) }
        };
        let refused = body_in_pieces(&HeaderMap::new(), body, 100, soon, refuse_second).await;
        assert_eq!(refused.expect_err("refused").code(), "invalid_field");
        assert_eq!((pieces, read.load(std::sync::atomic::Ordering::Relaxed)), (2, 4));
    }

    #[tokio::test]
    async fn a_body_in_pieces_has_a_limit_too() {
        let soon = Instant::now() + Duration::from_secs(5);
        let body = || Body::from(vec![b' '; 101]);
        let unannounced = body_in_pieces(&HeaderMap::new(), body(), 100, soon, |_| Ok(())).await;
        assert_eq!(unannounced.expect_err("too long").code(), "body_too_large");
        let announced = body_in_pieces(&headers(&[("content-length", "101")]), body(), 100, soon, |_| Ok(())).await;
        assert_eq!(announced.expect_err("too long").code(), "body_too_large");
        body_in_pieces(&HeaderMap::new(), body(), 101, soon, |_| Ok(())).await.expect("fits");
    }

    #[test]
    fn a_limit_is_1_to_1000_and_50_by_default() {
        let limit = |query: &str| Query::new(Some(query)).limit();
        assert_eq!(limit("").expect("default"), DEFAULT_PAGE_ITEMS);
        assert_eq!(limit("limit=1000").expect("allowed"), 1_000);
        for bad in ["limit=0", "limit=1001", "limit=", "limit=-1", "limit=x"] {
            let problem = limit(bad).expect_err(bad);
            assert_eq!((problem.code(), problem.field_name()), ("invalid_limit", Some("limit")));
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused_by_name() {
        let problem = Query::new(Some("colour=red")).finish().expect_err("unknown");
        assert_eq!((problem.code(), problem.field_name()), ("unknown_field", Some("colour")));
        let problem = Query::new(Some("limit=1&limit=2")).limit().expect_err("twice");
        assert_eq!((problem.code(), problem.field_name()), ("duplicate_field", Some("limit")));
    }
}
