//! clap's grammar as calicoctl's (cobra's): what is taken, and what is said of what isn't.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// The same commands with cobra's habits: a flag may be repeated, the last one counts; a value may begin with a hyphen;
/// nothing is required before the command itself asks for it; words that a command has no use for are passed over.
pub fn as_cobra(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|subcommand| subcommand.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| command.mut_subcommand(name, as_cobra));
    let command = command.disable_version_flag(true).args_override_self(true);
    let command = match command.get_after_help().map(ToString::to_string) {
        Some(help) => command.after_help(help.replace("tortie ", "calicoctl ")),
        None => command,
    };
    let takes_words = command.get_positionals().next().is_some();
    let command = match (command.has_subcommands(), takes_words) {
        (true, _) => command.arg_required_else_help(true),
        (false, false) => command.arg(Arg::new("passed over").num_args(0..).hide(true)),
        (false, true) => command,
    };
    command.mut_args(|argument| match argument.get_action() {
        ArgAction::Set | ArgAction::Append if !argument.is_positional() => {
            argument.required(false).allow_hyphen_values(true)
        }
        _ => argument,
    })
}

/// The words of a command line with each switch that has a value, as `--recursive=true`, by itself or left out.
///
/// # Errors
/// A value that is neither true nor false, in cobra's words.
pub fn plain_switches(command: &Command, words: impl Iterator<Item = String>) -> Result<Vec<String>, String> {
    let mut switches = BTreeSet::new();
    collect_switches(command, &mut switches);
    words
        .filter_map(|word| {
            let given = word.strip_prefix("--").and_then(|word| word.split_once('='));
            match given.filter(|(name, _)| switches.contains(*name)) {
                Some((name, "true" | "t" | "T" | "TRUE" | "True" | "1")) => Some(Ok(format!("--{name}"))),
                Some((_, "false" | "f" | "F" | "FALSE" | "False" | "0")) => None,
                Some((name, value)) => {
                    let flag = spelt(command, &format!("--{name}"));
                    Some(Err(format!(
                        "invalid argument {value:?} for {flag:?} flag: strconv.ParseBool: parsing {value:?}: invalid syntax"
                    )))
                }
                None => Some(Ok(word)),
            }
        })
        .collect()
}

fn collect_switches(command: &Command, found: &mut BTreeSet<String>) {
    let switches =
        command.get_arguments().filter(|argument| matches!(argument.get_action(), ArgAction::SetTrue));
    found.extend(switches.filter_map(|argument| argument.get_long().map(str::to_owned)));
    command.get_subcommands().for_each(|subcommand| collect_switches(subcommand, found));
}

/// A flag as cobra names it: `-o, --output`.
fn spelt(command: &Command, flag: &str) -> String {
    let long = flag.trim_start_matches('-');
    let own = command.get_arguments().find(|argument| argument.get_long() == Some(long));
    match own.and_then(Arg::get_short) {
        Some(short) => format!("-{short}, --{long}"),
        None => {
            let mut deeper = command.get_subcommands().map(|subcommand| spelt(subcommand, flag));
            deeper.find(|name| name.contains(", ")).unwrap_or_else(|| flag.to_owned())
        }
    }
}

/// What Go says of a number that is none.
fn number_fault(value: &str, cause: &str) -> String {
    let what = if cause.contains("too large") || cause.contains("too small") {
        "value out of range"
    } else {
        "invalid syntax"
    };
    format!("strconv.ParseInt: parsing {value:?}: {what}")
}

/// Says what is wrong with the command line, or shows the help that was asked for.
pub fn refuse(error: &clap::Error, words: &[String]) -> ExitCode {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            print!("{}", error.render());
            return ExitCode::SUCCESS;
        }
        ErrorKind::MissingSubcommand => {
            print!("{}", super::command().render_help());
            return ExitCode::SUCCESS;
        }
        ErrorKind::UnknownArgument => {
            let found = text(ContextKind::InvalidArg);
            match unknown_flag(&found, words) {
                Some(message) => eprintln!("{message}"),
                None => eprintln!("unknown command {found:?} for {:?}", group(words, &found)),
            }
        }
        ErrorKind::InvalidSubcommand => {
            let found = text(ContextKind::InvalidSubcommand);
            eprintln!("unknown command {found:?} for {:?}", group(words, &found));
            let similar = text(ContextKind::SuggestedSubcommand);
            if !similar.is_empty() {
                eprintln!("\nDid you mean this?\n\t{similar}\n");
            }
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_empty() => {
            eprintln!("{}", missing_value(&text(ContextKind::InvalidArg), words));
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let flag = text(ContextKind::InvalidArg);
            let flag = flag.split([' ', '[', '=']).next().unwrap_or_default().to_owned();
            let value = text(ContextKind::InvalidValue);
            let cause = std::error::Error::source(error).map(ToString::to_string);
            let cause = number_fault(&value, &cause.unwrap_or_default());
            eprintln!("invalid argument {value:?} for {:?} flag: {cause}", spelt(&super::command(), &flag));
        }
        _ => eprint!("{}", error.render()),
    }
    ExitCode::FAILURE
}

/// The commands that stand before a word.
fn group(words: &[String], found: &str) -> String {
    let before = words.iter().take_while(|word| *word != found).filter(|word| !word.starts_with('-'));
    let mut command = super::command();
    let mut names = vec![super::NAME.to_owned()];
    for word in before {
        if let Some(next) = command.find_subcommand(word).cloned() {
            names.push(word.clone());
            command = next;
        }
    }
    names.join(" ")
}

/// What is said of a flag that doesn't exist, in the words that users' scripts look for; `None` if it is no flag.
pub fn unknown_flag(flag: &str, words: &[String]) -> Option<String> {
    match flag.strip_prefix('-')?.chars().next() {
        Some('-') | None => Some(format!("unknown flag: {}", flag.split('=').next().unwrap_or_default())),
        Some(letter) => {
            // Short flags may stand together.
            let group = words
                .iter()
                .find(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter));
            Some(format!("unknown shorthand flag: '{letter}' in {}", group.map_or(flag, String::as_str)))
        }
    }
}

/// What is said of a flag that needs a value and has none: as it was spelt.
fn missing_value(flag: &str, words: &[String]) -> String {
    let long = flag.split_whitespace().next().unwrap_or_default();
    match words.last() {
        Some(word) if word.starts_with('-') && !word.starts_with("--") => {
            let letter = word.chars().next_back().unwrap_or_default();
            format!("flag needs an argument: '{letter}' in {word}")
        }
        _ => format!("flag needs an argument: {long}"),
    }
}
