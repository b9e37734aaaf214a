//! The command line.

mod cli;

use clap::Parser;

use cli::Cli;

/// A node allocates for every request from several threads; this allocator takes less time for it than the system's and
/// gives memory back sooner.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run(Cli::parse()).into()
}
