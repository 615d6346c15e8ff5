//! The loop: who leads listens, and looks at everything anew whenever something has changed.
//!
//! A round rests ten times as long as it took, so that a busy cluster is looked at less often, and never costs more than a tenth
//! of a processor. When the lead is lost everything that was known is dropped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tortie_api::cluster::KubeControllersConfigurationSpec;
use tortie_api::endpoint::Node;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::ProfileSpec;
use tortie_store::resources::Client;
use tortie_store::{Datastore, Error as StoreError, keys};

use crate::collector::Collecting;
use crate::health::{self, Health};
use crate::leader::{Authority, Guard, keep};
use crate::lease::{Candidate, Timing};
use crate::pulse::{Pulse, Pulses};
use crate::seat::Seat;
use crate::settings::{NodeSettings, Settings, default_object, merge};
use crate::truth::Cluster;
use crate::world::{self, Told, World, follow};
use crate::{Error, Result, copies, hosts, write};

/// How soon the loop sees that it has lost the lead, or is to stop.
const NOTICE: Duration = Duration::from_millis(100);
/// The shortest and longest rest after a round that failed.
const RESTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How soon what could not be done is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// Something that goes on, on a thread of its own, as long as what it is given says so.
pub type Task = Arc<dyn Fn(&dyn Fn() -> bool) + Send + Sync>;

/// What the controllers run with.
pub struct Options {
    /// Where Calico's objects are.
    pub store: Arc<dyn Datastore>,
    /// Where Kubernetes' are.
    pub cluster: Cluster,
    /// Where it stands who leads.
    pub seat: Seat,
    /// A name that no other process has.
    pub name: String,
    /// How long a lease stands, and so on.
    pub timing: Timing,
    /// [`crate::settings::VARIABLES`], those that are set.
    pub variables: BTreeMap<String, String>,
    /// What else the one who leads does, by the threads' names.
    pub tasks: Vec<(&'static str, Task)>,
    /// How it can be asked how the process is.
    pub asked: Asked,
    /// How long a loop may be silent before it counts as hanging; longer than any call of the datastores.
    pub silence: Duration,
}

/// How it can be asked how the process is, and what it must reach: by ways on which nobody waits long.
pub struct Asked {
    /// The socket.
    pub socket: PathBuf,
    /// Where Calico's objects are.
    pub store: Arc<dyn Datastore>,
    /// Kubernetes' API, where that is another place.
    pub cluster: Option<Arc<dyn Datastore>>,
}

/// Runs the controllers until `stop`; `log_what` is told what to log, as `Info`.
///
/// # Errors
/// A variable that can't work, or a system without threads. Troubles of the datastore are logged, and waited for.
pub fn run(options: Options, stop: &Arc<AtomicBool>, log_what: &dyn Fn(&str)) -> Result<()> {
    let is_kubernetes = matches!(options.cluster, Cluster::Same);
    merge(&options.variables, is_kubernetes, &KubeControllersConfigurationSpec::default())?;
    let pulses = Pulses::new(options.silence);
    let health = Arc::new(Health {
        pulses: pulses.clone(),
        client: Client::new(Arc::clone(&options.asked.store)),
        cluster: options.asked.cluster.clone(),
        variables: options.variables.clone(),
        is_off: AtomicBool::new(false),
    });
    health::serve(&options.asked.socket, Arc::clone(&health))?;
    let candidate = Candidate::new(options.name.clone(), options.timing);
    let (authority, keeper) = keep(options.seat.clone(), candidate, pulses.begin("lease"), Arc::clone(stop))?;
    let pulse = Arc::new(pulses.begin("rounds"));
    let guarded = |store: &Arc<dyn Datastore>| -> Arc<dyn Datastore> {
        Arc::new(Guard::new(Arc::clone(store), authority.clone(), Arc::clone(&pulse)))
    };
    while !stop.load(Ordering::Relaxed) {
        pulse.beat();
        if !authority.holds() {
            sleep(NOTICE.min(options.timing.retry));
            continue;
        }
        let ended = Arc::new(AtomicBool::new(false));
        let listening = listen(&options, &pulses, &ended).and_then(|news| {
            begin_tasks(&options, &pulses, &authority, &ended, stop)?;
            Ok(news)
        });
        let outcome = listening.map(|news| {
            Leader {
                options: &options,
                client: Client::new(guarded(&options.store)),
                cluster: match &options.cluster {
                    Cluster::Beside(cluster) => Cluster::Beside(guarded(cluster)),
                    cluster => cluster.clone(),
                },
                pulse: &pulse,
                health: &health,
                log_what,
                world: World::default(),
                collecting: Collecting::default(),
                severity: None,
            }
            .run(&news, &authority, stop);
        });
        ended.store(true, Ordering::Relaxed);
        outcome?;
        if !stop.load(Ordering::Relaxed) {
            tracing::warn!("the lead is lost: nothing more is done until it is won again");
        }
    }
    // It gives the lead back; without it the lease runs out.
    drop(keeper.join());
    Ok(())
}

/// Starts a thread for each task.
fn begin_tasks(
    options: &Options,
    pulses: &Pulses,
    authority: &Authority,
    ended: &Arc<AtomicBool>,
    stop: &Arc<AtomicBool>,
) -> Result<()> {
    for (name, task) in &options.tasks {
        let (task, authority) = (Arc::clone(task), authority.clone());
        let (ended, stop) = (Arc::clone(ended), Arc::clone(stop));
        let pulse = pulses.begin(*name);
        let goes_on = move || {
            pulse.beat();
            authority.holds() && !ended.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed)
        };
        let thread = std::thread::Builder::new().name((*name).to_owned()).spawn(move || task(&goes_on));
        thread.map_err(|source| Error::Thread { name, source })?;
    }
    Ok(())
}

