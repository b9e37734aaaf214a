//! Invariant: a linearizable read shows the committed history as of the index at which it is answered, and that index
//! is not below anything that was answered before the read began.

use quorapay_core::domain::{AccountId, AccountState, LogIndex};
use quorapay_core::replication::ReadId;

use super::money::{self, Money};

pub(super) fn check(money: &Money, account: &AccountId, shown: Option<&AccountState>, at: LogIndex) {
    let known = money.as_of(account, at);
    assert!(money::matches(known, shown), "a read of {account} at {at} shows {shown:?}, the history says {known:?}");
}

pub(super) fn check_index(read: ReadId, index: LogIndex, floor: LogIndex) {
    assert!(index >= floor, "{read:?} may be answered at {index}, but {floor} was answered before it began");
}
