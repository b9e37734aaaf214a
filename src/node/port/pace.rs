//! When a connection is closed because the other side does not do its part: sends half a request and no more, reads no
//! answer, or has had nothing to say for long.
//!
//! A connection is looked at every few seconds. A look costs nothing while requests come and go, and one timer serves
//! for all kinds of waiting.

use std::time::Duration;

/// Interval between two looks at a connection.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Bytes from one look to the next, below which the other side makes no progress: 500 a second.
const LITTLE_BYTES: u64 = 2_500;

/// Looks without progress after which an unfinished request ends: 10 to 15 s.
pub(super) const MAX_SENDING_LOOKS: u32 = 3;

/// Looks without progress after which an answer that is not read ends: about a minute. Longer than for a request, because
/// people read long answers through pagers.
const MAX_READING_LOOKS: u32 = 12;

/// Looks after which a client's connection without a request ends: two minutes, longer than the pools of clients keep
/// one.
const MAX_IDLE_LOOKS: u32 = 24;

/// What is expected of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A client: its connection ends when it has had no request for long.
    Client,
    /// A peer keeps its connections open.
    Peer,
}

/// What the other side owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// Nothing: the last request is answered.
    Nothing,
    /// The rest of a request.
    Request,
    /// Nothing: the node works on the answer.
    Patience,
}

/// A connection as it looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) owed: Owed,
    /// Requests that began, so far.
    pub(super) requests: u64,
    /// Bytes that came, so far.
    pub(super) received: u64,
    /// Bytes that went, so far.
    pub(super) sent: u64,
    /// Bytes wait for the other side to take them.
    pub(super) blocked: bool,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// A request came too slowly.
    SlowRequest,
    /// An answer was read too slowly.
    UnreadAnswer,
    /// There was no request for long.
    Idle,
}

/// Compares the looks at one connection.
#[derive(Debug)]
pub(super) struct Judge {
    pace: Pace,
    last: Look,
    /// Consecutive looks without progress of each kind.
    sending: u32,
    reading: u32,
    idle: u32,
}

impl Judge {
    /// Begins with the first look.
    pub(super) const fn new(pace: Pace, first: Look) -> Self {
        Self { pace, last: first, sending: 0, reading: 0, idle: 0 }
    }

    /// Judges the connection by another look.
    pub(super) fn look(&mut self, now: Look) -> Option<Closed> {
        let last = std::mem::replace(&mut self.last, now);
        let same_request = now.requests == last.requests;
        let little_received = now.received - last.received < LITTLE_BYTES;
        let little_sent = now.sent - last.sent < LITTLE_BYTES;
        let again = |count: u32, met: bool| if met { count + 1 } else { 0 };
        self.sending = again(self.sending, now.owed == Owed::Request && same_request && little_received);
        self.reading = again(self.reading, now.blocked && last.blocked && little_sent);
        self.idle = again(self.idle, now.owed == Owed::Nothing && same_request);
        if self.sending >= MAX_SENDING_LOOKS {
            Some(Closed::SlowRequest)
        } else if self.reading >= MAX_READING_LOOKS {
            Some(Closed::UnreadAnswer)
        } else if self.pace == Pace::Client && self.idle >= MAX_IDLE_LOOKS {
            Some(Closed::Idle)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Look = Look { owed: Owed::Request, requests: 0, received: 0, sent: 0, blocked: false };

    /// How many looks a connection is kept for, up to a thousand, if this changes from one look to the next.
    fn kept(pace: Pace, first: Look, change: impl Fn(&mut Look)) -> (u32, Option<Closed>) {
        let (mut judge, mut now) = (Judge::new(pace, first), first);
        for looks in 1..=1_000 {
            change(&mut now);
            if let Some(closed) = judge.look(now) {
                return (looks, Some(closed));
            }
        }
        (1_000, None)
    }

    #[test]
    fn a_request_that_trickles_in_ends() {
        for bytes in [0, 1, LITTLE_BYTES - 1] {
            let trickle = |look: &mut Look| look.received += bytes;
            assert_eq!(kept(Pace::Client, NEW, trickle), (MAX_SENDING_LOOKS, Some(Closed::SlowRequest)));
        }
        assert_eq!(
            kept(Pace::Client, NEW, |look| look.received += LITTLE_BYTES),
            (1_000, None),
            "a slow line may send"
        );
    }

    #[test]
    fn an_answer_that_nobody_reads_ends() {
        let answering = Look { owed: Owed::Patience, blocked: true, ..NEW };
        let trickle = |look: &mut Look| look.sent += 10;
        assert_eq!(kept(Pace::Client, answering, trickle), (MAX_READING_LOOKS, Some(Closed::UnreadAnswer)));
        assert_eq!(kept(Pace::Client, answering, |look| look.sent += LITTLE_BYTES), (1_000, None));
        assert_eq!(kept(Pace::Client, answering, |look| look.blocked ^= true), (1_000, None), "it reads");
    }

    #[test]
    fn a_client_without_a_request_for_long_ends_and_a_peer_does_not() {
        let idle = Look { owed: Owed::Nothing, ..NEW };
        assert_eq!(kept(Pace::Client, idle, |_| ()), (MAX_IDLE_LOOKS, Some(Closed::Idle)));
        assert_eq!(kept(Pace::Peer, idle, |_| ()), (1_000, None));
        assert_eq!(kept(Pace::Client, idle, |look| look.requests += 1), (1_000, None));
    }

    #[test]
    fn who_waits_for_an_answer_is_not_hurried() {
        assert_eq!(kept(Pace::Client, Look { owed: Owed::Patience, ..NEW }, |_| ()), (1_000, None));
        let next = |look: &mut Look| look.requests += 1;
        assert_eq!(kept(Pace::Client, NEW, next), (1_000, None), "each look meets the head of another request");
    }
}
