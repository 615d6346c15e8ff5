//! `tortie get`: shows objects by file, by kind and name, or all of a kind.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use tortie_api::kind::Kind;
use tortie_store::Error;
use tortie_store::resources::Client;

use crate::objects::{self, Common, Failure, Item, Items, Named, Refusal};
use crate::output::{Format, Shown};
use crate::packed::Packed;

/// The arguments of `tortie get`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie get networkpolicy -A
  tortie get ippool shop-ipv4 -o yaml
  tortie get node -o custom-columns=NAME,IPV4
  tortie get ippool -o go-template='{{range .}}{{range .Items}}{{.Name}} {{.Spec.CIDR}}{{\"\\n\"}}{{end}}{{end}}'")]
pub struct Arguments {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    common: Common,
    /// ps, wide, yaml, json, name, custom-columns=HEADING,..., go-template=TEMPLATE or go-template-file=FILE.
    #[arg(short, long, default_value = "ps")]
    output: String,
    /// Objects of all namespaces.
    #[arg(short = 'A', long, short_alias = 'a')]
    all_namespaces: bool,
    /// Without what belongs to this cluster only, if names are given.
    #[arg(long)]
    export: bool,
}

/// Shows what is asked for: what was found on standard output, what was not on standard error.
pub fn run(arguments: &Arguments) -> ExitCode {
    match show(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

fn show(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { named, common, output, all_namespaces, export } = arguments;
    let with_namespace = *all_namespaces || common.namespace.as_ref().is_some_and(|name| !name.is_empty());
    let format = Format::parse(output, with_namespace).map_err(Failure::Command)?;
    let during = |failure: Failure| failure.during("failed to get resources");
    // What stands on the command line is read with what shows the cluster's version, which is told first all the same.
    let named_items = common.filename.is_none().then(|| objects::items(common, Some(named)));
    let keys = match &named_items {
        Some(Ok(items)) => objects::keys_ahead(common, items, *all_namespaces),
        _ => Vec::new(),
    };
    let store = common.store.open_ahead(keys).map_err(during)?;
    let items = match named_items.unwrap_or_else(|| objects::items(common, Some(named))) {
        Ok(items) => items,
        Err(Failure::Nothing) => Items::default(),
        Err(failure) => return Err(during(failure)),
    };
    let client = store.client()?;
    let (mut shown, mut unreadable) = (Vec::new(), Vec::new());
    let outcome = objects::for_each(common, &client, items, *all_namespaces, |client, item| {
        if *all_namespaces && !item.id().name.is_empty() {
            let message = "cannot use --all-namespace flag for getting a single resource".to_owned();
            return Err(Refusal::from(message));
        }
        let mut found = get_or_list(client, item, &mut unreadable)?;
        if let (Shown::Object { object, .. }, true) = (&mut found, *export && !named.names.is_empty()) {
            strip(object);
        }
        shown.push(found);
        Ok(Value::Null)
    });
    format.print(&client, &shown).map_err(Failure::Command)?;
    let errors: Vec<String> =
        outcome.errors.into_iter().chain(unreadable.iter().map(Error::to_string)).collect();
    if errors.is_empty() { Ok(()) } else { Err(Failure::Command(errors.join("\n"))) }
}

/// What `item` asks for. What of a list can't be read is added to `unreadable`.
fn get_or_list(client: &Client, item: &Item, unreadable: &mut Vec<Error>) -> Result<Shown, Error> {
    let id = item.id();
    if !id.name.is_empty() {
        return Ok(Shown::Object { kind: item.kind, object: client.get(&id)? });
    }
    let namespace = (!id.namespace.is_empty()).then_some(&*id.namespace);
    let mut items: Vec<Packed> = Vec::new();
    let mut orders = Vec::new();
    let found = client.each(item.kind, namespace, |object| {
        // Tiers without an order come last.
        orders.push(object["spec"]["order"].as_f64().unwrap_or(f64::INFINITY));
        items.push(object.into());
    })?;
    unreadable.extend(found.unreadable);
    if item.kind == Kind::Tier {
        let mut tiers: Vec<(f64, Packed)> = orders.into_iter().zip(items).collect();
        tiers.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        items = tiers.into_iter().map(|(_, tier)| tier).collect();
    }
    Ok(Shown::List { kind: item.kind, revision: found.revision, items })
}

/// Takes out what belongs to this cluster only.
fn strip(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for name in ["namespace", "uid", "resourceVersion", "creationTimestamp"] {
            metadata.remove(name);
        }
    }
}
