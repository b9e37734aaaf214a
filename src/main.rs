//! The command line.

use clap::Parser;
use quorapay::cli::{self, Cli};

fn main() -> std::process::ExitCode {
    cli::run(Cli::parse()).into()
}
