//! `tortie delete`: deletes objects by file, or by kind and name.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use tortie_store::Error;
use tortie_store::resources::Client;

use crate::objects::{self, Common, Failure, Item, Named, Outcome, Style, Verb};

/// The arguments of `tortie delete`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie delete -f examples/shop
  tortie delete networkpolicy web db -n shop --skip-not-exists")]
pub struct Arguments {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    common: Common,
    /// Objects that do not exist are counted as deleted.
    #[arg(short, long)]
    skip_not_exists: bool,
}

/// Deletes what is named.
pub fn run(arguments: &Arguments) -> ExitCode {
    let verb = Verb { present: "delete", past: "deleted", style: Style::Lines };
    objects::report(outcome(arguments), &verb)
}

fn outcome(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { named, common, skip_not_exists } = arguments;
    let store = common.store.open()?;
    let items = objects::items(common, Some(named))?;
    let client = store.client()?;
    Ok(objects::for_each(common, &client, items, false, |client, item| match delete(client, item) {
        Err(Error::Missing { .. }) if *skip_not_exists => Ok(item.json.clone()),
        outcome => Ok(outcome?),
    }))
}

fn delete(client: &Client, item: &Item) -> Result<Value, Error> {
    objects::writable(item.kind, "delete", None)?;
    let id = item.id();
    if objects::is_kubernetes_policy(&id) {
        return Err(objects::kubernetes_policy(&id, "delete"));
    }
    client.delete(&id, item.resource_version())
}
