//! `ipam check`: what address management records, compared with what uses addresses, step by step as calicoctl tells it.
//!
//! Everything is read once, in the order in which it is told; what is found is sorted, so that two runs can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_ipam::HandleId;
use tortie_store::Revision;
use tortie_store::resources::{COMPATIBLE_VERSION, Client};

use super::failed;
use super::survey::{self, Allocation, Blocks};
use crate::objects::{Failure, Store};

/// The arguments of `ipam check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie ipam check
  tortie ipam check --show-problem-ips -o report.json
  tortie ipam release --from-report report.json --force")]
pub struct Arguments {
    /// Name all addresses that are looked at.
    #[arg(long)]
    show_all_ips: bool,
    /// Name the addresses with which something is wrong.
    #[arg(long)]
    show_problem_ips: bool,
    /// Write a report to this file, for `ipam release`.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Accepted for compatibility with calicoctl: a kubeconfig file. Workloads are found in the datastore.
    #[arg(long, hide = true)]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    store: Store,
}

/// A report, as calicoctl's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: &'static str,
    #[serde(rename = "clusterGUID")]
    cluster_guid: String,
    datastore_locked: bool,
    cluster_information_revision: String,
    cluster_type: String,
    allocations: BTreeMap<String, Vec<Allocation>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    leaked_handles: Vec<LeakedHandle>,
}

#[derive(Debug, Serialize)]
struct LeakedHandle {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "UID")]
    uid: Option<String>,
    #[serde(rename = "Revision")]
    revision: String,
}

/// Compares, tells, and writes the report.
///
/// # Errors
/// What could not be read or written. Problems are none.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { show_all_ips, show_problem_ips, output, kubeconfig: _, store } = arguments;
    let client = store.open_plainly()?;
    println!("Checking IPAM for inconsistencies...\n");
    let information =
        client.get(&ResourceKey::cluster(Kind::ClusterInformation, "default")).map_err(failed)?;
    let mut check =
        Check { all: *show_all_ips, problem: *show_all_ips || *show_problem_ips, ..Check::default() };
    let done = check.compare(&client);
    print!("{}", check.told);
    done.map_err(Failure::Command)?;
    if let Some(path) = output {
        let text =
            |path: &str| information.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let report = Report {
            version: COMPATIBLE_VERSION,
            cluster_guid: text("/spec/clusterGUID"),
            datastore_locked: information.pointer("/spec/datastoreReady") == Some(&Value::Bool(false)),
            cluster_information_revision: text("/metadata/resourceVersion"),
            cluster_type: text("/spec/clusterType"),
            allocations: check.allocations,
            leaked_handles: check.leaked_handles,
        };
        let written = serde_json::to_string_pretty(&report)
            .map_err(std::io::Error::from)
            .and_then(|text| std::fs::write(path, text));
        written.map_err(|error| Failure::Command(format!("open {}: {error}", path.display())))?;
    }
    Ok(())
}

/// A comparison under way.
#[derive(Default)]
struct Check {
    all: bool,
    problem: bool,
    /// What is told.
    told: String,
    problems: usize,
    allocations: BTreeMap<String, Vec<Allocation>>,
    /// By address: who says to use it.
    users: BTreeMap<String, Vec<String>>,
    leaked_handles: Vec<LeakedHandle>,
}

macro_rules! tell {
    ($check:expr, $($words:tt)*) => {
        writeln!($check.told, $($words)*).expect("a String takes any text")
    };
}

impl Check {
    fn compare(&mut self, client: &Client) -> Result<(), String> {
        let store = |what: &str, error: tortie_store::Error| format!("failed to {what}: {error}");
        tell!(self, "Loading all IPAM blocks...");
        let blocks = survey::blocks(client).map_err(|error| store("list IPAM blocks", error))?;
        self.tell_blocks(&blocks);
        let pools = client.list(Kind::IPPool, None).map_err(|error| store("load IP pools", error))?;
        let pools = self.tell_pools(&pools.items)?;
        self.tell_users(client)?;
        tell!(self, "Loading all handles");
        let handles = survey::handles(client).map_err(|error| store("list handles", error))?;
        self.tell_nodes();
        self.find_leaked();
        self.find_unallocated(&pools);
        self.find_handles(&handles);
        tell!(self, "Validating IPAMBlock structures...");
        for (key, fault) in &blocks.invalid {
            tell!(self, "  IPAMBlock {key} is invalid: {fault}");
        }
        self.problems += blocks.invalid.len();
        tell!(self, "Found {} invalid IPAMBlocks.", blocks.invalid.len());
        tell!(self, "Check complete; found {} problems.", self.problems);
        Ok(())
    }

    fn tell_blocks(&mut self, blocks: &Blocks) {
        tell!(self, "Found {} IPAM blocks.", blocks.valid.len() + blocks.invalid.len());
        let mut count = 0;
        for block in &blocks.valid {
            let affinity = block.affinity.as_deref().unwrap_or("<none>");
            tell!(self, " IPAM block {} affinity={affinity}:", block.cidr);
            for (ordinal, _) in block.allocations.iter().enumerate().filter(|(_, index)| index.is_some()) {
                count += 1;
                let allocation = Allocation::of(block, ordinal as u32);
                if self.all {
                    tell!(self, "  {} allocated; attrs {}", allocation.ip, allocation.description());
                }
                self.allocations.entry(allocation.ip.clone()).or_default().push(allocation);
            }
        }
        tell!(self, "IPAM blocks record {count} allocations.\n");
    }

