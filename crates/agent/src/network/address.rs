//! Which of the machine's addresses is the node's: the one that other nodes reach it by.
//!
//! `IP` and `IP6` say so as in Calico: an address, `autodetect`, `none`, or nothing, which for IPv4 means to look for one
//! if none is stored, and for IPv6 to leave what is stored. `IP_AUTODETECTION_METHOD` says where to look.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

use ipnet::IpNet;
use regex_lite::Regex;
use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_netlink::rtnetlink::{Address, Link};
use tortie_store::resources::{Client, Labels};

use crate::{Error, Result};

/// Interfaces that `first-found` passes over, by how their names begin.
const PASSED_OVER: [&str; 17] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "lo",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "vxlan.calico",
    "vxlan-v6.calico",
    "wireguard.cali",
    "wg-v6.cali",
    "nodelocaldns",
];

/// What is said of one family's address.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// This one. Without a prefix length it gets that of the interface which has it.
    Given(IpAddr, Option<u8>),
    /// Found by this method, again whenever the machine's addresses change.
    Found(Method),
    /// Found if none is stored.
    FoundOnce(Method),
    /// What is stored stays.
    Stored,
}

/// Where to look for an address.
#[derive(Debug, Clone)]
pub enum Method {
    /// On all interfaces but those which software makes, in their order.
    FirstFound,
    /// On interfaces whose names one of these finds.
    Interface(Vec<Regex>),
    /// On interfaces whose names none of these finds, nor are passed over anyway.
    SkipInterface(Vec<Regex>),
    /// Any address in one of these.
    Cidr(Vec<IpNet>),
    /// The one from which packets to this address or name leave.
    CanReach(String),
    /// The `InternalIP` that Kubernetes' Node object names.
    Kubernetes,
}

/// What is known of the machine where an address is looked for.
pub struct Machine<'a> {
    /// Its interfaces.
    pub links: &'a [Link],
    /// Their addresses.
    pub addresses: &'a [Address],
    /// Asks Kubernetes for the node's addresses.
    pub kubernetes: &'a dyn Fn() -> Result<Vec<IpAddr>>,
}

/// What methods there are.
const METHODS: &str = "first-found, interface=REGEX,..., skip-interface=REGEX,..., cidr=CIDR,..., can-reach=DESTINATION or \
                       kubernetes-internal-ip (of a node of a Kubernetes cluster)";

impl Wanted {
    /// Reads what the variable of a family says; `is_node` says whether there is a Kubernetes in which this is a node.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn parse(v4: bool, value: Option<&str>, method: Option<&str>, is_node: bool) -> Result<Self> {
        let (name, method_name) =
            if v4 { ("IP", "IP_AUTODETECTION_METHOD") } else { ("IP6", "IP6_AUTODETECTION_METHOD") };
        let fault = |name: &str, found: &str, expected| Error::Setting {
            name: name.to_owned(),
            found: found.to_owned(),
            expected,
        };
        let method = || {
            let text = method.unwrap_or("first-found");
            let known = Method::parse(text).filter(|method| is_node || !matches!(method, Method::Kubernetes));
            known.ok_or_else(|| fault(method_name, text, METHODS))
        };
        Ok(match value {
            None if v4 => Self::FoundOnce(method()?),
            None | Some("none") => Self::Stored,
            Some("autodetect") => Self::Found(method()?),
            Some(text) => {
                let net = text.parse::<IpNet>().map(|net| (net.addr(), Some(net.prefix_len())));
                let net = net.or_else(|_| text.parse().map(|address: IpAddr| (address, None)));
                match net {
                    Ok((address, prefix)) if address.is_ipv4() == v4 => Self::Given(address, prefix),
                    _ => return Err(fault(name, text, "an address of its family, autodetect or none")),
                }
            }
        })
    }

    /// The address that should be stored, if another one should be.
    ///
    /// # Errors
    /// Those of Kubernetes, if it has to be asked.
    pub fn next(&self, v4: bool, stored: Option<IpNet>, machine: &Machine<'_>) -> Result<Option<IpNet>> {
        let next = match self {
            Self::Given(address, prefix) => {
                let on = machine.addresses.iter().find(|found| found.net.addr() == *address);
                let prefix = prefix.or(on.map(|found| found.net.prefix_len()));
                prefix.map_or(Some((*address).into()), |prefix| IpNet::new(*address, prefix).ok())
            }
            Self::FoundOnce(_) if stored.is_some() => None,
            Self::Found(method) | Self::FoundOnce(method) => method.find(v4, machine)?,
            Self::Stored => None,
        };
        Ok(next.filter(|next| Some(*next) != stored))
    }
}

