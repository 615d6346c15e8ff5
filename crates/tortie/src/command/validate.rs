//! `tortie validate`: everything that is wrong with files of objects. Pure but for the files.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tortie_api::decode::decode;
use tortie_api::fault::Fault;
use tortie_api::validate;

use super::{Output, input};

/// The arguments of `tortie validate`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file of objects, YAML or JSON, any number of documents; a directory of such files; or
    /// `-` for standard input.
    #[arg(short, long, value_name = "FILE|DIR")]
    filename: PathBuf,
    /// Directories in directories too.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Take it as fine if there is no object at all.
    #[arg(long)]
    skip_empty: bool,
    /// The namespace of objects that don't say one.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// How to write the faults.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A fault as programs get it.
#[derive(Serialize)]
struct Line<'fault> {
    file: &'fault str,
    object: &'fault str,
    #[serde(flatten)]
    fault: &'fault Fault,
}

/// Writes each fault: with `-o json` to standard output, else to standard error. It is a failure
/// if there is one, or if there is no object.
///
/// # Errors
/// If a file can't be read or the answer can't be written.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { filename, recursive, skip_empty, namespace, output } = arguments;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut objects, mut faulty, mut faults) = (0, 0, 0);
    for input in input::read(&filename, recursive)? {
        let mut decoded = validate::check(decode(&input.text), &namespace);
        for document in &mut decoded.documents {
            let unconverted = document.object.as_ref().filter(|_| document.faults.is_empty());
            document.faults.extend(unconverted.map(validate::conversion).unwrap_or_default());
        }
        let whole = decoded.faults.iter().map(|fault| ("", fault));
        let parts = decoded
            .documents
            .iter()
            .flat_map(|document| document.faults.iter().map(|fault| (document.subject.as_str(), fault)));
        let mut found: Vec<_> = whole.chain(parts).collect();
        found.sort_by_key(|(_, fault)| (fault.line, fault.column));
        for (object, fault) in found {
            faults += 1;
            match output {
                Output::Json => {
                    serde_json::to_writer(&mut out, &Line { file: &input.name, object, fault })?;
                    out.write_all(b"\n")?;
                }
                Output::Text => eprintln!("{}:{}", input.name, text(object, fault)),
            }
        }
        objects += decoded.documents.len();
        faulty += decoded.documents.iter().filter(|document| !document.faults.is_empty()).count();
    }
    out.flush()?;
    if faults > 0 {
        eprintln!("{faults} fault(s) in {faulty} of {objects} resource(s)");
        return Ok(ExitCode::FAILURE);
    }
    if objects == 0 && !skip_empty {
        eprintln!("No resources specified");
        return Ok(ExitCode::FAILURE);
    }
    if output == Output::Text {
        writeln!(out, "Successfully validated {objects} resource(s)")?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `LINE:COLUMN: OBJECT: FIELD: MESSAGE (found .., expected ..)`.
fn text(object: &str, fault: &Fault) -> String {
    let unplaced = Fault { line: 0, column: 0, ..fault.clone() };
    let object = if object.is_empty() { String::new() } else { format!("{object}: ") };
    format!("{}:{}: {object}{unplaced}", fault.line, fault.column)
}
