//! Whole nodes in one thread.

mod coordination;
mod zookeeper;
