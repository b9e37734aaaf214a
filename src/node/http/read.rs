//! What reads share: consistency, deadline and cursors.

use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use crate::runtime::{Consistency, Cursor, NodeHandle, ReadPoint};
use quorapay_api::{Code, query};
use quorapay_core::domain::LogIndex;

use super::answer::{AsOf, HttpAnswer};
use super::call::Call;
use super::problem::Problem;
use super::request::{self, Query};
use super::state::Api;
use super::write_json::to_json;

/// Capacity for an answer with a few items.
const TYPICAL_ANSWER_BYTES: usize = 512;

/// A read that can be answered: everything up to its read point is applied here.
pub(super) struct Read<'a> {
    node: &'a NodeHandle,
    point: ReadPoint,
    deadline: Instant,
}

/// How fresh a read must be, from its query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freshness {
    consistency: Consistency,
    min_index: Option<LogIndex>,
}

impl Freshness {
    /// Takes `consistency` and `min_index` out of a query.
    pub(super) fn take(query: &mut Query<'_>) -> Result<Self, Problem> {
        let wanted = "\"linearizable\" or \"local\"";
        let parse = |text: &str| match query::Consistency::parse(text)? {
            query::Consistency::Linearizable => Some(Consistency::Linearizable),
            query::Consistency::Local => Some(Consistency::Local),
        };
        let consistency = query.parse(query::CONSISTENCY, Code::InvalidConsistency, wanted, parse)?;
        let min_index = query.index(query::MIN_INDEX)?.map(LogIndex);
        Ok(Self { consistency: consistency.unwrap_or_default(), min_index })
    }
}

impl<'a> Read<'a> {
    /// Waits until the read can be answered. All other parameters must have been taken out of the query.
    pub(super) async fn begin<S: AsRef<Api>>(
        call: &'a Call<S>,
        headers: &HeaderMap,
        mut query: Query<'_>,
    ) -> Result<Self, Problem> {
        let freshness = Freshness::take(&mut query)?;
        query.finish()?;
        let deadline = request::deadline(headers)?;
        let node = &call.api().node;
        let point = node.named_read_point(freshness.consistency, freshness.min_index, call.id(), deadline).await?;
        Ok(Self { node, point, deadline })
    }

    /// Everything up to this index is shown.
    pub(super) fn applied_index(&self) -> LogIndex {
        self.point.applied_index
    }

    /// Waits for a part of the answer, within the caller's deadline.
    pub(super) async fn fetch<T, E: Into<Problem>>(
        &self,
        part: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Problem> {
        match tokio::time::timeout_at(self.deadline, part).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(Problem::deadline_exceeded()),
        }
    }

    /// The answer.
    pub(super) fn answer(&self, answer: &impl Serialize) -> HttpAnswer {
        self.answer_sized(answer, TYPICAL_ANSWER_BYTES)
    }

    /// The answer, which takes about so many bytes.
    pub(super) fn answer_sized(&self, answer: &impl Serialize, capacity: usize) -> HttpAnswer {
        HttpAnswer::json(StatusCode::OK, to_json(answer, capacity), self.as_of())
    }

    /// The read point, for the headers.
    pub(super) fn as_of(&self) -> AsOf {
        AsOf::of_read(&self.point, self.node.status().leader.clone())
    }

    /// A 404 as of the read point.
    pub(super) fn not_found(&self, code: Code, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, code, detail).seen_as_of(self.as_of())
    }
}

/// The list that a cursor belongs to. A cursor of another list is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Payments.
    Payments,
    /// Entries of a statement.
    Statement,
    /// Accounts.
    Accounts,
}

impl List {
    const fn tag(self) -> char {
        match self {
            Self::Payments => 'p',
            Self::Statement => 's',
            Self::Accounts => 'a',
        }
    }

    /// The cursor of a list that continues at `position`.
    pub(super) fn cursor(self, position: &str) -> String {
        format!("{}{}", self.tag(), hex::encode(position))
    }

    /// Takes the cursor out of a query and parses the position in it.
    pub(super) fn take_cursor<T>(
        self,
        query: &mut Query<'_>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let wanted = "the next_cursor of an earlier page of this list";
        query.parse(query::CURSOR, Code::InvalidCursor, wanted, |text| parse(&self.position(text)?))
    }

    /// The cursor of a list in descending order of the ledger.
    pub(super) fn cursor_before(self, cursor: Cursor) -> String {
        self.cursor(&format!("{}.{}", cursor.index, cursor.item))
    }

    /// Takes out the cursor of a list in descending order of the ledger.
    pub(super) fn take_before(self, query: &mut Query<'_>) -> Result<Option<Cursor>, Problem> {
        self.take_cursor(query, |position| {
            let (index, item) = position.split_once('.')?;
            Some(Cursor { index: LogIndex(index.parse().ok()?), item: item.parse().ok()? })
        })
    }

    fn position(self, cursor: &str) -> Option<String> {
        String::from_utf8(hex::decode(cursor.strip_prefix(self.tag())?).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freshness(query: &str) -> Result<Freshness, Problem> {
        Freshness::take(&mut Query::new(Some(query)))
    }

    #[test]
    fn a_read_is_linearizable_unless_it_says_otherwise() {
        assert_eq!(freshness("").expect("default"), Freshness::default());
        let local = freshness("consistency=local&min_index=7").expect("valid");
        assert_eq!(local, Freshness { consistency: Consistency::Local, min_index: Some(LogIndex(7)) });
        assert_eq!(freshness("consistency=eventual").expect_err("unknown level").code(), "invalid_consistency");
        for bad in ["min_index=-1", "min_index=", "min_index=1e3", "min_index=99999999999999999999"] {
            assert_eq!(freshness(bad).expect_err(bad).code(), "invalid_index");
        }
    }

    #[test]
    fn a_cursor_reads_back_in_its_own_list_only() {
        let cursor = Cursor { index: LogIndex(123), item: 45 };
        let query = format!("cursor={}", List::Payments.cursor_before(cursor));
        let before = List::Payments.take_before(&mut Query::new(Some(&query))).expect("own");
        assert_eq!(before, Some(cursor));
        let other = List::Statement.take_before(&mut Query::new(Some(&query)));
        assert_eq!(other.expect_err("another list's").code(), "invalid_cursor");
    }

    #[test]
    fn a_made_up_cursor_is_refused() {
        for bad in ["", "p", "p1", "pzz", "p78", "p3132", "p312e", "p2e31", "pff", "p%C3%A9%C3%A9"] {
            let query = format!("cursor={bad}");
            let problem = List::Payments.take_before(&mut Query::new(Some(&query))).expect_err(bad);
            assert_eq!(problem.code(), "invalid_cursor", "{bad}");
        }
    }
}
