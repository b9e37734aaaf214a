//! Invariant: once a process has responded with the id of its store to a leader that expected it, the leader counts nothing that
//! this store does not hold.

use crate::node::Node;

/// Checks a leader that has just had such a response, from the process that `follower` runs now.
pub(crate) fn check(leader: &Node, follower: &Node, now: u64) {
    let Some(process) = leader.process.as_ref().filter(|process| !process.paused) else { return };
    let views = process.engine.replica().followers(leader.now(now));
    let Some(view) = views.into_iter().find(|view| view.node == follower.id) else { return };
    // A newer leader may have truncated what was there when the process responded.
    let own = process.engine.replica().promised_epoch();
    if follower.disk.promise.as_ref().is_some_and(|promise| promise.epoch > own) {
        return;
    }
    let last = follower.disk.last_index();
    assert!(view.matched <= last, "{} counts {} at {}, which ends at {last}", leader.id, view.matched, follower.id);
}
