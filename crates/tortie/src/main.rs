//! The `tortie` binary: arguments in, one command, an exit status out.
//!
//! Each command has a file of its own under `command`; what it does is in the crates below.

mod calicoctl;
mod command;
mod objects;
mod output;
mod packed;
mod settings;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use tortie_agent::config::Severity;
use tortie_cni::Plugin;
use tortie_cni::plugin::Process;
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Layer-3 networking, address management and network security.
#[derive(Debug, Parser)]
#[command(name = "tortie", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: command::Command,
}

fn main() -> ExitCode {
    end_with_the_reader();
    let said = EnvFilter::try_from_env("TORTIE_LOG").ok();
    // The log goes to standard error, which programs may read: only what runs on tells more than warnings unasked.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    if let Some(plugin) = plugin() {
        // It lives for milliseconds: nothing is made ready here that it doesn't need.
        match said {
            None => log.with_max_level(Level::WARN).with_ansi(false).init(),
            Some(said) => log.with_env_filter(said).with_ansi(false).init(),
        }
        return call(plugin);
    }
    let told = match std::env::args().nth(1).as_deref() {
        _ if calicoctl::called() => "error",
        Some("agent" | "controllers") => "info",
        _ => "warn",
    };
    let may_change = said.is_none();
    let log = log
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(said.unwrap_or_else(|| EnvFilter::new(told)))
        .with_filter_reloading();
    let handle = log.reload_handle();
    log.init();
    // What `TORTIE_LOG` says is stronger than all other settings.
    let log_what = |level: &str| {
        if may_change && let Err(error) = handle.reload(EnvFilter::new(level)) {
            tracing::warn!(%error, "what is logged could not be changed");
        }
    };
    if calicoctl::called() {
        return calicoctl::run(&log_what);
    }
    let Arguments { command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    match command.run(&|severity: Severity| log_what(severity.filter())) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process quietly, as the signal does in other programs, when whoever reads its output is gone, as in
/// `tortie get ... | head`. The signal itself stays ignored: a datastore's closed connection must not end anything.
fn end_with_the_reader() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if message.starts_with("failed printing to stdout") && message.contains("Broken pipe") {
            reader_is_gone();
        }
        told(panic);
    }));
}

/// Ends the process as the signal would.
fn reader_is_gone() -> ! {
    const KILLED_BY_SIGPIPE: i32 = 128 + 13;
    std::process::exit(KILLED_BY_SIGPIPE);
}

/// The plugin that runtimes call for `lo`.
const LOOPBACK: &str = "loopback";

/// The name that this process was called by.
fn called_as() -> Option<String> {
    let path = std::env::args_os().next().map(PathBuf::from)?;
    Some(path.file_name()?.to_str()?.to_owned())
}

/// Which CNI plugin this process was called as, if it was: by its name, or by a runtime under any name.
fn plugin() -> Option<Plugin> {
    match called_as()?.as_str() {
        "calico" => Some(Plugin::Network),
        "calico-ipam" => Some(Plugin::Ipam),
        LOOPBACK => Some(Plugin::Network),
        calicoctl::NAME => None,
        _ if std::env::var_os("CNI_COMMAND").is_some() => Some(Plugin::Network),
        _ => None,
    }
}

/// A call of a CNI runtime.
fn call(plugin: Plugin) -> ExitCode {
    let mut stdin = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut stdin) {
        tracing::warn!(%error, "standard input is not text");
    }
    let environment = std::env::vars().collect();
    if std::env::args().nth(1).as_deref() == Some("-t") {
        return match tortie_cni::plugin::test_datastore(&environment, &stdin) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let process = Process { plugin, environment, stdin };
    let reply = match called_as().as_deref() {
        Some(LOOPBACK) => tortie_cni::loopback::run(&process),
        _ => tortie_cni::plugin::run(&process),
    };
    if !reply.stdout.is_empty() {
        println!("{}", reply.stdout);
    }
    ExitCode::from(reply.exit)
}

/// Says what is wrong with the command line: an unknown flag in the words of Calico's tools, whose users' scripts look for
/// them; all else, and help, as clap does.
fn refuse(error: &clap::Error) -> ExitCode {
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    {
        let words: Vec<String> = std::env::args().skip(1).collect();
        if let Some(message) = calicoctl::unknown_flag(flag, &words) {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    }
    // Nothing is left to do if standard output or error is closed.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
