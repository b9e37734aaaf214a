//! What clients ask a node for, since when, and when it last answered.

/// What clients ask a node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Read,
}

/// When some client last got an answer through a node.
#[derive(Clone, Copy, Default)]
pub(crate) struct Served {
    pub(crate) write: u64,
    pub(crate) read: u64,
}

/// What a client asks a node for, and since when.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    node: usize,
    kind: Kind,
    since: u64,
}

impl Asked {
    /// An attempt now. If it repeats what the client has asked `before`, the time does not begin anew.
    pub(crate) fn again(before: Option<Self>, node: usize, kind: Kind, now: u64) -> Self {
        let since = before.and_then(|before| before.since(node, kind)).unwrap_or(now);
        Self { node, kind, since }
    }

    /// Since when this node has been asked for this, if it is what is asked.
    pub(crate) fn since(self, node: usize, kind: Kind) -> Option<u64> {
        (self.node == node && self.kind == kind).then_some(self.since)
    }
}
