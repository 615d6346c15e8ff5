//! Commands on objects: what `apply`, `create`, `replace`, `delete` and `get` have in common.
//!
//! ```text
//! -f FILE|DIR|-  or  KIND NAME... -> Item -> namespace -> Client -> Outcome -> message, exit status
//! ```
//! Messages are calicoctl's, its stand-alone form: success on standard output, faults on standard error without a prefix,
//! exit status 1. Behind a fault of a file stand ours, with file, line, column and field; where the program is called as calicoctl,
//! on a terminal only.

mod each;
mod files;
mod items;
mod kinds;
mod namespace;
mod outcome;
mod reading;
mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey, Scope};
use tortie_api::{defaults, validate};
use tortie_store::Error;

pub use each::{for_each, keys_ahead};
pub use items::{Item, Items, Source};
pub use kinds::short_names;
pub use outcome::{Done, Failure, Outcome, Refusal, Style, Verb};
pub use reading::{Gate, while_reading};
pub use store::{Store, require_file};

/// Arguments of all commands on objects.
#[derive(Debug, Args)]
pub struct Common {
    /// A file or directory with YAML or JSON, or - for standard input.
    #[arg(short, long)]
    pub filename: Option<PathBuf>,
    /// Go into directories below the one given with --filename.
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Files without objects are no error.
    #[arg(long)]
    pub skip_empty: bool,
    #[command(flatten)]
    pub store: Store,
    /// The namespace of objects that do not name theirs; `default` if there is none.
    #[arg(short, long)]
    pub namespace: Option<String>,
}

/// A kind and names on the command line, instead of a file.
#[derive(Debug, Args)]
pub struct Named {
    /// The kind, in any case, also in the plural or by its short name: `networkpolicy`, `np`.
    #[arg(conflicts_with = "filename")]
    pub kind: Option<String>,
    /// The names.
    pub names: Vec<String>,
}

/// What a command is about.
///
/// # Errors
/// [`Failure`], if a file can't be read or decoded, or a kind is not known.
pub fn items(common: &Common, named: Option<&Named>) -> Result<Items, Failure> {
    if let Some(path) = &common.filename {
        return files::read(path, common.recursive, common.skip_empty);
    }
    let Some(Named { kind: Some(word), names }) = named else { return Err(Failure::nothing()) };
    let kind = kind(word)?;
    if names.iter().any(String::is_empty) {
        return Err(Failure::Command("resource name may not be empty".to_owned()));
    }
    let names = names.iter().map(String::as_str).chain(names.is_empty().then_some(""));
    Ok(names.map(|name| of_name(kind, name, common.namespace.as_deref())).collect())
}

/// One object by the names on the command line.
///
/// # Errors
/// [`Failure`], if the kind is not known or the name is empty.
pub fn named(word: &str, name: &str, namespace: Option<&str>) -> Result<Item, Failure> {
    let kind = kind(word)?;
    if name.is_empty() {
        return Err(Failure::Command("resource name may not be empty".to_owned()));
    }
    Ok(of_name(kind, name, namespace))
}

fn kind(word: &str) -> Result<Kind, Failure> {
    kinds::by_name(word).ok_or_else(|| Failure::Command(format!("resource type '{word}' is not supported")))
}

fn of_name(kind: Kind, name: &str, namespace: Option<&str>) -> Item {
    let mut metadata = json!({ "name": name });
    if kind.scope() == Scope::Namespaced {
        metadata["namespace"] = json!(namespace.unwrap_or_default());
    }
    let json = json!({ "kind": kind.name(), "apiVersion": kind.api().version(), "metadata": metadata });
    Item { kind, json, source: None }
}

/// Settles the namespace of an object: its own, the one given, or `default`.
///
/// # Errors
/// In calicoctl's words, if the kind has none or two are said.
pub fn place(item: &mut Item, given: Option<&str>) -> Result<(), String> {
    namespace::resolve(item, given, false)
}

/// Whether objects of a kind are handled by commands: calicoctl's kinds, and those of Kubernetes that we keep.
pub fn is_handled(kind: Kind) -> bool {
    !short_names(kind).is_empty()
}

/// Prints what came of a command that writes, and says how it ends.
pub fn report(result: Result<Outcome, Failure>, verb: &Verb) -> ExitCode {
    match result.and_then(|outcome| outcome.summary(verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

/// The object of `item` with its defaults, if it is as the API wants it.
///
/// # Errors
/// A [`Refusal`] with every fault and its place in the file.
pub fn validated(item: &Item) -> Result<Value, Refusal> {
    let mut json = item.json.clone();
    defaults::apply(item.kind, &mut json, "default");
    let faults = validate::validate_json(item.kind, &json);
    match (&item.source, faults.as_slice()) {
        (_, []) => Ok(json),
        (Some(source), _) => Err(Refusal::of_faults(&source.file, &source.places.place(faults))),
        (None, faults) => Err(Refusal::of_faults("", faults)),
    }
}

/// Objects that only Calico's own components write.
///
/// # Errors
/// [`Error::NotSupported`] for `ClusterInformation`.
pub fn writable(kind: Kind, operation: &'static str, reason: Option<&str>) -> Result<(), Error> {
    if kind != Kind::ClusterInformation {
        return Ok(());
    }
    Err(Error::NotSupported { operation, id: kind.name().to_owned(), reason: reason.map(str::to_owned) })
}

/// Whether this is the name under which Calico on etcd keeps a policy of Kubernetes, which its tools may not write.
pub fn is_kubernetes_policy(id: &ResourceKey) -> bool {
    id.kind == Kind::NetworkPolicy && id.name.starts_with("knp.default.")
}

/// The refusal to write a policy of Kubernetes.
pub fn kubernetes_policy(id: &ResourceKey, operation: &'static str) -> Error {
    let reason = "kubernetes network policies must be managed through the kubernetes API".to_owned();
    Error::NotSupported { operation, id: id.to_string(), reason: Some(reason) }
}