    fn tell_pools(&mut self, pools: &[Value]) -> Result<Vec<IpNet>, String> {
        tell!(self, "Loading all IPAM pools...");
        let mut active = Vec::new();
        for pool in pools.iter().filter(|pool| pool.pointer("/spec/disabled") != Some(&Value::Bool(true))) {
            let cidr = pool.pointer("/spec/cidr").and_then(Value::as_str).unwrap_or_default();
            tell!(self, "  {cidr}");
            active.push(
                cidr.parse()
                    .map_err(|_| format!("failed to parse IP pool CIDR: invalid CIDR address: {cidr}"))?,
            );
        }
        tell!(self, "Found {} active IP pools.\n", active.len());
        Ok(active)
    }

    fn tell_users(&mut self, client: &Client) -> Result<(), String> {
        let survey::Users { of_nodes, of_workloads } = survey::users(client)?;
        let (nodes, workloads) = (of_nodes.len(), of_workloads.len());
        tell!(self, "Loading all nodes.");
        of_nodes.into_iter().for_each(|(address, user)| self.used(address, user));
        tell!(self, "Found {nodes} node tunnel IPs.\n");
        // Services are Kubernetes', and so are the addresses of their load balancers.
        tell!(self, "Loading all service load balancer IPs.\nFound 0 service load balancer(s).\n");
        tell!(self, "Loading all workload endpoints.");
        of_workloads.into_iter().for_each(|(address, user)| self.used(address, user));
        tell!(self, "Found {workloads} workload IPs.");
        tell!(self, "Workloads and nodes are using {} IPs.\n", self.users.len());
        Ok(())
    }

    fn used(&mut self, address: String, user: String) {
        if self.all {
            tell!(self, "  {address} belongs to {user}");
        }
        for allocation in self.allocations.get_mut(&address).into_iter().flatten() {
            allocation.in_use = !allocation.cooling_down;
            allocation.owners.get_or_insert_default().push(user.clone());
        }
        self.users.entry(address).or_default().push(user);
    }

    fn tell_nodes(&mut self) {
        const MOST: usize = 20;
        tell!(self, "Looking for top (up to {MOST}) nodes by allocations...");
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for allocation in self.allocations.values().flatten() {
            *counts.entry(&allocation.node).or_default() += 1;
        }
        let mut nodes: Vec<(&str, usize)> = counts.into_iter().collect();
        nodes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (node, count) in nodes.iter().take(MOST) {
            tell!(self, "  {node} has {count} allocations");
        }
        if let (Some((_, most)), Some((_, median))) = (nodes.first(), nodes.get(nodes.len() / 2)) {
            tell!(self, "Node with most allocations has {most}; median is {median}");
        }
        tell!(self, "");
    }

    fn find_leaked(&mut self) {
        tell!(self, "Scanning for IPs that are allocated but not actually in use...");
        let mut leaked = 0;
        for (address, allocations) in &self.allocations {
            if allocations.iter().any(|allocation| allocation.in_use || allocation.cooling_down) {
                continue;
            }
            leaked += 1;
            for allocation in allocations.iter().filter(|_| self.problem) {
                tell!(self, "  {address} leaked; attrs {}", allocation.description());
            }
        }
        self.problems += leaked;
        tell!(self, "Found {leaked} IPs that are allocated in IPAM but not actually in use.");
    }

    fn find_unallocated(&mut self, pools: &[IpNet]) {
        tell!(self, "Scanning for IPs that are in use by a workload or node but not allocated in IPAM...");
        let (mut outside, mut missing) = (0, 0);
        for (address, users) in &self.users {
            if self.problem && users.len() > 1 {
                tell!(self, "  {address} has multiple owners.");
            }
            if self.allocations.contains_key(address) {
                continue;
            }
            let in_pool = address
                .parse::<IpAddr>()
                .is_ok_and(|address| pools.iter().any(|pool| pool.contains(&address)));
            *(if in_pool { &mut missing } else { &mut outside }) += 1;
            let trouble = match in_pool {
                true => "and in active IPAM pool but has no IPAM allocation.",
                false => "is not in any active IP pool.",
            };
            for user in users.iter().filter(|_| self.problem) {
                tell!(self, "  {address} in use by {user} {trouble}");
            }
        }
        self.problems += outside + missing;
        tell!(self, "Found {outside} in-use IPs that are not in active IP pools.");
        tell!(
            self,
            "Found {missing} in-use IPs that are in active IP pools but have no corresponding IPAM allocation.\n"
        );
    }

    fn find_handles(&mut self, handles: &BTreeMap<HandleId, Revision>) {
        tell!(self, "Scanning for IPAM handles with no matching IPs...");
        let named = self.allocations.values().flatten().map(|allocation| allocation.handle.as_str());
        let named: BTreeSet<HandleId> =
            named.filter(|handle| !handle.is_empty()).map(HandleId::new).collect();
        for (handle, revision) in handles.iter().filter(|(handle, _)| !named.contains(handle)) {
            if self.all {
                tell!(self, "  {handle} doesn't have any active IPs.");
            }
            let (id, revision) = (handle.to_string(), revision.to_string());
            self.leaked_handles.push(LeakedHandle { id, uid: None, revision });
        }
        let leaked = self.leaked_handles.len();
        self.problems += leaked;
        tell!(
            self,
            "Found {leaked} handles with no matching IPs (and {} handles with matches).",
            handles.len() - leaked
        );
        tell!(self, "Scanning for IPs with missing handle...");
        let missing: Vec<&HandleId> = named.iter().filter(|handle| !handles.contains_key(*handle)).collect();
        for handle in missing.iter().filter(|_| self.problem) {
            tell!(self, "  {handle} is in use in a block but doesn't exist.");
        }
        tell!(self, "Found {} handles mentioned in blocks with no matching handle resource.", missing.len());
    }
}
