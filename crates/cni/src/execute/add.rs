//! ADD.

use super::Context;
use crate::address::{self, Along, Wanted};
use crate::annotations::{self, Asked};
use crate::config::NetworkConfig;
use crate::endpoint::{Attached, addresses_of, endpoint, lead_ports, mapped, network_profile};
use crate::identity::{Identity, Workload};
use crate::output::{Address, Attachment, Interface, Route};
use crate::request::{Command, Request};
use crate::wiring::{
    Pair, Plan, Wiring, default_routes, forget_planned, forget_ports, forgotten, random_mac, remove_from_host,
};
use crate::{Error, Result, delegate};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use tortie_api::endpoint::{NodeSpec, WorkloadEndpoint};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_dataplane::network::HostPort;
use tortie_netlink::Namespace;
use tortie_netlink::rtnetlink::{LinkRef, Mac};
use tortie_store::Revision;
use tortie_store::resources::{Client, Labels, Prepared};

/// The IPAM that is ours.
pub(super) const CALICO_IPAM: &str = "calico-ipam";
const ANNOTATION_MAC: &str = "cni.projectcalico.org/hwAddr";

/// Attaches a container.
pub(super) fn add(context: &Context<'_>, request: &Request, pod: &Namespace) -> Result<Value> {
    context.ready()?;
    mapped(&request.config)?;
    let identity = context.identity(request);
    let stored = context.stored(&identity)?;
    // A pod of Kubernetes keeps its container's id beyond the DEL, but no address.
    let attached = |found: &&WorkloadEndpoint| {
        found.spec.container_id == identity.container_id && !addresses_of(found).is_empty()
    };
    let same = stored.as_ref().filter(attached);
    context.gate.close().map_err(Error::Gate)?;
    match same {
        Some(found) => again(context, request, &identity, found, pod),
        None => first(context, request, &identity, stored.as_ref(), pod),
    }
}

/// Only addresses: we are `calico-ipam`.
pub(super) fn add_addresses(context: &Context<'_>, request: &Request) -> Result<Value> {
    context.ready()?;
    let identity = context.identity(request);
    let (nets, _) = assign(context, request, &identity, Box::new(|_| None))?;
    context.persist()?;
    Ok(calico_result(&nets).to_json(request.version()))
}

/// The first ADD of a container. `before` is the endpoint of an earlier container of the same pod.
fn first(
    context: &Context<'_>,
    request: &Request,
    identity: &Identity,
    before: Option<&WorkloadEndpoint>,
    pod: &Namespace,
) -> Result<Value> {
    let attached = attach(context, request, identity, before, pod);
    let mut attachment = attached.inspect_err(|_| undo(context, request, identity))?;
    for ip in &mut attachment.ips {
        ip.address = IpNet::from(ip.address.addr());
        ip.gateway = None;
    }
    attachment.interfaces = vec![Interface { name: identity.interface() }];
    Ok(attachment.to_json(request.version()))
}

/// The same ADD again (the runtime or the node started anew): same addresses, wires made anew if they don't stand.
fn again(
    context: &Context<'_>,
    request: &Request,
    identity: &Identity,
    found: &WorkloadEndpoint,
    pod: &Namespace,
) -> Result<Value> {
    let addresses = addresses_of(found);
    let wiring = wiring(
        request,
        pair(context, request, identity)?,
        &addresses,
        configured_routes(request, &addresses)?,
    );
    let mut wanted = found.clone();
    if !wiring.faults(pod)?.is_empty() {
        wiring.apply(pod)?;
        wanted.spec.mac = wiring.pair.mac.to_string();
        wanted.spec.interface_name.clone_from(&wiring.pair.host_interface);
    }
    if identity.workload == Workload::Container && !wanted.spec.profiles.contains(&identity.network) {
        ensure_profile(context.client, &identity.network)?;
        wanted.spec.profiles.push(identity.network.clone());
    }
    lead_ports(&mut wanted, &request.config)?;
    if wanted != *found {
        // Into what is stored: fields that we don't know stay.
        let mut stored = context.client.get(&identity.endpoint_key())?;
        let spec = &mut stored["spec"];
        spec["mac"] = json!(wanted.spec.mac);
        spec["interfaceName"] = json!(wanted.spec.interface_name);
        spec["profiles"] = json!(wanted.spec.profiles);
        spec["ports"] = json!(wanted.spec.ports);
        stored["metadata"]["annotations"] = json!(wanted.metadata.annotations);
        wanted = typed(context.client.update(stored, Labels::Replace)?)?;
    }
    context.persist()?;
    let ports = HostPort::of(&wanted);
    context.gate.judge(wanted).and_then(|judged| judged()).map_err(Error::Gate)?;
    forget_ports(&ports)?;
    let ips = addresses.iter().map(|address| Address { address: IpNet::from(*address), gateway: None });
    let interfaces = vec![Interface { name: wiring.pair.host_interface }];
    Ok(Attachment { interfaces, ips: ips.collect(), ..Attachment::default() }.to_json(request.version()))
}

