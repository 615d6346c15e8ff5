//! `label`: sets or removes one label of an object.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tortie_store::resources::{Client, Labels};

use crate::objects::{self, Failure, Store};

/// The arguments of `label`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie label node worker-1 rack=b12
  tortie label node worker-1 rack=b13 --overwrite
  tortie label node worker-1 rack --remove")]
pub struct Arguments {
    /// The kind, the name, and the label as KEY=VALUE, or KEY to remove it.
    #[arg(value_names = ["KIND", "NAME", "KEY=VALUE"], num_args = 0..)]
    words: Vec<String>,
    /// Give a label that is there another value.
    #[arg(long)]
    overwrite: bool,
    /// Remove the label.
    #[arg(long)]
    remove: bool,
    /// The namespace; `default` if there is none.
    #[arg(short, long)]
    namespace: Option<String>,
    #[command(flatten)]
    store: Store,
}

/// Changes the label.
pub fn run(arguments: Arguments) -> ExitCode {
    match label(arguments) {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(failure) => failure.print(),
    }
}

fn label(arguments: Arguments) -> Result<String, Failure> {
    let Arguments { words, overwrite, remove, namespace, store } = arguments;
    let [kind, name, label, ..] = &words[..] else {
        let received = words.len();
        return Err(Failure::Command(format!("requires at least 3 arg(s), only received {received}")));
    };
    let (key, value) = match label.split_once('=') {
        _ if remove => (label.as_str(), ""),
        Some(pair) => pair,
        None => return Err(Failure::Command(format!("invalid label {label}"))),
    };
    let failed = |failure| match failure {
        Failure::Command(error) => Failure::Command(format!("failed to get {kind} {name}, error {error}")),
        other => other,
    };
    let store = store.open().map_err(failed)?;
    let mut item = objects::named(kind, name, namespace.as_deref()).map_err(failed)?;
    let client = store.client()?;
    let missing = || Failure::Command(format!("{kind} {name} not found"));
    objects::place(&mut item, namespace.as_deref()).map_err(|_| missing())?;
    let mut object = client.get(&item.id()).map_err(|error| {
        tracing::info!(%error, "the object could not be read");
        missing()
    })?;
    let done = match (set(&mut object, key, (!remove).then_some(value), overwrite), remove) {
        (Ok(_), true) => format!("Successfully removed label {key} from {kind} {name}"),
        (Ok(true), false) => format!("Successfully updated label {key} on {kind} {name}"),
        (Ok(false), false) => format!("Successfully set label {key} on {kind} {name}"),
        (Err(()), true) => {
            return Err(Failure::Command(format!(
                "cannot remove label of {kind} {name}, key {key} does not exist"
            )));
        }
        (Err(()), false) => {
            return Err(Failure::Command(format!(
                "failed to update label of {kind} {name}, key {key} is already present. please use '--overwrite' to set a new value"
            )));
        }
    };
    update(&client, object).map_err(|error| {
        tracing::info!(%error, "the object could not be written");
        Failure::Command(format!("failed to update {kind} {name}, label not changed"))
    })?;
    Ok(done)
}

fn update(client: &Client, object: Value) -> Result<(), String> {
    let kind = Client::key_of(&object).map_err(|error| error.to_string())?.kind;
    objects::writable(kind, "apply or replace", None).map_err(|error| error.to_string())?;
    let item = objects::Item { kind, json: object, source: None };
    let object = objects::validated(&item).map_err(|refusal| refusal.message)?;
    client.update(object, Labels::Replace).map(drop).map_err(|error| error.to_string())
}

/// Sets or, without a value, removes a label. Says whether it was there; fails if what is there is in the way, or isn't
/// there to be removed.
fn set(object: &mut Value, key: &str, value: Option<&str>, overwrite: bool) -> Result<bool, ()> {
    let labels = &mut object["metadata"]["labels"];
    if !labels.is_object() {
        *labels = json!({});
    }
    let old = labels.get(key).and_then(Value::as_str).map(str::to_owned);
    match (value, &old) {
        (None, None) => Err(()),
        (Some(value), Some(old)) if !overwrite && value != old => Err(()),
        (None, Some(_)) => {
            labels.as_object_mut().map(|labels| labels.remove(key));
            Ok(true)
        }
        (Some(value), _) => {
            labels[key] = json!(value);
            Ok(old.is_some())
        }
    }
}
