//! `tortie replace`: updates objects that must exist.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use tortie_api::kind::Kind;
use tortie_store::resources::{Client, Labels};

use crate::objects::{self, Common, Failure, Item, Outcome, Refusal, Style, Verb};

/// The arguments of `tortie replace`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie get ippool shop-ipv4 -o yaml >pool.yaml
  tortie replace -f pool.yaml")]
#[command(mut_arg("filename", |argument| argument.required(true)))]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
}

/// Replaces what the files hold.
pub fn run(arguments: &Arguments) -> ExitCode {
    let verb = Verb { present: "replace", past: "replaced", style: Style::Last };
    objects::report(outcome(&arguments.common), &verb)
}

fn outcome(common: &Common) -> Result<Outcome, Failure> {
    let store = common.store.open()?;
    objects::while_reading(common, |coming, gate| {
        let client = store.behind(gate).client_to_write()?;
        Ok(objects::for_each(common, &client, coming, false, replace))
    })
}

fn replace(client: &Client, item: &Item) -> Result<Value, Refusal> {
    if item.kind == Kind::ClusterInformation {
        // What isn't there can't be replaced; calicoctl looks first.
        client.get(&item.id())?;
    }
    objects::writable(item.kind, "apply or replace", None)?;
    Ok(client.update(objects::validated(item)?, Labels::Merge)?)
}
