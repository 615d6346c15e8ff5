//! `tortie explain`: what policy says of a flow, and why.
//!
//! Offline, from files: YAML -> `api::decode` -> resources -> `analysis` -> a story for people, or
//! one JSON object a line for programs. No store and no agent is asked. Objects that the API
//! would refuse are named on standard error and don't exist.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tortie_analysis::{Answer, Cluster, Flow, FlowError, Request, judge, story};
use tortie_api::decode::decode;
use tortie_api::resource::Resource;

use super::Output;

/// The arguments of `tortie explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A YAML or JSON file with the cluster's objects, or a directory of them.
    #[arg(short, long, value_name = "DIR")]
    filename: PathBuf,
    /// A file with one flow as JSON a line, or `-` for standard input, as
    /// `{"id":1,"from":"shop/web","to":"10.0.0.9","protocol":"tcp","port":5432}`.
    #[arg(long, value_name = "FILE", required_unless_present = "from", conflicts_with_all = ["from", "to", "port"])]
    flows: Option<PathBuf>,
    /// Who sends: `NAMESPACE/POD`, `NAMESPACE/ENDPOINT` or an address.
    #[arg(long, requires = "to", requires = "port")]
    from: Option<String>,
    /// Who receives.
    #[arg(long, requires = "from")]
    to: Option<String>,
    /// The protocol and port: `tcp/5432`, `udp/53`, `icmp`, `icmp/8.0` (type and code) or `47`.
    #[arg(long, requires = "from", value_name = "PROTOCOL/PORT")]
    port: Option<String>,
    /// How to write the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Answers each flow in order. A flow that can't be read is answered with an error.
