//! What several tests need.

pub(crate) mod cluster;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod payers;
pub(crate) mod reaper;
pub(crate) mod shared;
pub(crate) mod zookeeper;