/// Starts the threads that keep the tables, until `ended`.
fn listen(options: &Options, pulses: &Pulses, ended: &Arc<AtomicBool>) -> Result<Receiver<Told>> {
    let (sender, receiver) = channel();
    let store = &options.store;
    macro_rules! follow {
        ($store:expr, $prefix:expr, $read:expr, $table:ident) => {{
            let prefix = $prefix;
            let pulse = pulses.begin(format!("follow {prefix}"));
            follow($store, prefix, $read, |world| &mut world.$table, &sender, pulse, ended)?
        }};
    }
    let kind = keys::kind_prefix;
    follow!(store, kind(Kind::KubeControllersConfiguration), world::named, configuration);
    follow!(store, kind(Kind::ClusterInformation), world::named, information);
    follow!(store, keys::IPAM_BLOCKS.to_owned(), world::block, blocks);
    follow!(store, kind(Kind::Node), world::named, nodes);
    follow!(store, kind(Kind::HostEndpoint), world::named, host_endpoints);
    match &options.cluster {
        Cluster::Same => follow!(store, kind(Kind::Pod), world::pod, pods),
        Cluster::Nowhere => follow!(store, kind(Kind::WorkloadEndpoint), world::pod_of_endpoint, pods),
        Cluster::Beside(cluster) => {
            follow!(cluster, kind(Kind::Pod), world::pod, pods);
            follow!(cluster, kind(Kind::Node), world::named, machines);
            follow!(cluster, kind(Kind::Namespace), world::named, namespaces);
            follow!(cluster, kind(Kind::ServiceAccount), world::named, accounts);
            follow!(cluster, kind(Kind::KubernetesNetworkPolicy), world::object, policies);
            follow!(store, kind(Kind::Profile), world::named, profiles);
            follow!(store, kind(Kind::NetworkPolicy), world::copy, copies);
            follow!(store, kind(Kind::WorkloadEndpoint), world::endpoint, endpoints);
        }
    }
    Ok(receiver)
}

/// One who leads.
struct Leader<'a> {
    options: &'a Options,
    client: Client,
    /// As in the options, guarded.
    cluster: Cluster,
    pulse: &'a Pulse,
    health: &'a Health,
    log_what: &'a dyn Fn(&str),
    world: World,
    collecting: Collecting,
    /// What is logged.
    severity: Option<String>,
}

