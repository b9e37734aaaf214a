//! What a fault holds while it lasts.

use std::path::PathBuf;

use super::injection::Injection;

/// What a fault holds while it lasts, and what healing it ends.
#[derive(Debug)]
pub(crate) enum Hold {
    /// Nothing.
    None,
    /// The file that fills a disk.
    Ballast(PathBuf),
    /// System calls that fail.
    Injection(Injection),
    /// The name of a container that tampers with system calls.
    Container(String),
    /// How many damaged ledgers the node had put aside before this fault.
    DamagedLedgers(usize),
}
