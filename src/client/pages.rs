//! Listings: one page, or page after page.

use futures_util::{Stream, TryStreamExt, stream};

use super::Page;
use super::error::ClientError;

/// Rows on a page when all are wanted.
const ROWS_PER_PAGE: u32 = 500;

/// The rows of a page and where the next begins.
pub(super) type Rows<T> = (Vec<T>, Option<String>);

/// Rows of one page after another, until there is no next.
pub(super) fn pages<'a, T: 'a, F>(fetch: F) -> impl Stream<Item = Result<T, ClientError>> + 'a
where
    F: AsyncFn(Page) -> Result<Rows<T>, ClientError> + 'a,
{
    stream::try_unfold((fetch, Some(None)), async |(fetch, next): (F, Option<Option<String>>)| {
        let Some(cursor) = next else { return Ok(None) };
        let (rows, next) = fetch(Page { cursor, limit: Some(ROWS_PER_PAGE) }).await?;
        Ok::<_, ClientError>(Some((stream::iter(rows.into_iter().map(Ok)), (fetch, next.map(Some)))))
    })
    .try_flatten()
}