/// Wires, stores, waits. One thread makes the pair, and dresses it as soon as the addresses are known; one forgets the
/// connections that they had; this one assigns them, stores the endpoint, and waits for the store's disk while the gate judges.
fn attach(
    context: &Context<'_>,
    request: &Request,
    identity: &Identity,
    before: Option<&WorkloadEndpoint>,
    pod: &Namespace,
) -> Result<Attachment> {
    let pair = pair(context, request, identity)?;
    if identity.workload == Workload::Container {
        ensure_profile(context.client, &identity.network)?;
    }
    // What is begun here ends here, whatever fails beside it: the scope waits for its thread.
    std::thread::scope(|scope| {
        let (make, made) = channel();
        let (tell, told) = channel::<Wiring>();
        let (plan, planned) = channel::<Plan>();
        let forgetting = scope.spawn(move || forget_planned(&planned));
        let to_create = pair.clone();
        let wires = scope.spawn(move || {
            let created = to_create.create(pod)?;
            // Whoever does not listen any more has failed, and says so: nothing is to be done then.
            _ = make.send(());
            told.recv().map_or(Ok(()), |wiring| wiring.dress(created, pod, || forgotten(forgetting)))
        });
        let new = NewEndpoint::default();
        // One that is there already is changed, in a write of its own.
        let together = before.is_none().then(|| new.along(context, request, identity, &pair));
        let maybe = plan.clone();
        let along: Along = Box::new(move |nets| {
            _ = maybe.send(Plan::Maybe(nets.iter().map(IpNet::addr).collect()));
            together.as_ref().and_then(|together| together(nets))
        });
        let assigned = addresses(context, request, identity, along);
        let of = |attachment: &Attachment| attachment.ips.iter().map(|ip| ip.address.addr()).collect();
        let addresses: Vec<IpAddr> = assigned.as_ref().map_or(Vec::new(), |(attachment, _)| of(attachment));
        drop(plan.send(Plan::Surely(addresses.clone())));
        let (attachment, revision) = assigned?;
        let routes = routes(request, &attachment.routes, &addresses);
        drop(tell.send(wiring(request, pair.clone(), &addresses, routes)));
        let stored = match revision.map(|revision| new.stored(revision)).transpose()?.flatten() {
            Some(stored) => stored,
            None => {
                let attached =
                    Attached { interface: &pair.host_interface, mac: pair.mac, addresses: &addresses };
                store(context.client, endpoint(identity, &request.config, &attached)?, before)?
            }
        };
        let ports = HostPort::of(&stored);
        // Not made: the other thread's error says why.
        let judged = made.recv().ok().map(|()| context.gate.judge(stored)).transpose();
        let persisted = context.persist();
        let panicked = |_| Err(Error::Gate("the thread that attaches the pod panicked".into()));
        wires.join().unwrap_or_else(panicked)?;
        persisted?;
        let judged = judged.map_err(Error::Gate)?;
        judged.map_or(Ok(()), |judged| judged()).map_err(Error::Gate)?;
        forget_ports(&ports)?;
        Ok(attachment)
    })
}

/// An endpoint that is written together with its addresses.
#[derive(Default)]
struct NewEndpoint(Arc<Mutex<Option<Prepared>>>);

impl NewEndpoint {
    fn along(&self, context: &Context<'_>, request: &Request, identity: &Identity, pair: &Pair) -> Along {
        let (client, config, identity) = (context.client.clone(), request.config.clone(), identity.clone());
        let (interface, mac, kept) = (pair.host_interface.clone(), pair.mac, Arc::clone(&self.0));
        Box::new(move |nets| {
            let addresses: Vec<IpAddr> = nets.iter().map(IpNet::addr).collect();
            let attached = Attached { interface: &interface, mac, addresses: &addresses };
            // What is wrong with it is told when it is written by itself.
            let object = endpoint(&identity, &config, &attached).ok()?;
            let prepared = client.prepare(Client::to_json(&object).ok()?).ok()?;
            let write = prepared.write();
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(prepared);
            Some(write)
        })
    }

