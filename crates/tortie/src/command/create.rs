//! `tortie create`: creates objects that must not exist.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use tortie_store::Error;
use tortie_store::resources::Client;

use crate::objects::{self, Common, Failure, Item, Outcome, Refusal, Style, Verb};

/// The arguments of `tortie create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie create -f pool.yaml
  tortie create -R -f cluster --skip-exists")]
#[command(mut_arg("filename", |argument| argument.required(true)))]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Objects that exist already are left as they are, and counted as created.
    #[arg(long)]
    skip_exists: bool,
}

/// Creates what the files hold.
pub fn run(arguments: &Arguments) -> ExitCode {
    let verb = Verb { present: "create", past: "created", style: Style::Summary };
    objects::report(outcome(arguments), &verb)
}

fn outcome(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { common, skip_exists } = arguments;
    let store = common.store.open()?;
    objects::while_reading(common, |coming, gate| {
        let client = store.behind(gate).client_to_write()?;
        Ok(objects::for_each(common, &client, coming, false, |client, item| {
            create(client, item, *skip_exists)
        }))
    })
}

fn create(client: &Client, item: &Item, skip_exists: bool) -> Result<Value, Refusal> {
    objects::writable(item.kind, "create or apply", None)?;
    let object = objects::validated(item)?;
    if objects::is_kubernetes_policy(&item.id()) {
        return Err(objects::kubernetes_policy(&item.id(), "create or apply").into());
    }
    match client.create(object) {
        Err(Error::AlreadyExists { .. }) if skip_exists => Ok(item.json.clone()),
        outcome => Ok(outcome?),
    }
}
