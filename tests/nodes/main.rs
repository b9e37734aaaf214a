//! Whole nodes in one thread.