    fn stored(&self, revision: Revision) -> Result<Option<WorkloadEndpoint>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(|prepared| typed(prepared.at(revision)?)).transpose()
    }
}

/// Returns the endpoint as it is stored.
fn store(
    client: &Client,
    mut object: WorkloadEndpoint,
    before: Option<&WorkloadEndpoint>,
) -> Result<WorkloadEndpoint> {
    let stored = if let Some(before) = before {
        // Whoever changed it since we read it must be seen: it may be a newer container's. A pod is changed by many.
        if !client.store().knows_pods() {
            object.metadata.resource_version.clone_from(&before.metadata.resource_version);
        }
        client.update(Client::to_json(&object)?, Labels::Replace)?
    } else {
        client.create(Client::to_json(&object)?)?
    };
    typed(stored)
}

fn typed(stored: Value) -> Result<WorkloadEndpoint> {
    serde_json::from_value(stored)
        .map_err(|error| Error::Decode { what: "stored endpoint", cause: error.to_string() })
}

/// Takes back what a failed ADD did; what fails here is logged, the first error is what the runtime sees.
fn undo(context: &Context<'_>, request: &Request, identity: &Identity) {
    let warn = |what: &str, error: Error| {
        tracing::warn!(container = identity.container_id, what, %error, "a failed ADD left something");
    };
    if let Err(error) = remove_from_host(LinkRef::Name(&identity.interface())) {
        warn("interface", error);
    }
    // An endpoint of an earlier container of this pod is that one's, until we have written it.
    let ours = context
        .stored(identity)
        .map(|found| found.is_some_and(|found| found.spec.container_id == identity.container_id));
    let removed = ours.and_then(|ours| match ours {
        true => context.client.delete(&identity.endpoint_key(), None).map(drop).map_err(Error::from),
        false => Ok(()),
    });
    if let Err(error) = removed {
        warn("endpoint", error);
    }
    let released = match request.config.ipam.plugin_type.as_str() {
        CALICO_IPAM => context
            .view(&identity.node)
            .and_then(|view| address::release(context.addresses(), &view, &identity.handle()).map(drop)),
        _ => delegated_config(context, request, &identity.node)
            .and_then(|raw| delegate::call(request, &raw, Command::Del)),
    };
    if let Err(error) = released {
        warn("addresses", error);
    }
    if let Err(error) = context.persist() {
        warn("on disk", error);
    }
}

/// The pod's addresses, from whoever has them.
fn addresses(
    context: &Context<'_>,
    request: &Request,
    identity: &Identity,
    along: Along,
) -> Result<(Attachment, Option<Revision>)> {
    let asked = annotations::asked(&request.config)?;
    if let Asked::Unmanaged(addresses) = asked {
        let ips =
            addresses.into_iter().map(|address| Address { address: IpNet::from(address), gateway: None });
        return Ok((Attachment { ips: ips.collect(), ..Attachment::default() }, None));
    }
    let (attachment, revision) = if request.config.ipam.plugin_type == CALICO_IPAM {
        let (nets, revision) = assign(context, request, identity, along)?;
        (calico_result(&nets), revision)
    } else {
        (delegate::add(request, &delegated_config(context, request, &identity.node)?)?, None)
    };
    if attachment.ips.is_empty() {
        return Err(Error::Addresses("IPAM plugin returned missing IP config".into()));
    }
    Ok((attachment, revision))
}

fn assign(
    context: &Context<'_>,
    request: &Request,
    identity: &Identity,
    along: Along,
) -> Result<(Vec<IpNet>, Option<Revision>)> {
    let config = &request.config;
    let asked = annotations::asked(config)?;
    let is_given = matches!(asked, Asked::Given(_));
    let requested = match (asked, request.args.ip) {
        (Asked::Given(addresses), _) => {
            give_back(context, identity)?;
            addresses
        }
        (_, Some(address)) => vec![address],
        (_, None) => Vec::new(),
    };
    let wanted = Wanted {
        v4: config.ipam.assign_ipv4.unwrap_or(true),
        v6: config.ipam.assign_ipv6.unwrap_or(false),
        v4_pools: config.ipam.ipv4_pools.clone(),
        v6_pools: config.ipam.ipv6_pools.clone(),
        requested,
        annotations: config.args.cni.annotations.clone(),
        namespace: config.args.cni.namespace.clone(),
    };
    if !wanted.v4 && !wanted.v6 && wanted.requested.is_empty() {
        return Err(Error::Config {
            field: "ipam",
            found: "assign_ipv4 and assign_ipv6 false".into(),
            expected: "at least one of them true",
        });
    }
    let view = context.view(&identity.node)?;
    address::assign(context.addresses(), &view, identity, &wanted, along).map_err(|error| match error {
        Error::Addresses(message) if is_given => {
            Error::Addresses(format!("error getting IP from IPAM: {message}"))
        }
        error => error,
    })
}

