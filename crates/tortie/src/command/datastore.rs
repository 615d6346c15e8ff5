//! `tortie datastore`: everything in a datastore to a file and back, byte for byte.
//!
//! The file is JSON lines: a head that says how many follow, then a key and its value each, sorted by key. Values are kept
//! as the bytes that they are, so that nothing that this version doesn't know is lost. What came of a copy is read again
//! and compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::resources::Labels;
use tortie_store::{Datastore, keys};

use crate::output::progress::Progress;
use crate::settings;

const FORMAT: &str = "tortie-datastore/1";

/// How many differences are named.
const NAMED: usize = 20;

/// The arguments of `tortie datastore`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  tortie datastore export -f backup.jsonl
  tortie datastore compare -f backup.jsonl
  tortie datastore export -c old.cfg | tortie datastore import -c new.cfg

To move a running agent to another datastore: lock, export, import into the new one, restart the agent with the
new settings, compare the old one with the file, unlock the new one."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write all keys and values, of one moment, to a file.
    Export(Place),
    /// Write all keys and values of a file to a datastore that has none, and check what came of it.
    Import {
        #[command(flatten)]
        place: Place,
        /// Though there are keys: those of the file are overwritten, those that are not in it are deleted.
        #[arg(long)]
        overwrite: bool,
    },
    /// Say in what a datastore and a file differ.
    Compare(Place),
    /// Let no pod be attached or detached, as `calicoctl datastore migrate lock`; a copy is locked too.
    Lock(Whose),
    /// Let pods be attached and detached again.
    Unlock(Whose),
}

#[derive(Debug, Args)]
struct Whose {
    /// A file with the settings of the datastore.
    #[arg(short, long, default_value = settings::DEFAULT_FILE)]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Place {
    /// The file, or - for standard input or output.
    #[arg(short, long, default_value = "-")]
    filename: PathBuf,
    /// A file with the settings of the datastore.
    #[arg(short, long, default_value = settings::DEFAULT_FILE)]
    config: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    revision: u64,
    keys: usize,
}

/// A key and its value: as text, or as hexadecimal digits if it is none.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// Keys and their values.
type Contents = BTreeMap<String, Vec<u8>>;

/// Does it. Differences are a failure.
///
/// # Errors
/// What could not be read or written.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Export(Place { filename, config }) => {
            let store = open(&config)?;
            let listing = store.list_all(keys::ROOT)?;
            let (revision, count) = (listing.revision.0, listing.items.len());
            let items = listing.items.into_iter().map(|item| (item.key, item.value));
            write(&filename, Head { format: FORMAT.to_owned(), revision, keys: count }, items)?;
            eprintln!("Exported {count} keys at revision {revision}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Import { place: Place { filename, config }, overwrite } => {
            let wanted = read(&filename)?;
            let store = open(&config)?;
            import(&store, &wanted, overwrite)?;
            compare(&*store, &wanted, "Imported")
        }
        Command::Compare(Place { filename, config }) => {
            let wanted = read(&filename)?;
            compare(&*open(&config)?, &wanted, "Compared")
        }
        Command::Lock(Whose { config }) => set_ready(&config, false),
        Command::Unlock(Whose { config }) => set_ready(&config, true),
    }
}

/// Agents and plugins attach and detach pods while the cluster's information says that the datastore is ready.
fn set_ready(config: &Path, ready: bool) -> anyhow::Result<ExitCode> {
    let client = settings::client(config, None)?;
    let mut information = client.get(&ResourceKey::cluster(Kind::ClusterInformation, "default"))?;
    information["spec"]["datastoreReady"] = json!(ready);
    client.update(information, Labels::Replace)?;
    println!("Datastore {}.", if ready { "unlocked" } else { "locked" });
    Ok(ExitCode::SUCCESS)
}

fn open(config: &Path) -> anyhow::Result<Arc<dyn Datastore>> {
    Ok(Arc::clone(settings::client(config, None)?.store()))
}

fn contents(store: &dyn Datastore) -> tortie_store::Result<Contents> {
    Ok(store.list_all(keys::ROOT)?.items.into_iter().map(|item| (item.key, item.value)).collect())
}

/// Writes a file that is whole or not there, and that only its owner can read: values may be secret.
fn write(path: &Path, head: Head, items: impl Iterator<Item = (String, Vec<u8>)>) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        return write_lines(BufWriter::new(io::stdout().lock()), head, items);
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let context = || format!("cannot write {}", path.display());
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial);
    let file = file.with_context(context)?;
    write_lines(BufWriter::new(&file), head, items).with_context(context)?;
    file.sync_all().with_context(context)?;
    fs::rename(&partial, path).with_context(context)
}

