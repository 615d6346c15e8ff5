//! `tortie apply`: creates objects, or updates those that exist.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use tortie_store::resources::{Client, Labels};

use crate::objects::{self, Common, Failure, Item, Outcome, Refusal, Style, Verb};

/// The arguments of `tortie apply`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie apply -f examples/shop
  cat policy.yaml | tortie apply -f -")]
#[command(mut_arg("filename", |argument| argument.required(true)))]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
}

/// Applies what the files hold.
pub fn run(arguments: &Arguments) -> ExitCode {
    let verb = Verb { present: "apply", past: "applied", style: Style::Summary };
    objects::report(outcome(&arguments.common), &verb)
}

fn outcome(common: &Common) -> Result<Outcome, Failure> {
    let store = common.store.open()?;
    objects::while_reading(common, |coming, gate| {
        let client = store.behind(gate).client_to_write()?;
        Ok(objects::for_each(common, &client, coming, false, apply))
    })
}

fn apply(client: &Client, item: &Item) -> Result<Value, Refusal> {
    objects::writable(item.kind, "apply", Some("resource is readonly"))?;
    let object = objects::validated(item)?;
    Ok(match objects::is_kubernetes_policy(&item.id()) {
        true => client.update(object, Labels::Merge)?,
        false => client.apply(object, Labels::Merge)?,
    })
}