/// Addresses with their blocks' masks, and routes to the blocks, as `calico-ipam` prints them.
fn calico_result(nets: &[IpNet]) -> Attachment {
    let mut routes: Vec<Route> = Vec::new();
    for net in nets {
        let route = Route { destination: net.trunc(), gateway: None };
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    let ips = nets.iter().map(|net| Address { address: *net, gateway: None }).collect();
    Attachment { ips, routes, ..Attachment::default() }
}

/// Releases what an earlier container of the pod still has: the pod asks for the same addresses again, and the runtime may take the old
/// container away later. What is another pod's by now stays.
fn give_back(context: &Context<'_>, identity: &Identity) -> Result<()> {
    let Some(before) = context.stored(identity)? else { return Ok(()) };
    if before.spec.ip_networks.is_empty() {
        return Ok(());
    }
    let view = context.view(&identity.node)?;
    address::release_of_pod(context.addresses(), &view, identity, &addresses_of(&before))
}

/// What the pod's routes lead to: what another IPAM gave, or the default routes; both on request.
fn routes(request: &Request, given: &[Route], addresses: &[IpAddr]) -> Vec<IpNet> {
    let given: Vec<IpNet> = match request.config.ipam.plugin_type.as_str() {
        CALICO_IPAM => Vec::new(),
        _ => given.iter().map(|route| route.destination).collect(),
    };
    let mut routes = if given.is_empty() || request.config.include_default_routes {
        default_routes(addresses)
    } else {
        Vec::new()
    };
    routes.extend(given);
    routes.dedup();
    routes
}

/// The same when only the configuration is at hand: other IPAM plugins give the routes that stand in it.
pub(super) fn configured_routes(request: &Request, addresses: &[IpAddr]) -> Result<Vec<IpNet>> {
    let configured = json!({ "routes": request.raw["ipam"]["routes"] });
    Ok(routes(request, &Attachment::parse(&configured)?.routes, addresses))
}

pub(super) fn pair(context: &Context<'_>, request: &Request, identity: &Identity) -> Result<Pair> {
    let mac = request.config.args.cni.annotations.get(ANNOTATION_MAC);
    Ok(Pair {
        host_interface: identity.interface(),
        pod_interface: identity.ifname.clone(),
        mtu: Some(request.config.mtu).filter(|mtu| *mtu != 0).or_else(context.mtu),
        mac: mac.map_or_else(|| Ok(random_mac()), |mac| mac.parse::<Mac>())?,
    })
}

pub(super) fn wiring(request: &Request, pair: Pair, addresses: &[IpAddr], routes: Vec<IpNet>) -> Wiring {
    let NetworkConfig { container_settings, runtime, .. } = &request.config;
    let forwarding = container_settings.allow_ip_forwarding;
    let has_ports = !runtime.port_mappings.is_empty();
    Wiring { pair, addresses: addresses.to_vec(), routes, forwarding, has_ports }
}

fn ensure_profile(client: &Client, network: &str) -> Result<()> {
    match client.get(&ResourceKey::cluster(Kind::Profile, network)) {
        Ok(_) => return Ok(()),
        Err(tortie_store::Error::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match client.create(network_profile(network)) {
        Ok(_) | Err(tortie_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The configuration for another IPAM plugin: `usePodCidr` becomes the node's first IPv4 pod CIDR.
pub(super) fn delegated_config(context: &Context<'_>, request: &Request, node: &str) -> Result<Value> {
    let mut raw = request.raw.clone();
    if request.config.ipam.subnet.eq_ignore_ascii_case("usePodCidr") {
        let object = context.client.get_as::<NodeSpec>(&ResourceKey::cluster(Kind::Node, node))?;
        let cidr = object.status.pod_cidrs.first().ok_or_else(|| Error::Config {
            field: "ipam.subnet",
            found: format!("usePodCidr, and node {node} has no pod CIDR"),
            expected: "a subnet",
        })?;
        raw["ipam"]["subnet"] = json!(cidr);
    }
    Ok(raw)
}