impl Leader<'_> {
    fn run(mut self, news: &Receiver<Told>, authority: &Authority, stop: &AtomicBool) {
        let (mut changed, mut due, mut rest) = (true, Instant::now(), RESTS.0);
        let mut not_before = Instant::now();
        while !stop.load(Ordering::Relaxed) && authority.holds() {
            self.pulse.beat();
            match news.recv_timeout(NOTICE) {
                Ok(told) => {
                    told(&mut self.world);
                    news.try_iter().for_each(|told| told(&mut self.world));
                    changed = true;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let begin = Instant::now();
            if begin < not_before || !(changed || begin >= due) || !self.is_complete() {
                continue;
            }
            changed = false;
            match self.round() {
                Ok(next) => {
                    rest = RESTS.0;
                    due = next;
                    not_before = Instant::now() + begin.elapsed() * 10;
                }
                Err(error) => {
                    if authority.holds() {
                        tracing::warn!(%error, again_in = ?rest, "not all could be done");
                    }
                    (changed, not_before) = (true, Instant::now() + rest);
                    rest = (rest * 2).min(RESTS.1);
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        let World {
            configuration,
            information,
            blocks,
            nodes,
            host_endpoints,
            pods,
            machines,
            namespaces,
            accounts,
            policies,
            profiles,
            copies,
            endpoints,
        } = &self.world;
        let own = configuration.is_complete
            && information.is_complete
            && blocks.is_complete
            && nodes.is_complete
            && host_endpoints.is_complete
            && pods.is_complete;
        let beside = machines.is_complete
            && namespaces.is_complete
            && accounts.is_complete
            && policies.is_complete
            && profiles.is_complete
            && copies.is_complete
            && endpoints.is_complete;
        own && (beside || !matches!(self.cluster, Cluster::Beside(_)))
    }

    /// Does what is to be done now; when to look again though nothing has changed.
    fn round(&mut self) -> Result<Instant> {
        let begin = Instant::now();
        let is_ready = self.world.information.items.values().any(|of| of.spec.datastore_ready == Some(true));
        if !is_ready {
            if !matches!(self.cluster, Cluster::Same) && self.world.information.items.is_empty() {
                self.client.ensure_initialized()?;
            }
            tracing::info!("the datastore is locked, or empty: nothing is done");
            return Ok(begin + AGAIN);
        }
        let settings = self.settings()?;
        let mut due = begin + settings.period;
        if let Cluster::Beside(cluster) = &self.cluster {
            let cluster = Client::new(Arc::clone(cluster));
            self.copy(&settings, &cluster)?;
        }
        if let Some(NodeSettings { host_endpoints, grace, .. }) = settings.node {
            let collected = self.collecting.round(&self.world, &self.cluster, &self.client, grace)?;
            due = collected.due.into_iter().chain([due]).min().unwrap_or(due);
            if collected.is_left {
                due = due.min(begin + AGAIN);
            }
            let there = &self.world.host_endpoints.items;
            let changes = hosts::changes(host_endpoints, self.world.nodes.items.values(), there.values());
            let version = |endpoint: &tortie_api::endpoint::HostEndpoint| {
                (endpoint.metadata.name.clone(), endpoint.metadata.resource_version.clone())
            };
            write::host_endpoints(&self.client, changes, &there.values().map(version).collect())?;
        }
        Ok(due)
    }

    /// The settings, which are told in the object's status; an object is made if there is none.
    fn settings(&mut self) -> Result<Settings> {
        let is_kubernetes = matches!(self.cluster, Cluster::Same);
        let made;
        let object =
            match self.world.configuration.items.values().find(|object| object.metadata.name == "default") {
                Some(object) => object,
                None => {
                    let object = match self.client.create(default_object()) {
                        Err(StoreError::AlreadyExists { id }) => self.client.get(&id)?,
                        object => object?,
                    };
                    made = serde_json::from_value(object).unwrap_or_default();
                    &made
                }
            };
        let (settings, status) = merge(&self.options.variables, is_kubernetes, &object.spec)?;
        if object.status != status {
            write::status(&self.client, &status, object)?;
        }
        self.health.is_off.store(!settings.health, Ordering::Relaxed);
        if self.severity.as_ref() != Some(&settings.severity) {
            (self.log_what)(&settings.severity);
            self.severity = Some(settings.severity.clone());
        }
        Ok(settings)
    }

    /// What is copied from a cluster beside the datastore.
    fn copy(&self, settings: &Settings, cluster: &Client) -> Result<()> {
        let World { machines, namespaces, accounts, policies, profiles, copies: stored, .. } = &self.world;
        let mut wanted: BTreeMap<String, ProfileSpec> = BTreeMap::new();
        let profile_key = |name: &str| keys::resource(&ResourceKey::cluster(Kind::Profile, name));
        if settings.namespaces {
            let made = namespaces.items.values().map(copies::of_namespace);
            wanted.extend(made.map(|(name, spec)| (profile_key(&name), spec)));
        }
        if settings.accounts {
            let made = accounts.items.values().map(copies::of_account);
            wanted.extend(made.map(|(name, spec)| (profile_key(&name), spec)));
        }
        let is_ours = |name: &str| {
            (settings.namespaces && name.starts_with(copies::NAMESPACE))
                || (settings.accounts && name.starts_with(copies::ACCOUNT))
        };
        let there = profiles.items.iter().filter(|(_, profile)| is_ours(&profile.metadata.name));
        let there = there.map(|(key, profile)| (key.clone(), profile.spec.clone())).collect();
        write::copies(&self.client, copies::differences(&wanted, &there))?;
        if settings.policy {
            let made = policies.items.values().filter_map(|policy| {
                let (name, spec) = copies::of_policy(policy)?;
                let id = ResourceKey::namespaced(Kind::NetworkPolicy, &policy.metadata.namespace, &name);
                Some((keys::resource(&id), spec))
            });
            let there = stored.items.iter().map(|(key, policy)| (key.clone(), policy.spec.clone())).collect();
            write::copies(&self.client, copies::differences(&made.collect(), &there))?;
        }
        if settings.endpoints {
            self.copy_labels()?;
        }
        if let Some(node) = &settings.node {
            for stored in self.world.nodes.items.values() {
                let Some(name) = copies::machine_of(stored) else { continue };
                let key = ResourceKey::cluster(Kind::Node, name);
                match machines.items.get(&keys::resource(&key)) {
                    Some(machine) if node.sync_labels => {
                        if let Some(labelled) = copies::labelled(stored, &machine.metadata.labels) {
                            write::node(&self.client, stored, labelled)?;
                        }
                    }
                    Some(_) => {}
                    None => self.delete_node(stored, &key, cluster)?,
                }
            }
        }
        Ok(())
    }

    /// The labels of pods, to the endpoints that the CNI plugin has made of them.
    fn copy_labels(&self) -> Result<()> {
        let pods: BTreeMap<(&str, &str), &world::Pod> = self
            .world
            .pods
            .items
            .values()
            .filter(|pod| !pod.is_host && !pod.node.is_empty() && !pod.addresses.is_empty())
            .map(|pod| ((pod.name.namespace.as_str(), pod.name.name.as_str()), pod))
            .collect();
        for endpoint in self.world.endpoints.items.values() {
            let (namespace, name) = (endpoint.metadata.namespace.as_str(), endpoint.spec.pod.as_str());
            let Some(pod) = pods.get(&(namespace, name)) else { continue };
            if endpoint.metadata.labels != pod.labels || endpoint.spec.service_account_name != pod.account {
                write::endpoint(&self.client, endpoint, &pod.labels, &pod.account)?;
                tracing::info!(namespace, pod = name, "the labels of an endpoint are its pod's again");
            }
        }
        Ok(())
    }

    /// A node that Kubernetes doesn't know any more goes, with all that is its own.
    fn delete_node(&self, stored: &Node, machine: &ResourceKey, cluster: &Client) -> Result<()> {
        match cluster.get(machine) {
            Err(StoreError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
        match self.client.delete(&stored.key(), None) {
            Ok(_) => {
                tracing::info!(node = stored.metadata.name, "deleted: Kubernetes doesn't know it any more")
            }
            Err(StoreError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
