//! The ways to other nodes' pods: a thread that hears of nodes, pools, blocks and the machine's interfaces, and keeps the
//! kernel's routes as they should be.
//!
//! ```text
//!  Node, IPPool (from the loop) --.                                    .--> address (the Node's object)
//!  store::blocks -----------------+--> calc::network::Topology --------+
//!  links, addresses, routes ------'                                    |    lease (the VXLAN device's own address)
//!                                                                      '--> tunnel, plan --> netlink
//! ```
//! Nothing is written before all of it is known and policy is in force. The kernel is read before each change, and what
//! differs is written: what is new, what leads elsewhere, what goes. Every route of ours is known by its protocol, so a
//! process that remembers nothing goes on where another has ended.

mod address;
mod lease;
mod mtu;
mod plan;
mod tunnel;

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use regex_lite::Regex;
use serde_json::json;
use tortie_api::event::Event;
use tortie_api::kind::Kind;
use tortie_api::resource::Resource;
use tortie_calc::network::Topology;
use tortie_dataplane::network::Network;
use tortie_dataplane::policy::Family;
use tortie_netlink::Rtnetlink;
use tortie_netlink::rtnetlink::route::TABLE_MAIN;
use tortie_netlink::rtnetlink::{NetworkEvent, NetworkMonitor, RouteFilter, Vxlan};
use tortie_store::blocks::{BlockEvent, Blocks};
use tortie_store::resources::Client;

use crate::config::{Environment, Network as Settings};
use crate::kubernetes::Machine;
use crate::monitors::{spawn, wait};
use crate::{Error, Result};
use lease::Lease;
pub use mtu::PodMtu;
pub use plan::{PROTOCOL, devices};
use plan::{Plan, Seen, device, interface_of, plan};
use tunnel::{Device, Shape, Steps};

/// How often the kernel is looked at although nothing has happened (Calico's `RouteRefreshInterval`).
const REFRESH: Duration = Duration::from_secs(90);
/// For how long a failed change rests before the next attempt; doubles up to [`LONGEST_REST`].
const SHORTEST_REST: Duration = Duration::from_millis(100);
/// The longest rest between two attempts.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// How long the thread for blocks waits before it looks whether anybody listens.
const STORE_WAIT: Duration = Duration::from_secs(60);

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What the thread hears.
#[derive(Debug)]
pub enum Told {
    /// Of a node or pool, or that all of them have been told.
    Event(Event),
    /// Policy is in force: routes may lead packets here.
    InForce,
    /// Blocks were made, written or deleted.
    Blocks(Vec<BlockEvent>),
    /// Interfaces, addresses or our routes have changed.
    Kernel,
}

/// Whether the thread has to hear of it.
pub fn concerns(event: &Event) -> bool {
    match event {
        Event::Upsert(Resource::Node(_) | Resource::IPPool(_)) | Event::InSync => true,
        Event::Delete(key) => matches!(key.kind, Kind::Node | Kind::IPPool),
        Event::Upsert(_) | Event::Unreadable { .. } => false,
    }
}

/// What the thread is started with.
pub struct Start {
    /// The store.
    pub client: Client,
    /// The node's name.
    pub node: Arc<str>,
    /// What workload interfaces' names begin with; they come and go with pods and lead to no node.
    pub workloads: Vec<String>,
    /// What is said of the node's addresses: IPv4, IPv6.
    addresses: [address::Wanted; 2],
    settings: Settings,
    /// Interfaces that say how large packets may be.
    mtu_interfaces: Regex,
    /// The node in Kubernetes, if there is a cluster.
    machine: Option<Machine>,
}

/// What of the variables for the node's addresses can't work.
pub fn refused(environment: &Environment, is_node: bool) -> Vec<Error> {
    wanted(environment, is_node).into_iter().filter_map(Result::err).collect()
}

fn wanted(environment: &Environment, is_node: bool) -> [Result<address::Wanted>; 2] {
    let of = |v4, value, method| {
        address::Wanted::parse(v4, environment.get(value), environment.get(method), is_node)
    };
    [of(true, "IP", "IP_AUTODETECTION_METHOD"), of(false, "IP6", "IP6_AUTODETECTION_METHOD")]
}