fn write_lines(
    mut out: impl io::Write,
    head: Head,
    items: impl Iterator<Item = (String, Vec<u8>)>,
) -> anyhow::Result<()> {
    let mut progress = Progress::new("exported", head.keys);
    serde_json::to_writer(&mut out, &head)?;
    out.write_all(b"\n")?;
    for (count, (key, value)) in items.enumerate() {
        let line = match String::from_utf8(value) {
            Ok(value) => Line { key, value: Some(value), hex: None },
            Err(error) => {
                let hex = error.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                Line { key, value: None, hex: Some(hex) }
            }
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
        progress.done(count + 1);
    }
    Ok(out.flush()?)
}

fn read(path: &Path) -> anyhow::Result<Contents> {
    let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
    let input: Box<dyn io::Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).with_context(|| format!("cannot read {name}"))?),
    };
    let mut lines = BufReader::new(input).lines();
    let first = lines.next().transpose().with_context(|| format!("cannot read {name}"))?.unwrap_or_default();
    let head: Head = serde_json::from_str(&first)
        .ok()
        .filter(|head: &Head| head.format == FORMAT)
        .with_context(|| format!("{name}: line 1: expected the head of an export, with format {FORMAT:?}"))?;
    let mut contents = Contents::new();
    for (number, line) in (2..).zip(lines) {
        let line = line.with_context(|| format!("cannot read {name}"))?;
        let at = || format!("{name}: line {number}");
        let Line { key, value, hex } = serde_json::from_str(&line).with_context(at)?;
        let value = match (value, hex) {
            (Some(value), None) => value.into_bytes(),
            (None, Some(hex)) => bytes(&hex).with_context(at)?,
            _ => bail!("{}: expected either value or hex", at()),
        };
        if !key.starts_with(keys::ROOT) {
            bail!("{}: key {key:?}, expected one below {}", at(), keys::ROOT);
        }
        contents.insert(key, value);
    }
    if contents.len() != head.keys {
        bail!("{name}: found {} keys, expected {}: the file is not whole", contents.len(), head.keys);
    }
    Ok(contents)
}

fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hex.len()).step_by(2).map(pair).collect::<Option<_>>().context("expected pairs of hexadecimal digits")
}

fn import(store: &Arc<dyn Datastore>, wanted: &Contents, overwrite: bool) -> anyhow::Result<()> {
    let there = contents(&**store)?;
    if !there.is_empty() && !overwrite {
        bail!("the datastore holds {} keys already; --overwrite makes it what the file is", there.len());
    }
    let deferred = store.deferred().unwrap_or_else(|| Arc::clone(store));
    let mut progress = Progress::new("imported", wanted.len());
    for (count, (key, value)) in wanted.iter().enumerate() {
        if there.get(key) != Some(value) {
            deferred.put(key, value).with_context(|| format!("{count} keys were written; {key} was not"))?;
        }
        progress.done(count + 1);
    }
    for key in there.keys().filter(|key| !wanted.contains_key(*key)) {
        match deferred.delete(key, None) {
            Ok(_) | Err(tortie_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error).with_context(|| format!("{key} was not deleted")),
        }
    }
    Ok(deferred.persist()?)
}

/// Reads the datastore and says in what it differs.
fn compare(store: &dyn Datastore, wanted: &Contents, done: &str) -> anyhow::Result<ExitCode> {
    let found = contents(store)?;
    let missing =
        wanted.keys().filter(|key| !found.contains_key(*key)).map(|key| ("not in the datastore", key));
    let extra = found.keys().filter(|key| !wanted.contains_key(*key)).map(|key| ("not in the file", key));
    let other = wanted.iter().filter(|(key, value)| found.get(*key).is_some_and(|found| found != *value));
    let differences: Vec<(&str, &String)> =
        missing.chain(extra).chain(other.map(|(key, _)| ("another value", key))).collect();
    for (what, key) in differences.iter().take(NAMED) {
        println!("{key}: {what}");
    }
    if differences.len() > NAMED {
        println!("... and {} more", differences.len() - NAMED);
    }
    if differences.is_empty() {
        println!("{done} {} keys: datastore and file are the same", wanted.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{} keys differ", differences.len());
    Ok(ExitCode::FAILURE)
}