///
/// # Errors
/// If a file can't be read or the answers can't be written.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { filename, flows, from, to, port, output } = arguments;
    let (resources, refused) = load(&filename)?;
    let cluster = Cluster::new(resources);
    for refusal in &refused {
        match output {
            Output::Json => eprintln!("{}", serde_json::to_string(refusal)?),
            Output::Text => eprintln!("left out: {}: {}", refusal.object, refusal.error),
        }
    }
    for fault in cluster.faults() {
        match output {
            Output::Json => {
                let (object, error) = (fault.key.to_string(), &fault.error);
                eprintln!("{}", json!({"object": object, "error": error}));
            }
            Output::Text => eprintln!("not understood, allows nothing: {fault}"),
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    if let (Some(from), Some(to), Some(port)) = (from, to, port) {
        let question = question(&from, &to, &port);
        answer(&cluster, &question, output, &mut out)?;
    } else if let Some(path) = flows {
        for line in lines(&path)? {
            let line = line.with_context(|| format!("reading {}", path.display()))?;
            if !line.trim().is_empty() {
                answer(&cluster, &line, output, &mut out)?;
            }
        }
    } else {
        bail!("nothing to explain: give --flows, or --from, --to and --port");
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// An object that takes no part, and why.
#[derive(Debug, Serialize)]
struct Refusal {
    /// `NetworkPolicy(shop/web)`.
    object: String,
    error: String,
    file: String,
    #[serde(skip_serializing_if = "is_zero")]
    line: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(line: &usize) -> bool {
    *line == 0
}

/// Reads all objects of a file or a directory.
fn load(path: &Path) -> anyhow::Result<(Vec<Resource>, Vec<Refusal>)> {
    let mut files = Vec::new();
    find_files(path, &mut files)?;
    let (mut resources, mut refused) = (Vec::new(), Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let refusal = |object: &str, error: String, line| Refusal {
            object: object.to_owned(),
            error,
            file: file.display().to_string(),
            line,
        };
        let decoded = decode(&text);
        refused.extend(decoded.faults.iter().map(|fault| refusal("", fault.to_string(), fault.line)));
        for document in decoded.documents {
            let subject = &document.subject;
            if let Some(fault) = document.faults.first() {
                let errors: Vec<String> = document.faults.iter().map(ToString::to_string).collect();
                refused.push(refusal(subject, errors.join("; "), fault.line));
                continue;
            }
            let Some(object) = document.object else { continue };
            if !Resource::KINDS.contains(&object.kind) {
                continue;
            }
            match object.resource() {
                Ok(resource) => resources.push(resource),
                Err(error) => refused.push(refusal(subject, error.to_string(), object.places.find("").line)),
            }
        }
    }
    refuse_missing_tiers(&mut resources, &mut refused);
    Ok((resources, refused))
}

/// The files of a directory and of those in it, in order of their names; or the file itself.
fn find_files(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let about = || format!("reading {}", path.display());
    if !path.metadata().with_context(about)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries: Result<BTreeSet<PathBuf>, io::Error> =
        path.read_dir().with_context(about)?.map(|entry| Ok(entry?.path())).collect();
    for entry in entries.with_context(about)? {
        let yaml = entry.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|of| end == *of));
        if yaml || entry.is_dir() {
            find_files(&entry, files)?;
        }
    }
    Ok(())
}

/// A policy can't be created in a tier that isn't there.
fn refuse_missing_tiers(resources: &mut Vec<Resource>, refused: &mut Vec<Refusal>) {
    let mut tiers: BTreeSet<String> =
        ["", "default", "kube-admin", "kube-baseline"].map(str::to_owned).into();
    tiers.extend(resources.iter().filter_map(|resource| match resource {
        Resource::Tier(tier) => Some(tier.metadata.name.clone()),
        _ => None,
    }));
    resources.retain(|resource| {
        let tier = match resource {
            Resource::NetworkPolicy(policy) => &policy.spec.tier,
            Resource::GlobalNetworkPolicy(policy) => &policy.spec.tier,
            _ => return true,
        };
        let exists = tiers.contains(tier);
        if !exists {
            refused.push(Refusal {
                object: resource.key().to_string(),
                error: format!("spec.tier: {tier:?}: expected a tier that exists"),
                file: String::new(),
                line: 0,
            });
        }
        exists
    });
}

/// The flow that three words ask about, as a line of a file of flows.
fn question(from: &str, to: &str, port: &str) -> String {
    let (protocol, rest) = port.split_once('/').unwrap_or((port, ""));
    let mut question = Map::from_iter([
        ("from".to_owned(), json!(from)),
        ("to".to_owned(), json!(to)),
        ("protocol".to_owned(), json!(protocol)),
    ]);
    // What isn't a number stays a text, so that the flow's own reader says what is wrong.
    let number = |text: &str| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
    match rest.split_once('.') {
        Some((icmp_type, code)) => {
            question.insert("icmpType".to_owned(), number(icmp_type));
            question.insert("icmpCode".to_owned(), number(code));
        }
        None if rest.is_empty() => {}
        None if protocol.to_ascii_lowercase().starts_with("icmp") => {
            question.insert("icmpType".to_owned(), number(rest));
        }
        None => {
            question.insert("port".to_owned(), number(rest));
        }
    }
    Value::Object(question).to_string()
}

fn lines(path: &Path) -> anyhow::Result<Box<dyn Iterator<Item = io::Result<String>>>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lines()));
    }
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Box::new(BufReader::new(file).lines()))
}

/// Writes the answer to one flow.
fn answer(cluster: &Cluster, line: &str, output: Output, out: &mut impl Write) -> anyhow::Result<()> {
    let answered = explain(cluster, line);
    match (output, answered) {
        (Output::Text, Ok((flow, answer))) => write!(out, "{}", story(cluster, &flow, &answer))?,
        (Output::Text, Err(error)) => writeln!(out, "{line}: {error}")?,
        (Output::Json, answered) => {
            let id = serde_json::from_str::<Value>(line).ok().and_then(|line| line.get("id").cloned());
            let id = id.unwrap_or(Value::Null);
            match answered {
                Ok((_, answer)) => serde_json::to_writer(&mut *out, &Answered { id, answer })?,
                Err(error) => {
                    serde_json::to_writer(&mut *out, &json!({"id": id, "error": error.to_string()}))?;
                }
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Answered {
    id: Value,
    #[serde(flatten)]
    answer: Answer,
}

fn explain(cluster: &Cluster, line: &str) -> Result<(Flow, Answer), FlowError> {
    let flow = Request::parse(line)?.resolve(cluster)?;
    Ok((flow, judge(cluster, &flow)))
}
