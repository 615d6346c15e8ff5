//! Results as JSON, in the layout of each version, and other plugins' results read back. Pure.

use crate::request::{NEWEST, VERSIONS};
use crate::{Error, Result};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::net::IpAddr;

/// What an ADD gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Interfaces; Calico names the host's only.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<Address>,
    /// Routes that IPAM gave.
    pub routes: Vec<Route>,
    /// Passed through from IPAM; an empty object if none.
    pub dns: Option<Value>,
}

/// An interface of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
}

/// An address of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// With prefix length.
    pub address: IpNet,
    /// host-local gives one.
    pub gateway: Option<IpAddr>,
}

/// A route of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub destination: IpNet,
    /// Next hop.
    pub gateway: Option<IpAddr>,
}

/// The answer to VERSION.
#[must_use]
pub fn versions() -> Value {
    json!({ "cniVersion": NEWEST, "supportedVersions": VERSIONS })
}

impl Attachment {
    /// The JSON of this version: `ip4` and `ip6` until 0.2.0, `ips` with `version` until 0.4.0, `ips` since.
    #[must_use]
    pub fn to_json(&self, version: &str) -> Value {
        let Attachment { interfaces, ips, routes, dns } = self;
        let dns = dns.clone().unwrap_or_else(|| json!({}));
        if matches!(version, "0.1.0" | "0.2.0") {
            let mut result = json!({ "cniVersion": version, "dns": dns });
            for (name, v4) in [("ip4", true), ("ip6", false)] {
                if let Some(found) = ips.iter().find(|ip| ip.address.addr().is_ipv4() == v4) {
                    let mut one = json!({ "ip": found.address.to_string() });
                    put_gateway(&mut one, "gateway", found.gateway);
                    let of_family = routes.iter().filter(|route| route.destination.addr().is_ipv4() == v4);
                    let of_family: Vec<_> = of_family.map(route_json).collect();
                    if !of_family.is_empty() {
                        one["routes"] = json!(of_family);
                    }
                    result[name] = one;
                }
            }
            return result;
        }
        let with_version = matches!(version, "0.3.0" | "0.3.1" | "0.4.0");
        let ips: Vec<_> = ips.iter().map(|ip| address_json(ip, with_version)).collect();
        let interfaces: Vec<_> =
            interfaces.iter().map(|Interface { name }| json!({ "name": name })).collect();
        let mut result = json!({ "cniVersion": version, "interfaces": interfaces, "ips": ips, "dns": dns });
        if interfaces.is_empty() {
            remove(&mut result, "interfaces");
        }
        if !routes.is_empty() {
            result["routes"] = json!(routes.iter().map(route_json).collect::<Vec<_>>());
        }
        result
    }

    /// Reads what an IPAM plugin printed, in any version's layout.
    ///
    /// # Errors
    /// [`Error::Decode`] if an address or route can't be read.
    pub fn parse(json: &Value) -> Result<Self> {
        let mut found = Attachment { dns: json.get("dns").cloned(), ..Attachment::default() };
        for ip in json["ips"].as_array().into_iter().flatten() {
            found.ips.push(Address { address: net(&ip["address"])?, gateway: gateway(&ip["gateway"])? });
        }
        let mut routes: Vec<&Value> = json["routes"].as_array().into_iter().flatten().collect();
        for old in ["ip4", "ip6"].iter().filter_map(|name| json.get(name)) {
            found.ips.push(Address { address: net(&old["ip"])?, gateway: gateway(&old["gateway"])? });
            routes.extend(old["routes"].as_array().into_iter().flatten());
        }
        for route in routes {
            let (destination, gateway) = (net(&route["dst"])?, gateway(&route["gw"])?);
            found.routes.push(Route { destination, gateway });
        }
        Ok(found)
    }
}

fn address_json(ip: &Address, with_version: bool) -> Value {
    let mut one = json!({ "address": ip.address.to_string() });
    if with_version {
        one["version"] = json!(if ip.address.addr().is_ipv4() { "4" } else { "6" });
    }
    put_gateway(&mut one, "gateway", ip.gateway);
    one
}

fn route_json(route: &Route) -> Value {
    let mut one = json!({ "dst": route.destination.to_string() });
    put_gateway(&mut one, "gw", route.gateway);
    one
}

fn put_gateway(object: &mut Value, name: &str, gateway: Option<IpAddr>) {
    if let Some(gateway) = gateway {
        object[name] = json!(gateway.to_string());
    }
}

fn remove(object: &mut Value, name: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(name);
    }
}

fn net(value: &Value) -> Result<IpNet> {
    let fault = || Error::Decode {
        what: "IPAM result",
        cause: format!("{value}: expected an address with a prefix length"),
    };
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(fault)
}

fn gateway(value: &Value) -> Result<Option<IpAddr>> {
    match value.as_str() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Error::Decode {
            what: "IPAM result",
            cause: format!("{text:?}: expected an address"),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn mk() -> Attachment {
        Attachment {
            interfaces: vec![Interface { name: "cali0123".into() }],
            ips: vec![
                Address { address: "10.0.0.5/32".parse().unwrap(), gateway: None },
                Address { address: "fd00::5/128".parse().unwrap(), gateway: None },
            ],
            routes: vec![Route { destination: "10.0.0.0/26".parse().unwrap(), gateway: None }],
            dns: None,
        }
    }

    #[test]
    fn each_version_has_its_layout() {
        assert_eq!(
            mk().to_json("1.0.0").to_string(),
            r#"{"cniVersion":"1.0.0","dns":{},"interfaces":[{"name":"cali0123"}],"ips":[{"address":"10.0.0.5/32"},{"address":"fd00::5/128"}],"routes":[{"dst":"10.0.0.0/26"}]}"#
        );
        let old = mk().to_json("0.3.1");
        assert_eq!(old["ips"][1], json!({ "address": "fd00::5/128", "version": "6" }));
        let oldest = mk().to_json("0.2.0");
        assert_eq!(oldest["ip4"], json!({ "ip": "10.0.0.5/32", "routes": [{ "dst": "10.0.0.0/26" }] }));
        assert_eq!((oldest["ip6"]["ip"].as_str(), oldest.get("ips")), (Some("fd00::5/128"), None));
    }

    #[test]
    fn what_is_printed_in_any_version_is_read_back() {
        for version in VERSIONS {
            let read = Attachment::parse(&mk().to_json(version)).unwrap();
            assert_eq!((read.ips, read.routes), (mk().ips, mk().routes), "{version}");
        }
        assert!(Attachment::parse(&json!({ "ips": [{ "address": "10.0.0.5" }] })).is_err());
    }
}
