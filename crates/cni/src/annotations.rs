//! What annotations of a pod, and of its namespace, ask of address management. An empty one says nothing, as with Calico.
//!
//! A pod's goes before its namespace's, and that before the network configuration. Pure; messages are Calico's.

use crate::config::NetworkConfig;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// These addresses, given by address management.
const ADDRESSES: &str = "cni.projectcalico.org/ipAddrs";
/// These addresses, of which address management knows nothing.
const ADDRESSES_NO_IPAM: &str = "cni.projectcalico.org/ipAddrsNoIpam";
/// Addresses of these families.
const FAMILIES: &str = "cni.projectcalico.org/ipFamilies";
/// The IPAM that gives addresses on request.
const CALICO_IPAM: &str = "calico-ipam";

/// Annotations by their names.
pub type Annotations = BTreeMap<String, String>;

/// What a pod asks for by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Any addresses.
    Any,
    /// These, at most one of each family, which must be free.
    Given(Vec<IpAddr>),
    /// These, whoever else has them.
    Unmanaged(Vec<IpAddr>),
}

/// An annotation that says something.
pub fn said<'a>(annotations: &'a Annotations, name: &str) -> Option<&'a str> {
    annotations.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// What the pod asks for.
///
/// # Errors
/// [`Error::Addresses`] if it can't be read, asks for both, or for what the configuration doesn't allow.
pub fn asked(config: &NetworkConfig) -> Result<Asked> {
    let annotations = &config.args.cni.annotations;
    let plugin = config.ipam.plugin_type.as_str();
    let of_calico = |short: &str| match plugin {
        CALICO_IPAM => Ok(()),
        other => Err(Error::Addresses(format!("{short} is not compatible with configured IPAM: {other}"))),
    };
    match (said(annotations, ADDRESSES), said(annotations, ADDRESSES_NO_IPAM)) {
        (None, None) => Ok(Asked::Any),
        (Some(_), Some(_)) => Err(Error::Addresses(
            "can't have both annotations: 'ipAddrs' and 'ipAddrsNoIpam' in use at the same time".to_owned(),
        )),
        (Some(text), None) => {
            of_calico("ipAddrs")?;
            Ok(Asked::Given(addresses(ADDRESSES, text)?))
        }
        (None, Some(text)) => {
            of_calico("ipAddrsNoIpam")?;
            if !config.feature_control.ip_addrs_no_ipam {
                return Err(Error::Addresses(
                    "requested feature is not enabled: ip_addrs_no_ipam".to_owned(),
                ));
            }
            Ok(Asked::Unmanaged(addresses(ADDRESSES_NO_IPAM, text)?))
        }
    }
}

