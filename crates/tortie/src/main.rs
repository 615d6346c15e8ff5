//! The `tortie` binary: arguments in, one command, an exit status out.
//!
//! Each command has a file of its own under `command`; what it does is in the crates below.

mod command;
mod objects;
mod output;
mod settings;

use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Layer-3 networking, address management and network security.
#[derive(Debug, Parser)]
#[command(name = "tortie", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: command::Command,
}

fn main() -> ExitCode {
    let Arguments { command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the command line: an unknown flag in the words of Calico's tools, whose users' scripts look for
/// them; all else, and help, as clap does.
fn refuse(error: &clap::Error) -> ExitCode {
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
        && flag.starts_with('-')
    {
        match flag.strip_prefix('-').and_then(|rest| rest.chars().next()) {
            Some('-') | None => eprintln!("unknown flag: {flag}"),
            Some(letter) => eprintln!("unknown shorthand flag: '{letter}' in {flag}"),
        }
        return ExitCode::FAILURE;
    }
    // Nothing is left to do if standard output or error is closed.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