impl Start {
    /// Reads what the environment says of it.
    ///
    /// # Errors
    /// [`crate::Error::Setting`].
    pub fn new(
        environment: &Environment,
        client: Client,
        workloads: Vec<String>,
        settings: Settings,
        machine: Option<Machine>,
    ) -> Result<Self> {
        let [v4, v6] = wanted(environment, machine.is_some());
        let addresses = [v4?, v6?];
        let mtu_interfaces = Regex::new(&settings.mtu_interfaces).expect("it was tried when it was read");
        let node = environment.node().into();
        Ok(Self { client, node, workloads, addresses, settings, mtu_interfaces, machine })
    }
}

/// Starts the thread and those which it listens to, in the calling thread's namespace.
///
/// # Errors
/// If there is no thread or socket for it.
pub fn start(start: Start) -> Result<(Sender<Told>, Arc<PodMtu>)> {
    let (told, hears) = channel();
    let pods = Arc::new(PodMtu::default());
    watch_blocks(&start.client, told.clone())?;
    watch_kernel(start.workloads.clone(), told.clone())?;
    let mut keeper = Keeper {
        topology: Topology::new(Arc::clone(&start.node)),
        netlink: Rtnetlink::open()?,
        start,
        in_sync: false,
        blocks_known: false,
        in_force: false,
        dirty: true,
        moved: true,
        due: Instant::now(),
        rest: SHORTEST_REST,
        last: Said::default(),
        leased: [None, None],
        pods: Arc::clone(&pods),
    };
    spawn("network", move || keeper.run(&hears))?;
    Ok((told, pods))
}

fn watch_blocks(client: &Client, told: Sender<Told>) -> Result<()> {
    let mut blocks = Blocks::new(Arc::clone(client.store()));
    spawn("blocks", move || {
        let mut rest = SHORTEST_REST;
        loop {
            match blocks.next(STORE_WAIT) {
                Ok(events) => {
                    rest = SHORTEST_REST;
                    if !events.is_empty() && told.send(Told::Blocks(events)).is_err() {
                        return;
                    }
                }
                // The agent ends.
                Err(tortie_store::Error::Replaced { .. }) => return,
                Err(error) => {
                    tracing::debug!(%error, "the store does not answer; the routes stay");
                    std::thread::sleep(rest);
                    rest = (rest * 2).min(LONGEST_REST);
                }
            }
        }
    })?;
    Ok(())
}

