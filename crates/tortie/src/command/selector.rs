//! `tortie selector`: what a selector is, and whether it matches labels. Pure but for a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use tortie_api::selector::{Selector, SelectorId};

use super::Output;

/// The arguments of `tortie selector`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The selector, as `app == "web" && !has(legacy)`.
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    selector: Option<String>,
    /// The labels to match: `key=value`, separated by commas.
    #[arg(long, value_delimiter = ',', conflicts_with = "batch", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// A file with one `{"selector":"..","labels":{..}}` a line, or `-` for standard input;
    /// answered in order, one line each.
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    /// How to write the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// One line of a batch.
#[derive(Deserialize)]
struct Question {
    selector: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Valid { valid: bool, canonical: String, id: SelectorId, r#match: bool },
    Invalid { valid: bool, error: String },
}

/// Answers one question or a file of them. An answer that a selector is invalid is an answer;
/// only for people it is a failure too.
///
/// # Errors
/// If the labels or the file can't be read, or the answer can't be written.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { selector, labels, batch, output } = arguments;
    let mut out = BufWriter::new(io::stdout().lock());
    let code = match (selector, batch) {
        (_, Some(path)) => {
            for question in questions(&path)? {
                write(&mut out, &answer(&question?), output)?;
            }
            ExitCode::SUCCESS
        }
        (Some(selector), None) => {
            let labels = labels.iter().map(|label| parse_label(label)).collect::<anyhow::Result<_>>()?;
            let answer = answer(&Question { selector, labels });
            write(&mut out, &answer, output)?;
            match (answer, output) {
                (Answer::Invalid { .. }, Output::Text) => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            }
        }
        (None, None) => bail!("a selector or --batch FILE is needed"),
    };
    out.flush()?;
    Ok(code)
}

fn answer(question: &Question) -> Answer {
    let Question { selector, labels } = question;
    match Selector::parse(selector) {
        Ok(selector) => Answer::Valid {
            valid: true,
            canonical: selector.canonical(),
            id: selector.id(),
            r#match: selector.matches(labels),
        },
        Err(error) => Answer::Invalid { valid: false, error: error.to_string() },
    }
}

fn write(out: &mut impl Write, answer: &Answer, output: Output) -> anyhow::Result<()> {
    match (output, answer) {
        (Output::Json, answer) => {
            serde_json::to_writer(&mut *out, answer)?;
            writeln!(out)?;
        }
        (Output::Text, Answer::Valid { valid: _, canonical, id, r#match }) => {
            let matches = if *r#match { "matches" } else { "does not match" };
            writeln!(out, "{canonical}\t{id}\t{matches}")?;
        }
        (Output::Text, Answer::Invalid { valid: _, error }) => writeln!(out, "invalid: {error}")?,
    }
    Ok(())
}

fn questions(path: &PathBuf) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Question>>> {
    let reader: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Box::new(BufReader::new(file))
    };
    let name = path.display().to_string();
    let lines = reader.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.as_ref().is_ok_and(|line| line.trim().is_empty()));
    Ok(lines.map(move |(index, line)| {
        let place = || {
            let expected = r#"expected {"selector":"..","labels":{..}}"#;
            format!("{name}: line {}: {expected}", index + 1)
        };
        serde_json::from_str(&line.with_context(place)?).with_context(place)
    }))
}

fn parse_label(text: &str) -> anyhow::Result<(String, String)> {
    let (key, value) =
        text.split_once('=').with_context(|| format!("--labels: found {text:?}, expected key=value"))?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
