//! `completion` and `man`: what shells and `man` want to know of the commands, of both names of the binary.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use clap_complete::Shell;

/// The arguments of `completion`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie completion bash >/etc/bash_completion.d/tortie
  tortie completion zsh >/usr/local/share/zsh/site-functions/_tortie
  tortie completion fish >~/.config/fish/completions/tortie.fish")]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// The arguments of `tortie man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The directory to write the pages to, for example /usr/local/share/man/man1.
    directory: PathBuf,
}

/// Prints the completion of a command under `name`.
pub fn complete(arguments: &Completion, mut command: clap::Command, name: &str) -> ExitCode {
    clap_complete::generate(arguments.shell, &mut command, name, &mut std::io::stdout());
    ExitCode::SUCCESS
}

/// Writes a page for each command of each name.
///
/// # Errors
/// If a page can't be written.
pub fn write(arguments: &Man, commands: Vec<clap::Command>) -> anyhow::Result<ExitCode> {
    let Man { directory } = arguments;
    let context = || format!("cannot write to {}", directory.display());
    fs::create_dir_all(directory).with_context(context)?;
    for command in commands {
        clap_mangen::generate_to(command, directory).with_context(context)?;
    }
    Ok(ExitCode::SUCCESS)
}
