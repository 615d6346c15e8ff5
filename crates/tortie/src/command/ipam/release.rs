//! `ipam release`: an address, or what all of some reports found leaked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_ipam::{HandleId, Release};
use tortie_store::resources::{COMPATIBLE_VERSION, Client};
use tortie_store::{Error, Revision, ipam, keys};

use super::{address, failed, now, view};
use crate::objects::{Failure, Store};

/// The arguments of `ipam release`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie ipam release --ip 10.65.0.192
  tortie ipam release --from-report an-hour-ago.json --from-report now.json --force")]
pub struct Arguments {
    /// The address to release.
    #[arg(long)]
    ip: Option<String>,
    /// Release what is leaked according to this report of `ipam check`; of several, what is leaked in all.
    #[arg(long, value_name = "REPORT", action = clap::ArgAction::Append)]
    from_report: Vec<PathBuf>,
    /// Do so though the datastore is not locked, or the report is another version's.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    store: Store,
}

/// The parts of a report that count here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: String,
    #[serde(rename = "clusterGUID")]
    cluster_guid: String,
    cluster_information_revision: String,
    allocations: Option<BTreeMap<String, Vec<Allocation>>>,
    #[serde(default)]
    leaked_handles: Vec<Handle>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Allocation {
    ip: String,
    #[serde(default)]
    handle: String,
    sequence_number: Option<u64>,
    in_use: bool,
    #[serde(default)]
    cooling_down: bool,
}

#[derive(Deserialize)]
struct Handle {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Revision")]
    revision: String,
}

/// Releases.
///
/// # Errors
/// What could not be released, or why nothing was tried.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { ip, from_report, force, store } = arguments;
    let client = store.open_plainly()?;
    if !from_report.is_empty() {
        release_reported(&client, from_report, *force)?;
        println!("You may now unlock the data store.");
    } else if let Some(text) = ip.as_deref().filter(|ip| !ip.is_empty()) {
        let address = address(text)?;
        let machine = tortie_ipam::release(view(&client)?, now(), vec![Release::address(address)]);
        let released = ipam::run(&**client.store(), machine).map_err(failed)?;
        if let Some(error) = released.error {
            return Err(Failure::Command(format!("error: {error}")));
        }
        if !released.unallocated.is_empty() {
            return Err(Failure::Command(format!("IP address {address} is not assigned")));
        }
        println!("Successfully released IP address {address}");
    }
    Ok(())
}

fn release_reported(client: &Client, paths: &[PathBuf], force: bool) -> Result<(), Failure> {
    let refuse = |message: &str| Err(Failure::Command(message.to_owned()));
    let information =
        client.get(&ResourceKey::cluster(Kind::ClusterInformation, "default")).map_err(failed)?;
    let text = |path: &str| information.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (mut reports, mut is_current) = (Vec::new(), false);
    for path in paths {
        let report = read(path).map_err(Failure::Command)?;
        let name = path.display();
        if report.cluster_guid != text("/spec/clusterGUID") {
            return refuse(&format!(
                "cluster does not match the provided report ({name}): mismatched cluster GUID. Refusing to release"
            ));
        }
        if report.version != COMPATIBLE_VERSION {
            if !force {
                let version = &report.version;
                return refuse(&format!(
                    "the provided report ({name}) was produced using a different version ({version}) of calicoctl. Refusing to release"
                ));
            }
            println!(
                "WARNING: Report was produced using a different version of calicoctl. Ignoring due to --force option"
            );
        }
        is_current |= report.cluster_information_revision == text("/metadata/resourceVersion");
        reports.push(report);
    }
    if !is_current {
        return refuse(
            "the provided reports are all stale - at least one should be up-to-date. Please generate a new report while the data store is locked and try again",
        );
    }
    if information.pointer("/spec/datastoreReady") != Some(&Value::Bool(false)) {
        if !force {
            return refuse("data store is not locked. Either lock the data store, or re-run with --force");
        }
        println!("WARNING: Data store is not locked. Ignoring due to --force option");
    }
    let (addresses, handles) = common(&reports)?;
    release_addresses(client, addresses)?;
    delete_handles(client, &handles);
    Ok(())
}

