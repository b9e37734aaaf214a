//! Faults on real processes, and clients that record what they were told meanwhile.

pub mod clients;
