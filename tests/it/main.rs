//! Integration tests with real nodes, ZooKeeper servers, files and sockets.
#![allow(clippy::unwrap_used)]

mod accounts;
mod backup;
mod bad_input;
mod batches;
mod bench;
mod cli;
mod compatible;
mod coordination;
mod costs;
mod docs;
mod double_charge;
mod drill;
mod exports;
mod failover;
mod faults;
mod fences;
mod histories;
mod holds;
mod http_threads;
mod hung_disk;
mod import_export;
mod integration_guide;
mod last_resort;
mod layers;
mod lists;
mod observability;
mod payments;
mod peers;
mod reads;
mod recovery;
mod runbooks;
mod startup;
mod support;
mod views;