/// At most one address of each family, and one at least.
fn addresses(name: &str, text: &str) -> Result<Vec<IpAddr>> {
    let texts = list(text).map_err(|error| {
        Error::Addresses(format!("failed to parse IPs {text} for annotation \"{name}\": {error}"))
    })?;
    if texts.is_empty() {
        return Err(Error::Addresses(format!("annotation \"{name}\" specified but empty")));
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in &texts {
        let address: IpAddr =
            text.parse().map_err(|_| Error::Addresses(format!("invalid IP format: {text}")))?;
        if addresses.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            let family = if address.is_ipv4() { 4 } else { 6 };
            return Err(Error::Addresses(format!(
                "cannot have more than one IPv{family} address for \"{name}\" annotation"
            )));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// A JSON list of texts.
///
/// # Errors
/// [`Error::Addresses`] with the text.
pub fn list(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text)
        .map_err(|error| Error::Addresses(format!("failed to parse '{text}' as JSON: {error}")))
}

/// Whether IPv4 and IPv6 are wanted, if the pod, or else the namespace, says so.
///
/// # Errors
/// [`Error::Addresses`] for another family, or none.
pub fn families(pod: &Annotations, namespace: &Annotations) -> Result<Option<(bool, bool)>> {
    let Some(text) = said(pod, FAMILIES).or_else(|| said(namespace, FAMILIES)) else { return Ok(None) };
    let (mut v4, mut v6) = (false, false);
    for family in list(text)? {
        match family.as_str() {
            "IPv4" => v4 = true,
            "IPv6" => v6 = true,
            _ => return Err(Error::Addresses(format!("error parsing ipFamilies: {text}"))),
        }
    }
    if !v4 && !v6 {
        return Err(Error::Addresses(format!("annotation \"{FAMILIES}\" specified but empty")));
    }
    Ok(Some((v4, v6)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde_json::json;

    fn config(annotations: serde_json::Value, ipam: &str, no_ipam: bool) -> NetworkConfig {
        serde_json::from_value(json!({
            "ipam": { "type": ipam }, "args": { "cni": { "annotations": annotations } },
            "feature_control": { "ip_addrs_no_ipam": no_ipam },
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_gets_the_addresses_that_it_asks_for() {
        let v4: IpAddr = [10, 0, 0, 1].into();
        let v6: IpAddr = "fd00::1".parse().unwrap();
        let both = json!({ ADDRESSES: "[\"10.0.0.1\", \"fd00::1\"]", ADDRESSES_NO_IPAM: "" });
        assert_eq!(asked(&config(both, CALICO_IPAM, false)).unwrap(), Asked::Given(vec![v4, v6]));
        let unmanaged = json!({ ADDRESSES_NO_IPAM: "[\"10.0.0.1\"]" });
        assert_eq!(asked(&config(unmanaged, CALICO_IPAM, true)).unwrap(), Asked::Unmanaged(vec![v4]));
        let nothing = json!({ ADDRESSES: "", "other": "[" });
        assert_eq!(asked(&config(nothing, "host-local", false)).unwrap(), Asked::Any);
    }

    #[test]
    fn what_cannot_be_is_refused_in_calicos_words() {
        for (annotations, ipam, no_ipam, message) in [
            (
                json!({ ADDRESSES: "[\"10.0.0.1\"]", ADDRESSES_NO_IPAM: "[\"10.0.0.1\"]" }),
                CALICO_IPAM,
                true,
                "can't have both annotations: 'ipAddrs' and 'ipAddrsNoIpam' in use at the same time",
            ),
            (
                json!({ ADDRESSES: "[\"10.0.0.1\"]" }),
                "host-local",
                false,
                "ipAddrs is not compatible with configured IPAM: host-local",
            ),
            (
                json!({ ADDRESSES_NO_IPAM: "[\"10.0.0.1\"]" }),
                "host-local",
                true,
                "ipAddrsNoIpam is not compatible with configured IPAM: host-local",
            ),
            (
                json!({ ADDRESSES_NO_IPAM: "[\"10.0.0.1\"]" }),
                CALICO_IPAM,
                false,
                "requested feature is not enabled: ip_addrs_no_ipam",
            ),
            (
                json!({ ADDRESSES: "[]" }),
                CALICO_IPAM,
                false,
                "annotation \"cni.projectcalico.org/ipAddrs\" specified but empty",
            ),
            (json!({ ADDRESSES: "[\"10.0.0\"]" }), CALICO_IPAM, false, "invalid IP format: 10.0.0"),
            (
                json!({ ADDRESSES: "[\"10.0.0.1\", \"10.0.0.2\"]" }),
                CALICO_IPAM,
                false,
                "cannot have more than one IPv4 address for \"cni.projectcalico.org/ipAddrs\" annotation",
            ),
            (
                json!({ ADDRESSES: "[\"fd00::1\", \"fd00::2\"]" }),
                CALICO_IPAM,
                false,
                "cannot have more than one IPv6 address for \"cni.projectcalico.org/ipAddrs\" annotation",
            ),
        ] {
            assert_eq!(asked(&config(annotations, ipam, no_ipam)).unwrap_err().to_string(), message);
        }
        let unreadable =
            asked(&config(json!({ ADDRESSES: "10.0.0.1" }), CALICO_IPAM, false)).unwrap_err().to_string();
        let words = "failed to parse IPs 10.0.0.1 for annotation \"cni.projectcalico.org/ipAddrs\": failed to parse '10.0.0.1' as JSON: ";
        assert!(unreadable.starts_with(words), "{unreadable}");
    }

    #[test]
    fn families_are_the_pods_to_choose_and_then_the_namespaces() {
        let of = |text: &str| Annotations::from([(FAMILIES.to_owned(), text.to_owned())]);
        let nothing = Annotations::new();
        assert_eq!(families(&nothing, &nothing).unwrap(), None);
        assert_eq!(families(&of("[\"IPv6\"]"), &of("[\"IPv4\"]")).unwrap(), Some((false, true)));
        assert_eq!(families(&of(""), &of("[\"IPv4\", \"IPv6\"]")).unwrap(), Some((true, true)));
        for (text, message) in [
            ("[\"ipv4\"]", "error parsing ipFamilies: [\"ipv4\"]"),
            ("[]", "annotation \"cni.projectcalico.org/ipFamilies\" specified but empty"),
        ] {
            assert_eq!(families(&of(text), &nothing).unwrap_err().to_string(), message);
        }
    }
}
