//! The real coordination of several hosts over the simulated ensemble. The nodes around it are the tests.

mod cluster;
mod scenarios;
mod sweep;
