//! A bound for lines of the log that clients can cause: while a node is overloaded, thousands of requests fail in a second,
//! and a line for each would cost more than the request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most lines in a second.
const LINES_PER_SECOND: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// Permission to write a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// How many lines were left out since the last one; `None` if none was.
    pub left_out: Option<u64>,
}

impl LogLimit {
    /// Whether a line may be written now.
    pub fn admit(&self) -> Option<Admitted> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<Admitted> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now - began >= SECOND) {
            (window.began, window.lines) = (Some(now), 0);
        }
        if window.lines == LINES_PER_SECOND {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        let left_out = std::mem::take(&mut window.left_out);
        Some(Admitted { left_out: (left_out > 0).then_some(left_out) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_next_line_says_how_many_were_left_out() {
        let (limit, now) = (LogLimit::default(), Instant::now());
        let admitted = (0..LINES_PER_SECOND + 5).filter_map(|_| limit.admit_at(now)).count();
        assert_eq!(admitted, 20);
        assert_eq!(limit.admit_at(now + SECOND), Some(Admitted { left_out: Some(5) }));
        assert_eq!(limit.admit_at(now + SECOND), Some(Admitted { left_out: None }));
    }
}
