//! Invariant: a linearizable read shows what the committed history says as of the index at which it was answered, and
//! that index is not below anything that was answered before the read began.

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{AccountId, AccountState};
use quorapay_core::replication::ReadId;

use super::money::{self, Money};

pub(super) fn check(money: &Money, account: &AccountId, shown: Option<&AccountState>, at: LogIndex) {
    let known = money.as_of(account, at);
    assert!(money::same(known, shown), "a read of {account} at {at} shows {shown:?}, the history says {known:?}");
}

pub(super) fn check_index(read: ReadId, index: LogIndex, floor: LogIndex) {
    assert!(index >= floor, "{read:?} may be answered at {index}, but {floor} was answered before it began");
}
