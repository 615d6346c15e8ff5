//! `tortie explain`: what policy says of a flow, and why.
//!
//! Offline, from files: YAML -> `api::decode` -> resources -> `analysis` -> a story for people, or
//! one JSON object a line for programs. No store and no agent is asked. Objects that the API
//! would refuse are named on standard error and don't exist. Without files: see [`online`].

mod online;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tortie_analysis::{Answer, Cluster, Flow, FlowError, Request, judge, story};
use tortie_api::decode::{Document, Object, decode};
use tortie_api::defaults;
use tortie_api::fault::Fault;
use tortie_api::kind::Kind;
use tortie_api::resource::Resource;
use tortie_api::validate::validate;

use super::{Output, input};

/// The arguments of `tortie explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A YAML or JSON file with the cluster's objects, or a directory of them. Without it the
    /// store and the running agent are asked.
    #[arg(short, long, value_name = "DIR", required_unless_present = "from")]
    filename: Option<PathBuf>,
    /// The file that names the datastore, in calicoctl's form.
    #[arg(short, long, default_value = crate::settings::DEFAULT_FILE)]
    config: PathBuf,
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
    let Arguments { filename, config, flows, from, to, port, output } = arguments;
    let Some(filename) = filename else {
        let (Some(from), Some(to), Some(port)) = (from, to, port) else {
            bail!("give -f DIR, or --from, --to and --port to ask the running agent");
        };
        return run_online(&config, &question(&from, &to, &port), output);
    };
    let (resources, refused) = load(&filename)?;
    let cluster = Cluster::new(resources);
    for refusal in &refused {
        match output {
            Output::Json => eprintln!("{}", serde_json::to_string(refusal)?),
            Output::Text => eprintln!("left out: {refusal}"),
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

/// Asks the store and the agent. The exit status is 1 if they don't say the same.
fn run_online(config: &Path, question: &str, output: Output) -> anyhow::Result<ExitCode> {
    let explained = online::explain(config, question)?;
    match output {
        Output::Json => println!("{}", serde_json::to_string(&explained)?),
        Output::Text => {
            let (cluster, flow) = &explained.told;
            print!("{}", story(cluster, flow, &explained.answer));
            let sides = [&explained.tables.egress, &explained.tables.ingress];
            match (explained.agree, sides.iter().any(|side| side.is_some())) {
                (true, true) => println!("  the kernel's tables on this machine say the same"),
                (true, false) => println!("  neither side is on this machine: its tables are not asked"),
                (false, _) => println!("  ALARM: the kernel's tables say otherwise: {:?}", explained.tables),
            }
        }
    }
    Ok(if explained.agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

impl fmt::Display for Refusal {
    /// `FILE: OBJECT: ERROR`, without what is empty.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, error, file, line: _ } = self;
        for part in [file, object].into_iter().filter(|part| !part.is_empty()) {
            write!(formatter, "{part}: ")?;
        }
        formatter.write_str(error)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(line: &usize) -> bool {
    *line == 0
}

/// Reads all objects of a file or a directory, as if they were created through the API.
fn load(path: &Path) -> anyhow::Result<(Vec<Resource>, Vec<Refusal>)> {
    let (mut resources, mut refused) = (Vec::new(), Vec::new());
    for file in input::read(path, true)? {
        let decoded = decode(&file.text);
        let mut refuse = |object: &str, error: String, line| {
            refused.push(Refusal { object: object.to_owned(), error, file: file.name.clone(), line });
        };
        for fault in &decoded.faults {
            refuse("", fault.to_string(), fault.line);
        }
        for Document { subject, object, faults } in decoded.documents {
            let (resource, faults) = match object {
                Some(object) if faults.is_empty() => read(object),
                _ => (None, faults),
            };
            resources.extend(resource);
            if let Some(first) = faults.first() {
                let errors: Vec<String> = faults.iter().map(ToString::to_string).collect();
                refuse(&subject, errors.join("; "), first.line);
            }
        }
    }
    refuse_missing_tiers(&mut resources, &mut refused);
    Ok((resources, refused))
}

/// An object with its defaults, if the API would take it and it means anything to policy; else its faults.
fn read(mut object: Object) -> (Option<Resource>, Vec<Fault>) {
    defaults::apply(object.kind, &mut object.json, "default");
    // Of Kubernetes' policies the API takes more than Calico can convert: what becomes of the rest
    // is for the conversion to say.
    let converted =
        matches!(object.kind, Kind::KubernetesNetworkPolicy | Kind::KubernetesClusterNetworkPolicy);
    let faults = if converted { Vec::new() } else { validate(&object) };
    if !faults.is_empty() || !Resource::KINDS.contains(&object.kind) {
        return (None, faults);
    }
    match object.resource() {
        Ok(resource) => (Some(resource), Vec::new()),
        Err(error) => (None, object.place(vec![Fault::new("", error.to_string())])),
    }
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
