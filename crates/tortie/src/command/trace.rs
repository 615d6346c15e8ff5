//! `tortie trace`: what each hop on the way from the store to the kernel makes of a policy.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use tortie_agent::protocol::{Hop, Question, Reply, ask};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::resource::Resource;
use tortie_calc::NotEnforced;
use tortie_store::{Datastore, keys};

use super::Output;

/// The arguments of `tortie trace`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A policy of any kind that is enforced.
    Policy {
        /// NAMESPACE/NAME, or NAME of a policy of all namespaces.
        name: String,
        /// How to write the answer.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        /// The file that names the datastore, in calicoctl's form.
        #[arg(short, long, default_value = crate::settings::DEFAULT_FILE)]
        config: PathBuf,
    },
}

/// Prints the hops, those of the agent as it holds them now.
///
/// # Errors
/// If there is no such policy, or no agent answers.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { what: What::Policy { name, output, config } } = arguments;
    let candidates = match name.split_once('/') {
        Some((namespace, name)) => [Kind::NetworkPolicy, Kind::KubernetesNetworkPolicy]
            .map(|kind| ResourceKey::namespaced(kind, namespace, name)),
        None => [Kind::GlobalNetworkPolicy, Kind::KubernetesClusterNetworkPolicy]
            .map(|kind| ResourceKey::cluster(kind, &name)),
    };
    let client = crate::settings::client(&config, None)?;
    let mut found = false;
    for key in candidates {
        let hops = stored(&**client.store(), &key)?;
        if hops.is_empty() {
            continue;
        }
        found = true;
        let question = Question::Trace { kind: key.kind.qualified_name().to_owned(), name: key.full_name() };
        let reply = ask(&crate::settings::agent_socket(), &question)
            .context("is the agent running? (`tortie agent`)")?;
        let Reply::Trace(of_agent) = reply else { bail!("the agent answered {reply:?}") };
        let hops: Vec<Hop> = hops.into_iter().chain(of_agent).collect();
        match output {
            Output::Json => println!("{}", serde_json::to_string(&hops)?),
            Output::Text => print!("{}", text(&hops)),
        }
    }
    if !found {
        bail!("no policy {name} is stored");
    }
    Ok(ExitCode::SUCCESS)
}

/// The first two hops: what is stored, and what it is read as. None if nothing is stored.
fn stored(store: &dyn Datastore, key: &ResourceKey) -> anyhow::Result<Vec<Hop>> {
    let Some(kv) = store.get(&keys::resource(key))? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&kv.value).into_owned();
    let first = Hop::new("store", vec![format!("{} at revision {}", kv.key, kv.revision), text]);
    let read = match Resource::from_json(key.kind, &kv.value) {
        Ok(resource) => {
            let why = tortie_calc::not_enforced(&resource);
            let why = why.map(|NotEnforced { effect, reason }| format!("{effect}: {reason}"));
            [resource.key().to_string()].into_iter().chain(why).collect()
        }
        Err(error) => vec![error.to_string()],
    };
    Ok(vec![first, Hop::new("api", read)])
}

/// The hops for people: a number, a crate, and a line for each thing that it holds.
fn text(hops: &[Hop]) -> String {
    let mut text = String::new();
    for (number, hop) in hops.iter().enumerate() {
        let nothing = ["nothing".to_owned()];
        let holds = if hop.holds.is_empty() { &nothing[..] } else { &hop.holds };
        for (at, line) in holds.iter().enumerate() {
            let head = if at == 0 { format!("{} {}", number + 1, hop.at) } else { String::new() };
            text.push_str(&format!("{head:<12} {line}\n"));
        }
    }
    text
}