fn read(path: &Path) -> Result<Report, String> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {}: no such file or directory", path.display()),
        _ => format!("open {}: {error}", path.display()),
    })?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// What is leaked in all reports: addresses, and handles that didn't change in between.
fn common(reports: &[Report]) -> Result<(Vec<Release>, BTreeMap<String, String>), Failure> {
    let leaked = |report: &Report| -> BTreeMap<String, (String, Option<u64>)> {
        let all = report.allocations.iter().flat_map(BTreeMap::values).flatten();
        let leaked = all.filter(|allocation| !allocation.in_use && !allocation.cooling_down);
        leaked.map(|found| (found.ip.clone(), (found.handle.clone(), found.sequence_number))).collect()
    };
    let handles = |report: &Report| -> BTreeMap<String, String> {
        let found = report.leaked_handles.iter();
        found.map(|handle| (handle.id.clone(), handle.revision.clone())).collect()
    };
    let Some((first, rest)) = reports.split_first() else { return Ok(Default::default()) };
    let (mut addresses, mut common) = (leaked(first), handles(first));
    for report in rest {
        let now = leaked(report);
        addresses = now.into_iter().filter(|(address, _)| addresses.contains_key(address)).collect();
        let now = handles(report);
        common.retain(|handle, revision| now.get(handle) == Some(revision));
    }
    let mut releases = Vec::new();
    for (text, (handle, sequence_number)) in addresses {
        let handle = (!handle.is_empty()).then(|| HandleId::new(&handle));
        releases.push(Release { address: address(&text)?, handle, sequence_number });
    }
    Ok((releases, common))
}

fn release_addresses(client: &Client, releases: Vec<Release>) -> Result<(), Failure> {
    if releases.is_empty() {
        println!("Report didn't contain any leaked IPs to clean up.");
        return Ok(());
    }
    let count = releases.len();
    println!("Releasing {count} old IPs...");
    let machine = tortie_ipam::release(view(client)?, now(), releases);
    let released = ipam::run(&**client.store(), machine).map_err(failed)?;
    let cleaned = released.unallocated.len();
    match released.error {
        Some(error) => println!(
            "An error occurred while releasing some IPs: {error}.  Problems are often caused by an out-of-date IPAM report.  Try regenerating the IPAM report and retry."
        ),
        None => println!("Released {} IPs successfully", count - cleaned),
    }
    if cleaned > 0 {
        println!("{cleaned} addresses marked as leaked in the report had already been cleaned up.");
    }
    Ok(())
}

fn delete_handles(client: &Client, handles: &BTreeMap<String, String>) {
    if handles.is_empty() {
        println!("Report didn't contain any handles to clean up.");
        return;
    }
    println!("Deleting {} handles...", handles.len());
    println!("Key: '.' = Deleted OK; 'x' = skip, handle missing/changed.");
    let (mut released, mut skipped, mut errors) = (0, 0, 0);
    for (handle, revision) in handles {
        let deleted = match revision.parse::<Revision>() {
            Ok(revision) => client.store().delete(&keys::ipam_handle(handle), Some(revision)).map(drop),
            Err(_) => Err(Error::NotFound { key: keys::ipam_handle(handle) }),
        };
        match deleted {
            Ok(()) => {
                released += 1;
                print!(".");
            }
            Err(Error::NotFound { .. } | Error::Conflict { .. }) => {
                skipped += 1;
                print!("x");
            }
            Err(error) => {
                errors += 1;
                println!("\nDeleting handle {handle} failed: {error}.");
            }
        }
    }
    println!("\nReleased {released} handles; {skipped} skipped; {errors} errors.");
}
