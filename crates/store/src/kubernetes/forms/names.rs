//! Names in the Kubernetes API that are made of other names.

use ipnet::IpNet;
use sha1::{Digest, Sha1};

/// A part of a key that is a name: not empty, without a `/`.
pub fn simple(part: &str) -> Option<&str> {
    (!part.is_empty() && !part.contains('/')).then_some(part)
}

/// A network as a name: `10-0-0-0-26`, `fd00---122`.
pub fn of_net(net: &IpNet) -> String {
    net.to_string().replace(['.', ':', '/'], "-")
}

/// The name of a pod's endpoint: node, `k8s`, pod and `eth0`, joined by `-`, with each `-` inside of them doubled.
pub fn endpoint(node: &str, pod: &str) -> String {
    format!("{}-k8s-{}-eth0", node.replace('-', "--"), pod.replace('-', "--"))
}

/// Node and pod of an endpoint's name; `None` if it isn't a pod's.
pub fn endpoint_parts(name: &str) -> Option<(String, String)> {
    let mut parts = vec![String::new()];
    let mut rest = name.chars().peekable();
    while let Some(char) = rest.next() {
        let doubled = char == '-' && rest.next_if_eq(&'-').is_some();
        match parts.last_mut() {
            Some(part) if char != '-' || doubled => part.push(char),
            _ => parts.push(String::new()),
        }
    }
    match <[String; 4]>::try_from(parts) {
        Ok([node, orchestrator, pod, endpoint])
            if orchestrator == "k8s" && endpoint == "eth0" && !node.is_empty() && !pod.is_empty() =>
        {
            Some((node, pod))
        }
        _ => None,
    }
}

/// The name of a pod's interface on its host: `cali` and eleven digits of a hash.
pub fn interface(namespace: &str, pod: &str) -> String {
    let hash = Sha1::digest(format!("{namespace}.{pod}"));
    let digits: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("cali{}", &digits[..11])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_networks_are_calicos() {
        for (net, name) in [
            ("10.0.0.0/26", "10-0-0-0-26"),
            ("fd00:10::da40/122", "fd00-10--da40-122"),
            ("fd00::/122", "fd00---122"),
        ] {
            assert_eq!(of_net(&net.parse().expect("a network")), name);
        }
    }

    #[test]
    fn names_of_endpoints_lead_back_to_node_and_pod() {
        let name = endpoint("vm-1", "test-pod-6");
        assert_eq!(name, "vm--1-k8s-test--pod--6-eth0");
        assert_eq!(endpoint_parts(&name), Some(("vm-1".to_owned(), "test-pod-6".to_owned())));
        for other in
            ["", "n-k8s-p", "n-cni-p-eth0", "n-k8s-p-eth1", "n-k8s--p-eth0", "n-k8s-p-eth0-x", "-k8s-p-eth0"]
        {
            assert_eq!(endpoint_parts(other), None, "{other}");
        }
    }

    #[test]
    fn interfaces_are_named_by_a_hash() {
        // By sha1sum.
        assert_eq!(interface("test", "test-pod-6"), "cali4053065fadd");
    }
}
