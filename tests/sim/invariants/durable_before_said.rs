//! Invariant: what a node tells a peer of its promise and its log is durable before it is told, so that no crash makes
//! it untrue.

use quorapay_core::domain::Epoch;
use quorapay_core::replication::Response;

use crate::disk::Disk;

/// Compares an answer to a request of `epoch` with what the disk holds while it leaves.
pub(super) fn check(disk: &Disk, epoch: Epoch, response: &Response) {
    let promised = disk.promise.as_ref().map_or(Epoch(0), |promise| promise.epoch);
    match response {
        Response::Promised(answer) => {
            assert!(promised >= answer.epoch, "{answer:?} is said, but the durable promise is {promised}");
            // The candidate may lead already, by the promises of others, and its entries replace what is said here.
            let held = disk.position(disk.last_index()).expect("the last entry is there");
            assert!(held.rank() >= answer.last.rank(), "{answer:?} is said, but the durable log ends at {held:?}");
        }
        Response::Appended { matched, .. } => {
            assert!(promised >= epoch, "an append of {epoch} is answered, but the durable promise is {promised}");
            let last = disk.last_index();
            assert!(*matched <= last, "matched {matched} is said, but only {last} is durable");
        }
        _ => {}
    }
}
