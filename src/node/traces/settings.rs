//! Which requests are traced.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::context::TraceContext;

/// Where traces go, and of which requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// URL of the collector, which takes OTLP in JSON over HTTP.
    pub endpoint: String,
    /// One of so many requests is traced, whatever it is; 0 for none.
    pub one_in: u64,
    /// Requests that take so long are traced; `None` if slowness is no reason.
    pub slower_than: Option<Duration>,
}

impl TraceSettings {
    /// Whether a request that has been answered is traced: if its caller keeps its own part, if it was slow, or if it is
    /// one in so many.
    #[must_use]
    pub fn takes(&self, context: Option<&TraceContext>, took: Duration, counted: &AtomicU64) -> bool {
        let is_one_in = || self.one_in > 0 && counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_in);
        context.is_some_and(|context| context.sampled)
            || self.slower_than.is_some_and(|bound| took >= bound)
            || is_one_in()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(settings: &TraceSettings, sampled: bool, took_ms: u64) -> usize {
        let counted = AtomicU64::new(0);
        let context = TraceContext { trace_id: 1, parent_span_id: 1, sampled };
        (0..1_000).filter(|_| settings.takes(Some(&context), Duration::from_millis(took_ms), &counted)).count()
    }

    #[test]
    fn a_share_the_slow_and_those_that_their_callers_keep_are_traced() {
        let none = TraceSettings { endpoint: String::new(), one_in: 0, slower_than: None };
        assert_eq!((taken(&none, false, 60_000), taken(&none, true, 0)), (0, 1_000));
        let slow = TraceSettings { slower_than: Some(Duration::from_millis(50)), ..none.clone() };
        assert_eq!((taken(&slow, false, 49), taken(&slow, false, 50)), (0, 1_000));
        let share = TraceSettings { one_in: 100, ..none.clone() };
        assert_eq!(taken(&share, false, 0), 10);
        assert_eq!(taken(&TraceSettings { one_in: 1, ..none }, false, 0), 1_000);
    }
}
