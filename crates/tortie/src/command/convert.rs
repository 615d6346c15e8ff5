//! `tortie convert`: policies of Kubernetes as Calico's. Pure but for a file.

use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use tortie_api::decode::{Document, decode};
use tortie_api::kind::Kind;
use tortie_api::policy::{GlobalNetworkPolicySpec, NetworkPolicySpec};
use tortie_api::resource::{Converted, Resource};
use tortie_api::schema::{Shaped, complete};
use tortie_api::yaml;

use super::Output;

/// The arguments of `tortie convert`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file with NetworkPolicies or ClusterNetworkPolicies of Kubernetes, YAML or JSON, any
    /// number of documents; `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// How to write the policies: `text` is YAML.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Writes a policy for each document that can be converted and names the others. It is a
/// failure if none can.
///
/// # Errors
/// If the file can't be read or the answer can't be written.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { filename, output } = arguments;
    let text = read(&filename)?;
    let name = filename.display();
    let decoded = decode(&text);
    for fault in &decoded.faults {
        eprintln!("{name}:{fault}");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut converted = 0;
    for document in &decoded.documents {
        match convert(document) {
            Ok(policy) => {
                converted += 1;
                write(&mut out, &policy, output)?;
            }
            Err(reasons) => reasons.iter().for_each(|reason| eprintln!("{name}:{reason}")),
        }
    }
    out.flush()?;
    if converted == 0 {
        eprintln!("{name}: no policy of Kubernetes that could be converted");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The document as a policy of Calico's, or each reason why it is none.
fn convert(document: &Document) -> Result<Value, Vec<String>> {
    let Document { subject, object, faults } = document;
    let object = match object {
        Some(object) if faults.is_empty() => object,
        _ => return Err(faults.iter().map(ToString::to_string).collect()),
    };
    match object.resource() {
        Ok(Resource::KubernetesNetworkPolicy(policy)) => {
            answer::<NetworkPolicySpec>(Kind::NetworkPolicy, &policy)
        }
        Ok(Resource::KubernetesClusterNetworkPolicy(policy)) => {
            answer::<GlobalNetworkPolicySpec>(Kind::GlobalNetworkPolicy, &policy)
        }
        Ok(_) => Err(vec![format!(
            " {subject}: expected a NetworkPolicy of {} or a ClusterNetworkPolicy of {}",
            Kind::KubernetesNetworkPolicy.api().version(),
            Kind::KubernetesClusterNetworkPolicy.api().version(),
        )]),
        Err(error) => Err(vec![format!(" {error}")]),
    }
}

/// `kind`, `namespace`, `name` and `spec`; `calicoKind` says whose form the spec has, and
/// `error` which rules could not be converted.
fn answer<S: Shaped + Serialize>(calico_kind: Kind, policy: &Converted<S>) -> Result<Value, Vec<String>> {
    let Converted { key, spec, faults: _ } = policy;
    let mut spec = serde_json::to_value(spec).map_err(|error| vec![format!(" {key}: {error}")])?;
    complete(&mut spec, S::SHAPE);
    let mut answer = Map::new();
    answer.insert("calicoKind".to_owned(), calico_kind.name().into());
    answer.insert("kind".to_owned(), key.kind.qualified_name().into());
    if !key.namespace.is_empty() {
        answer.insert("namespace".to_owned(), (*key.namespace).into());
    }
    answer.insert("name".to_owned(), (*key.name).into());
    answer.insert("spec".to_owned(), spec);
    if let Some(error) = policy.error() {
        answer.insert("error".to_owned(), error.into());
    }
    Ok(Value::Object(answer))
}

fn write(out: &mut impl Write, policy: &Value, output: Output) -> io::Result<()> {
    match output {
        Output::Json => writeln!(out, "{policy}"),
        Output::Text => write!(out, "---\n{}", yaml::to_string(policy)),
    }
}