impl Method {
    fn parse(text: &str) -> Option<Self> {
        let regexes = |text: &str| -> Option<Vec<Regex>> {
            text.split(',').map(|part| Regex::new(part.trim()).ok()).collect()
        };
        Some(match text.split_once('=') {
            None if text == "first-found" => Self::FirstFound,
            None if text == "kubernetes-internal-ip" => Self::Kubernetes,
            Some(("can-reach", destination)) if !destination.trim().is_empty() => {
                Self::CanReach(destination.trim().to_owned())
            }
            Some(("interface", names)) => Self::Interface(regexes(names)?),
            Some(("skip-interface", names)) => Self::SkipInterface(regexes(names)?),
            Some(("cidr", nets)) => {
                Self::Cidr(nets.split(',').map(|net| net.trim().parse().ok()).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    fn find(&self, v4: bool, machine: &Machine<'_>) -> Result<Option<IpNet>> {
        let Machine { links, addresses, kubernetes } = machine;
        let on_an_interface = |address: IpAddr| {
            let mut nets = addresses.iter().map(|found| found.net);
            nets.find(|net| net.addr() == address)
        };
        match self {
            Self::CanReach(destination) => return Ok(leaving_for(destination, v4).and_then(on_an_interface)),
            Self::Kubernetes => {
                let named = kubernetes()?;
                let mut own = named.into_iter().filter(|address| address.is_ipv4() == v4);
                return Ok(own.find_map(on_an_interface));
            }
            Self::FirstFound | Self::Interface(_) | Self::SkipInterface(_) | Self::Cidr(_) => {}
        }
        let made_by_software =
            |link: &&Link| PASSED_OVER.iter().any(|beginning| link.name.starts_with(beginning));
        let named = |link: &&Link, names: &[Regex]| names.iter().any(|name| name.is_match(&link.name));
        let links = links.iter().filter(|link| match self {
            Self::FirstFound => !made_by_software(link),
            Self::Interface(names) => named(link, names),
            Self::SkipInterface(names) => !named(link, names) && !made_by_software(link),
            _ => true,
        });
        Ok(links.filter(|link| link.up).find_map(|link| {
            let mut nets = addresses.iter().filter(|address| address.index == link.index).map(|found| found.net);
            nets.find(|net| {
                let usable = net.addr().is_ipv4() == v4 && is_global(net.addr());
                usable && !matches!(self, Self::Cidr(cidrs) if !cidrs.iter().any(|cidr| cidr.contains(&net.addr())))
            })
        }))
    }
}

/// From which address packets leave for a destination. Nothing is sent: the kernel is asked for the way.
fn leaving_for(destination: &str, v4: bool) -> Option<IpAddr> {
    let leaves = || -> std::io::Result<Option<IpAddr>> {
        // Any port does.
        let known = (destination, 80).to_socket_addrs()?.find(|to: &SocketAddr| to.is_ipv4() == v4);
        let Some(to) = known else { return Ok(None) };
        let any: IpAddr = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        Ok(Some(socket.local_addr()?.ip()))
    };
    leaves().unwrap_or_else(|error| {
        tracing::warn!(%error, destination, "no way leads there: this node's address stays as it is (can-reach)");
        None
    })
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

/// Changes the node's object. `change` gets its `spec`; what it leaves as it was isn't written.
///
/// # Errors
/// Those of the datastore; also if others change the object all the time.
pub fn update_node(client: &Client, node: &str, change: impl Fn(&mut Value)) -> Result<()> {
    let id = ResourceKey::cluster(Kind::Node, node);
    for _ in 0..ATTEMPTS {
        let stored = match client.get(&id) {
            // Somebody has deleted it: there is nothing to write it into.
            Err(tortie_store::Error::Missing { .. }) => return Ok(()),
            found => found?,
        };
        let mut object = stored.clone();
        let Some(spec) =
            object.as_object_mut().map(|object| object.entry("spec").or_insert_with(|| json!({})))
        else {
            return Ok(());
        };
        change(spec);
        if object == stored {
            return Ok(());
        }
        match client.update(object, Labels::Merge) {
            Ok(_) => return Ok(()),
            Err(tortie_store::Error::UpdateConflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How often a write that others have overtaken is tried; the next change of anything tries again.
const ATTEMPTS: usize = 5;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Interfaces by name, up unless they say so, with their addresses.
    fn mk_machine(interfaces: &[(&str, &[&str])]) -> (Vec<Link>, Vec<Address>) {
        let (mut links, mut addresses) = (Vec::new(), Vec::new());
        for (index, (name, nets)) in (1..).zip(interfaces) {
            let up = !name.ends_with("-down");
            links.push(Link {
                index,
                name: (*name).to_owned(),
                mac: None,
                mtu: 1500,
                up,
                running: up,
                operational: up,
                alias: None,
                kind: None,
                peer_index: None,
                master: None,
            });
            let net = |net: &&str| Address { index, net: net.parse().unwrap(), scope: 0, tentative: false };
            addresses.extend(nets.iter().map(net));
        }
        (links, addresses)
    }

    #[test]
    fn an_address_is_looked_for_where_calico_looks() {
        let (links, addresses) = mk_machine(&[
            ("lo", &["127.0.0.1/8", "::1/128"]),
            ("docker0", &["172.17.0.1/16"]),
            ("eth9-down", &["10.9.0.1/24"]),
            ("eth0", &["169.254.3.3/16", "192.168.77.11/24", "fe80::1/64", "fd77::11/64"]),
            ("eth1", &["10.1.0.11/24", "fd01::11/64"]),
        ]);
        let table = [
            (None, None, Some("192.168.77.11/24"), None),
            (Some("autodetect"), None, Some("192.168.77.11/24"), Some("fd77::11/64")),
            (Some("autodetect"), Some("interface=eth1,ens.*"), Some("10.1.0.11/24"), Some("fd01::11/64")),
            (Some("autodetect"), Some("skip-interface=eth0"), Some("10.1.0.11/24"), Some("fd01::11/64")),
            (
                Some("autodetect"),
                Some("cidr=10.0.0.0/8,fd01::/16"),
                Some("10.1.0.11/24"),
                Some("fd01::11/64"),
            ),
            (Some("autodetect"), Some("cidr=11.0.0.0/8"), None, None),
            // The first is on no interface.
            (Some("autodetect"), Some("kubernetes-internal-ip"), Some("10.1.0.11/24"), Some("fd01::11/64")),
            (Some("none"), None, None, None),
        ];
        for (value, method, v4, v6) in table {
            let found = |is_v4| {
                let wanted = Wanted::parse(is_v4, value, method, true).unwrap();
                let kubernetes =
                    || Ok(["10.5.5.5", "10.1.0.11", "fd01::11"].map(|text| text.parse().unwrap()).to_vec());
                let machine = Machine { links: &links, addresses: &addresses, kubernetes: &kubernetes };
                wanted.next(is_v4, None, &machine).unwrap().map(|net| net.to_string())
            };
            assert_eq!((found(true).as_deref(), found(false).as_deref()), (v4, v6), "{value:?} {method:?}");
        }
    }

    #[test]
    fn what_is_stored_stays_unless_another_address_is_given_or_always_looked_for() {
        let (links, addresses) = mk_machine(&[("eth0", &["192.168.77.11/24"])]);
        let stored: Option<IpNet> = Some("192.168.77.200/24".parse().unwrap());
        let table = [
            (None, None),
            (Some("none"), None),
            (Some("autodetect"), Some("192.168.77.11/24")),
            (Some("192.168.77.11"), Some("192.168.77.11/24")),
            (Some("192.168.77.11/30"), Some("192.168.77.11/30")),
            (Some("10.0.0.1"), Some("10.0.0.1/32")),
            (Some("192.168.77.200/24"), None),
        ];
        for (value, expected) in table {
            let wanted = Wanted::parse(true, value, None, false).unwrap();
            let machine = Machine { links: &links, addresses: &addresses, kubernetes: &|| Ok(Vec::new()) };
            let next = wanted.next(true, stored, &machine).unwrap().map(|net| net.to_string());
            assert_eq!(next.as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let fault = |v4, value, method| Wanted::parse(v4, value, method, false).unwrap_err().to_string();
        assert!(fault(true, Some("fd77::1"), None).starts_with("IP is \"fd77::1\": expected an address"));
        assert!(fault(false, Some("10.0.0.1"), None).starts_with("IP6 is \"10.0.0.1\""));
        for method in ["reach=8.8.8.8", "can-reach=", "kubernetes-internal-ip", "interface=["] {
            let said = fault(true, None, Some(method));
            let expected = format!("IP_AUTODETECTION_METHOD is {method:?}: expected first-found, ");
            assert!(said.starts_with(&expected) && said.contains("can-reach=DESTINATION"), "{said}");
        }
    }

    #[test]
    fn the_address_that_reaches_a_destination_is_that_of_its_route() {
        let namespace =
            tortie_netlink::OwnedNamespace::create(&format!("tt-{}-reach", std::process::id())).unwrap();
        let ip = |arguments: &str| {
            let mut ip = std::process::Command::new("ip");
            let done = ip.args(["-n", namespace.name()]).args(arguments.split(' ')).status().unwrap();
            assert!(done.success(), "{arguments}");
        };
        for (name, net, net6) in [("one", "10.1.0.1/24", "fd01::1/64"), ("two", "10.2.0.1/24", "fd02::1/64")]
        {
            ip(&format!("link add {name} type veth peer name far{name}"));
            ip(&format!("link set far{name} up"));
            ip(&format!("addr add {net} dev {name}"));
            ip(&format!("addr add {net6} dev {name} nodad"));
            ip(&format!("link set {name} up"));
        }
        ip("route add 198.51.100.0/24 via 10.2.0.9");
        ip("route add 2001:db8::/32 via fd02::9");
        let found = |method: &str, is_v4: bool| {
            let wanted = Wanted::parse(is_v4, Some("autodetect"), Some(method), false).unwrap();
            let look = || {
                let mut netlink = tortie_netlink::Rtnetlink::open().unwrap();
                let (links, addresses) = (netlink.links().unwrap(), netlink.addresses().unwrap());
                let machine =
                    Machine { links: &links, addresses: &addresses, kubernetes: &|| Ok(Vec::new()) };
                wanted.next(is_v4, None, &machine).unwrap().map(|net| net.to_string())
            };
            namespace.run(look).unwrap()
        };
        assert_eq!(found("first-found", true).as_deref(), Some("10.1.0.1/24"));
        assert_eq!(found("can-reach=198.51.100.7", true).as_deref(), Some("10.2.0.1/24"));
        assert_eq!(found("can-reach=2001:db8::7", false).as_deref(), Some("fd02::1/64"));
        assert_eq!(found("can-reach=203.0.113.1", true), None, "no way leads there");
        assert_eq!(found("can-reach=198.51.100.7", false), None, "it is of the other family");
    }
}