fn watch_kernel(workloads: Vec<String>, told: Sender<Told>) -> Result<()> {
    let mut monitor = NetworkMonitor::open()?;
    let matters = move |event: &NetworkEvent| match event {
        NetworkEvent::Link(link) => !workloads.iter().any(|beginning| link.name.starts_with(&**beginning)),
        // A workload's interface gets one of these, and nothing else.
        NetworkEvent::Address(address) => address.scope == 0,
        NetworkEvent::RouteGone(route) => route.protocol == PROTOCOL,
    };
    spawn("routes", move || {
        while wait(monitor.as_fd()) {
            // If some were lost, everything is looked at.
            let matters = monitor.drain().map_or(true, |events| events.iter().any(&matters));
            if matters && told.send(Told::Kernel).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// What was logged last, so that it is said once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    taken: usize,
    waiting: usize,
    unreached: usize,
}

/// The thread's state.
struct Keeper {
    start: Start,
    topology: Topology,
    netlink: Rtnetlink,
    in_sync: bool,
    blocks_known: bool,
    in_force: bool,
    /// Something was heard that may change the routes.
    dirty: bool,
    /// Something was heard that may change the node's addresses.
    moved: bool,
    /// When to look again, whatever is heard.
    due: Instant,
    rest: Duration,
    last: Said,
    /// For each family what the VXLAN device's address was last looked at for: the stored one, and the pools.
    leased: [Option<(Option<IpAddr>, Vec<IpNet>)>; 2],
    /// How large packets of pods may be.
    pods: Arc<PodMtu>,
}

impl Keeper {
    fn run(&mut self, hears: &Receiver<Told>) {
        loop {
            match hears.recv_timeout(self.due.saturating_duration_since(Instant::now())) {
                Ok(told) => self.on_told(told),
                Err(RecvTimeoutError::Timeout) => (self.dirty, self.moved) = (true, true),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(told) = hears.try_recv() {
                self.on_told(told);
            }
            let done = self.keep();
            if let Err(error) = &done {
                tracing::warn!(%error, "the ways to other nodes are not as they should be; trying again");
                self.due = Instant::now() + self.rest;
                self.rest = (self.rest * 2).min(LONGEST_REST);
            } else {
                self.due = Instant::now() + REFRESH;
                self.rest = SHORTEST_REST;
            }
        }
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Event(Event::InSync) => (self.in_sync, self.moved, self.dirty) = (true, true, true),
            Told::Event(event) => {
                let news = self.topology.on_event(&event);
                self.dirty |= news;
                self.moved |= news;
            }
            Told::InForce => (self.in_force, self.dirty) = (true, true),
            Told::Blocks(events) => {
                for event in events {
                    self.dirty |= match event {
                        BlockEvent::All(blocks) => {
                            self.blocks_known = true;
                            self.topology.set_blocks(blocks)
                        }
                        BlockEvent::Put(block) => self.topology.put_block(block),
                        BlockEvent::Gone(cidr) => self.topology.remove_block(&cidr),
                    };
                }
            }
            Told::Kernel => (self.dirty, self.moved) = (true, true),
        }
    }

    /// The network is kept even if there is no address for a VXLAN device.
    fn keep(&mut self) -> Result<()> {
        let mut kept = Ok(());
        if self.in_sync && self.moved {
            self.measure()?;
            kept = self.keep_addresses().and_then(|()| self.keep_leases());
            self.moved = kept.is_err();
        }
        if self.in_sync && self.blocks_known && self.in_force && self.dirty {
            self.keep_network()?;
            self.dirty = false;
        }
        kept
    }

    /// Says how large packets of pods may be that are wired from now on.
    fn measure(&mut self) -> Result<()> {
        let (links, addresses) = (self.netlink.links()?, self.netlink.addresses()?);
        let seen = Seen { links, addresses, routes: Vec::new() };
        let own = FAMILIES.into_iter().find_map(|family| self.topology.own(family));
        let parent = own.and_then(|own| interface_of(own.addr(), &seen));
        let wrapped = FAMILIES.into_iter().filter(|family| !self.topology.tunnel_pools(*family).is_empty());
        let settings = &self.start.settings;
        let host = mtu::host(&seen.links, &self.start.mtu_interfaces, parent);
        self.pods.set(host.map(|host| mtu::pods(wrapped, settings.vxlan_mtu, host)));
        Ok(())
    }

    /// Writes the node's addresses into its object, where they are other ones. The routes follow when the store says so.
    fn keep_addresses(&mut self) -> Result<()> {
        let (links, addresses) = (self.netlink.links()?, self.netlink.addresses()?);
        let machine = self.start.machine.as_ref();
        let kubernetes = || machine.map_or_else(|| Ok(Vec::new()), Machine::addresses);
        let seen = address::Machine { links: &links, addresses: &addresses, kubernetes: &kubernetes };
        let families = [(Family::V4, "ipv4Address"), (Family::V6, "ipv6Address")];
        for (wanted, (family, field)) in self.start.addresses.iter().zip(families) {
            let stored = self.topology.own(family);
            let Some(next) = wanted.next(family == Family::V4, stored, &seen)? else { continue };
            tracing::info!(address = %next, "this node's address");
            address::update_node(&self.start.client, &self.start.node, |spec| {
                if let Some(spec) = spec.as_object_mut() {
                    spec.entry("bgp").or_insert_with(|| json!({}))[field] = next.to_string().into();
                }
            })?;
        }
        Ok(())
    }

    /// Sees to it that the VXLAN devices have addresses from their pools, and that the Node object names them.
    fn keep_leases(&mut self) -> Result<()> {
        for (place, family) in FAMILIES.into_iter().enumerate() {
            let (stored, pools) = (self.topology.own_tunnel(family), self.topology.tunnel_pools(family));
            let asked = Some((stored, pools));
            if self.leased[place] == asked {
                continue;
            }
            if let Some((stored, pools)) = &asked
                && (stored.is_some() || !pools.is_empty())
            {
                let lease = Lease { client: &self.start.client, node: &self.start.node, family };
                let next = lease.keep(*stored, pools)?;
                if next != *stored {
                    tracing::info!(address = ?next, "the VXLAN device's own address");
                    address::update_node(&self.start.client, &self.start.node, |spec| {
                        if let Some(spec) = spec.as_object_mut() {
                            match next {
                                Some(next) => {
                                    drop(spec.insert(lease.field().to_owned(), next.to_string().into()))
                                }
                                None => drop(spec.remove(lease.field())),
                            }
                        }
                    })?;
                }
            }
            self.leased[place] = asked;
        }
        Ok(())
    }

    /// Tunnels first: routes lead through them.
    fn keep_network(&mut self) -> Result<()> {
        let network = self.topology.network();
        let mut tunnels = Vec::new();
        for family in FAMILIES {
            let (name, wanted) = (device(family), network.tunnels.get(&family));
            let shape = wanted.map(|wanted| self.shape(family, wanted.own)).transpose()?.flatten();
            if wanted.is_some() && shape.is_none() {
                // Without an interface it can't be made; one that is there waits with the routes.
                continue;
            }
            let wanted = wanted.zip(shape);
            let steps = Steps::plan(wanted, Device::read(&mut self.netlink, name)?.as_ref());
            if !steps.is_done() {
                tracing::info!(device = name, peers = wanted.map(|(tunnel, _)| tunnel.peers.len()), "VXLAN");
                steps.grow(&mut self.netlink, name, wanted)?;
            }
            tunnels.push((name, steps));
        }
        self.keep_routes(&network)?;
        for (name, steps) in tunnels {
            steps.shrink(&mut self.netlink, name)?;
        }
        Ok(())
    }

    /// What a VXLAN device should be; `None` as long as no interface has the node's address.
    fn shape(&mut self, family: Family, own: IpAddr) -> Result<Option<Shape>> {
        let seen =
            Seen { links: self.netlink.links()?, addresses: self.netlink.addresses()?, routes: Vec::new() };
        let Some(parent) = interface_of(own, &seen) else { return Ok(None) };
        let settings = &self.start.settings;
        let host = mtu::host(&seen.links, &self.start.mtu_interfaces, Some(parent)).unwrap_or_default();
        let vxlan = Vxlan {
            id: settings.vxlan_id,
            port: settings.vxlan_port,
            local: Some(own),
            parent: Some(parent),
            learning: false,
        };
        Ok(Some(Shape { vxlan, mtu: mtu::device(family, settings.vxlan_mtu, host) }))
    }

    fn keep_routes(&mut self, network: &Network) -> Result<()> {
        let seen = Seen {
            links: self.netlink.links()?,
            addresses: self.netlink.addresses()?,
            routes: self.netlink.routes(RouteFilter { table: Some(TABLE_MAIN), ..RouteFilter::default() })?,
        };
        let plan = plan(network, &seen);
        self.say(&plan, network.unreached);
        if plan.is_done() {
            return Ok(());
        }
        tracing::info!(
            new = plan.add.len(),
            changed = plan.replace.len(),
            gone = plan.delete.len(),
            all = network.routes.len(),
            "ways to other nodes"
        );
        self.commit(&plan)
    }

    /// All of it is tried, whatever fails; the first failure is told.
    fn commit(&mut self, plan: &Plan) -> Result<()> {
        let mut failed = None;
        for route in &plan.add {
            match self.netlink.add_route(route) {
                // Somebody was faster: the next look tells who.
                Err(error) if error.is_exists() => {}
                done => failed = failed.or(done.err()),
            }
        }
        for route in &plan.replace {
            failed = failed.or(self.netlink.replace_route(route).err());
        }
        for route in &plan.delete {
            failed = failed.or(self.netlink.delete_route(route).err());
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn say(&mut self, plan: &Plan, unreached: usize) {
        let said = Said { taken: plan.taken.len(), waiting: plan.waiting, unreached };
        if said == self.last {
            return;
        }
        if let Some(first) = plan.taken.first() {
            tracing::warn!(count = said.taken, %first, "routes of somebody else lead to pods: left to him");
        }
        if said.waiting > 0 {
            tracing::warn!(
                count = said.waiting,
                "routes wait: no interface that is up has this node's address"
            );
        }
        if unreached > 0 {
            tracing::warn!(
                count = unreached,
                "blocks of other nodes are out of reach: not on this node's subnet, \
                 or their pool wants IPIP"
            );
        }
        self.last = said;
    }
}

#[cfg(test)]
mod fixtures {
    use tortie_netlink::rtnetlink::Link;

    /// An interface of the host.
    pub fn mk_link(index: u32, name: &str, mtu: u32, up: bool) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac: None,
            mtu,
            up,
            running: true,
            operational: true,
            alias: None,
            kind: None,
            peer_index: None,
            master: None,
        }
    }
}
