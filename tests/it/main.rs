//! The product's promises, one by one, against real ZooKeeper servers, real files and real sockets.
#![allow(clippy::unwrap_used)]

mod coordination;
mod docs;
mod drill;
mod failover;
mod layers;
mod peers;
mod support;
