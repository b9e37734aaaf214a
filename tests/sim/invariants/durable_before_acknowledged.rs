//! Invariant: what a node tells a peer about its promise and its log is durable before, so that no crash can make it
//! untrue.

use quorapay_core::domain::Epoch;
use quorapay_core::replication::Response;

use crate::disk::Disk;

/// Compares a response to a request of `epoch` with the disk when it is sent.
pub(super) fn check(disk: &Disk, epoch: Epoch, response: &Response) {
    let promised = disk.durable_promise().map_or(Epoch(0), |promise| promise.epoch);
    match response {
        Response::Promised(answer) => {
            assert!(promised >= answer.epoch, "{answer:?} is sent, but the durable promise is {promised}");
            // The candidate may already lead by the promises of others, and its entries may have replaced these.
            let held = disk.durable_last();
            assert!(held.rank() >= answer.last.rank(), "{answer:?} is sent, but the durable log ends at {held:?}");
        }
        Response::Appended { matched, .. } => {
            assert!(promised >= epoch, "an append of {epoch} is answered, but the durable promise is {promised}");
            let last = disk.durable_last().index;
            assert!(*matched <= last, "matched {matched} is sent, but only {last} is durable");
        }
        _ => {}
    }
}
