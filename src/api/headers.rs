//! Names of headers.

/// The name of a header in the two spellings that are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// As people write it, and as problems and the description name it.
    pub name: &'static str,
    /// In lower case, as HTTP libraries keep it.
    pub lower: &'static str,
}

macro_rules! headers {
    ($($(#[doc = $doc:literal])+ $constant:ident = $name:literal, $lower:literal;)*) => {
        $($(#[doc = $doc])+ pub const $constant: Header = Header { name: $name, lower: $lower };)*

        #[cfg(test)]
        const ALL: &[Header] = &[$($constant),*];
    };
}

headers! {
    /// Of a write: the caller's name for it.
    IDEMPOTENCY_KEY = "Idempotency-Key", "idempotency-key";
    /// Of a request: how long the caller waits, in milliseconds.
    DEADLINE_MS = "Quorapay-Deadline-Ms", "quorapay-deadline-ms";
    /// Of a request and of its answer: what the nodes' logs name the request by.
    REQUEST_ID = "X-Request-Id", "x-request-id";
    /// Of a request: the trace that it belongs to, in the form of the W3C.
    TRACEPARENT = "traceparent", "traceparent";
    /// Of an answer to a write: there, and `true`, if it was decided earlier.
    REPLAYED = "Idempotent-Replayed", "idempotent-replayed";
    /// Of an answer: the node that answered.
    NODE = "Quorapay-Node", "quorapay-node";
    /// Of an answer: the node that leads.
    LEADER = "Quorapay-Leader", "quorapay-leader";
    /// Of an answer: as of which index of the ledger; of a write, its entry's.
    INDEX = "Quorapay-Index", "quorapay-index";
    /// Of an answer: in which epoch.
    EPOCH = "Quorapay-Epoch", "quorapay-epoch";
    /// Of a read: the highest index that the node has applied.
    APPLIED_INDEX = "Quorapay-Applied-Index", "quorapay-applied-index";
    /// Of a read: how old it may be, in milliseconds.
    STALENESS_MS = "Quorapay-Staleness-Ms", "quorapay-staleness-ms";
    /// Of an answer to a write that was not decided earlier: how far the true time can be from its timestamp, in milliseconds.
    TIME_ERROR_MS = "Quorapay-Time-Error-Ms", "quorapay-time-error-ms";
    /// Of a transfer of the compatible surface: drop the connection after the commit.
    SIMULATE_CHAOS = "X-Simulate-Chaos", "x-simulate-chaos";
    /// Of an answer to a transfer of the compatible surface: there, and `true`, if it was decided earlier.
    DB_HIT = "X-Db-Hit", "x-db-hit";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_of_one_name() {
        for header in ALL {
            assert_eq!(header.name.to_ascii_lowercase(), header.lower);
        }
    }
}
