//! The `tortie` binary: arguments in, one command, an exit status out.
//!
//! Each command has a file of its own under `command`; what it does is in the crates below.

mod command;

use std::process::ExitCode;

use clap::Parser;

/// Layer-3 networking, address management and network security.
#[derive(Debug, Parser)]
#[command(name = "tortie", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: command::Command,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
