//! `calicoctl convert`: objects of Calico's first API, and policies of Kubernetes, as Calico's objects of now, ready to be applied.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use tortie_api::decode::Object;
use tortie_api::fault::Fault;
use tortie_api::first::{self, Item};
use tortie_api::kind::Kind;
use tortie_api::policy::{GlobalNetworkPolicySpec, NetworkPolicySpec};
use tortie_api::resource::{Converted, Resource};
use tortie_api::schema::{Shaped, complete};
use tortie_api::validate;

use crate::command::input;
use crate::objects::Refusal;
use crate::output::{self, Shown};

/// The arguments of `calicoctl convert`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file with objects of `apiVersion: v1`, or with policies of Kubernetes, or - for standard input.
    #[arg(short, long)]
    filename: Option<PathBuf>,
    /// yaml or json.
    #[arg(short, long, default_value = "yaml")]
    output: String,
    /// Show what can't be applied, too.
    #[arg(long)]
    ignore_validation: bool,
}

/// Shows the converted objects.
pub fn run(arguments: &Arguments) -> ExitCode {
    match convert(arguments) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn convert(arguments: &Arguments) -> Result<String, String> {
    let Arguments { filename, output, ignore_validation } = arguments;
    let writer: output::Writer = match output.as_str() {
        "yaml" | "yml" => output::write_yaml_list,
        "json" => output::write_json_list,
        other => return Err(format!("unrecognized output format '{other}'")),
    };
    let failed = |message| format!("failed to execute command: {message}");
    let mut converted = Vec::new();
    for (kind, json) in read(filename.as_deref()).map_err(failed)? {
        let faults = validate::validate_json(kind, &json);
        if !ignore_validation && !faults.is_empty() {
            return Err(format!(
                "converted manifest resource(s) failed validation: {}Re-run the command with '--ignore-validation' flag to see the converted output.\n",
                Refusal::of_faults("", &faults).message
            ));
        }
        converted.push(Shown::Object { kind, object: json });
    }
    Ok(output::to_text(writer, &converted))
}

fn read(path: Option<&Path>) -> Result<Vec<(Kind, Value)>, String> {
    let path = path.ok_or_else(|| "no file is given; expected --filename".to_owned())?;
    let mut objects = Vec::new();
    for file in input::read(path, false).map_err(|error| format!("{error:#}"))? {
        let (items, faults) = first::decode(&file.text);
        for item in items {
            objects.push(match item {
                Item::Old(converted) => {
                    converted.map_err(|faults| Refusal::of_faults("", &faults).message)?
                }
                Item::Other(document) => {
                    let object = document.object.filter(|_| document.faults.is_empty());
                    as_calico(&object.ok_or_else(|| first_of(document.faults))?)?
                }
            });
        }
        if !faults.is_empty() {
            return Err(first_of(faults));
        }
    }
    Ok(objects)
}

fn first_of(faults: Vec<Fault>) -> String {
    faults.into_iter().next().map(|fault| fault.message).unwrap_or_default()
}

fn as_calico(object: &Object) -> Result<(Kind, Value), String> {
    let unsupported =
        || format!("conversion for the resource type '{}' is not supported", object.kind.name());
    match object.resource() {
        Ok(Resource::KubernetesNetworkPolicy(policy)) => {
            filled::<NetworkPolicySpec>(Kind::NetworkPolicy, &policy)
        }
        Ok(Resource::KubernetesClusterNetworkPolicy(policy)) => {
            filled::<GlobalNetworkPolicySpec>(Kind::GlobalNetworkPolicy, &policy)
        }
        Ok(_) | Err(tortie_api::resource::ResourceError::Kind { .. }) => Err(unsupported()),
        Err(error) => Err(error.to_string()),
    }
}

fn filled<S: Shaped + Serialize>(kind: Kind, policy: &Converted<S>) -> Result<(Kind, Value), String> {
    if let Some(error) = policy.error() {
        return Err(error);
    }
    let mut spec = serde_json::to_value(&policy.spec).map_err(|error| error.to_string())?;
    complete(&mut spec, S::SHAPE);
    let mut metadata = json!({ "name": &*policy.key.name });
    if !policy.key.namespace.is_empty() {
        metadata["namespace"] = json!(&*policy.key.namespace);
    }
    let version = kind.api().version();
    Ok((kind, json!({ "kind": kind.name(), "apiVersion": version, "metadata": metadata, "spec": spec })))
}
