//! The product's promises, one by one, against real ZooKeeper servers, real files and real sockets.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod cli;
mod coordination;
mod docs;
mod drill;
mod failover;
mod histories;
mod layers;
mod payments;
mod peers;
mod reads;
mod recovery;
mod startup;
mod support;
