//! What a node derives from its ledger and keeps beside it: the bank and the idempotency keys. They lag behind the
//! ledger, are lost now and then, and answer only up to where they are.

use std::collections::HashMap;
use std::sync::Arc;

use quorapay::domain::{Bank, KeyDigest};
use quorapay::replication::{Entry, LogIndex};

use super::disk::row;
use super::random::Random;

/// See the module.
#[derive(Default)]
pub(crate) struct Views {
    /// The bank and the keys as of `banked`, which is ahead of what the views admit to hold: it saves every start the
    /// replay, and nobody sees the difference.
    bank: Bank,
    keys: HashMap<KeyDigest, LogIndex>,
    banked: LogIndex,
    projected: LogIndex,
}

impl Views {
    /// Everything up to here is in the views.
    pub(crate) const fn projected(&self) -> LogIndex {
        self.projected
    }

    /// Goes on with the bank up to an index that is known to be committed.
    pub(crate) fn bank_up_to(&mut self, committed: LogIndex, rows: &[Arc<Entry>]) {
        while self.banked < committed {
            self.banked = self.banked.next();
            if let Some(operation) = rows[row(self.banked)].operation() {
                self.bank.apply(operation).expect("what is committed fits the bank before it");
                self.keys.insert(operation.key().digest(), self.banked);
            }
        }
    }

    /// Brings the views up to an index that is known to be committed.
    pub(crate) fn project(&mut self, to: LogIndex, rows: &[Arc<Entry>]) {
        self.projected = to;
        self.bank_up_to(to, rows);
    }

    /// The views are lost, and rebuilt up to some place.
    pub(crate) fn lose_some(&mut self, random: &mut Random) {
        let projected = LogIndex(random.between(0, self.projected.0));
        *self = Self { projected, ..Self::default() };
    }

    /// What the views know of a key.
    pub(crate) fn find_key(&self, digest: &KeyDigest) -> Option<LogIndex> {
        self.keys.get(digest).copied().filter(|index| *index <= self.projected)
    }

    /// The bank as of `committed`.
    pub(crate) fn bank(&mut self, committed: LogIndex, rows: &[Arc<Entry>]) -> Bank {
        self.bank_up_to(committed, rows);
        assert_eq!(self.banked, committed, "nothing is banked before it is known to be committed");
        self.bank.clone()
    }

    /// The keys in the views, and those of younger entries.
    pub(crate) fn keys(&self) -> (Vec<KeyDigest>, Vec<(KeyDigest, LogIndex)>) {
        let mut keys: Vec<(LogIndex, KeyDigest)> = self.keys.iter().map(|(digest, index)| (*index, *digest)).collect();
        keys.sort_unstable();
        let (projected, recent): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(index, _)| *index <= self.projected);
        let digests = projected.into_iter().map(|(_, digest)| digest).collect();
        (digests, recent.into_iter().map(|(index, digest)| (digest, index)).collect())
    }
}
