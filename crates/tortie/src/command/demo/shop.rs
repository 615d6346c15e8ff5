//! The cast: the shop's pods, the host outside, what each of them serves, and the YAML of `examples/shop`.
//!
//! The files are built in, so that an installed `tortie` needs no checkout. The shop's words (namespaces, labels,
//! ports, the payment host's address) stand in both places; tests below hold them together.

use tortie_lab::Service;

/// A pod.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its name, unlike any other's of the shop: what the matrix calls it.
    pub name: &'static str,
    /// Its labels; Kubernetes' users would write them into the pod.
    pub labels: &'static [(&'static str, &'static str)],
    /// Its service account; empty means `default`.
    pub account: &'static str,
    /// Ports with names.
    pub named_ports: &'static [(&'static str, u16)],
    /// What it answers, beside ICMP.
    pub serves: Serves,
}

/// One port of each protocol.
#[derive(Debug, Clone, Copy)]
pub struct Serves {
    /// TCP.
    pub tcp: u16,
    /// UDP.
    pub udp: u16,
}

impl Serves {
    /// What is tried with it.
    pub fn services(self) -> Vec<Service> {
        vec![Service::Tcp(self.tcp), Service::Udp(self.udp), Service::Icmp]
    }
}

/// The pods, in the order of the matrix.
pub const PODS: [Actor; 6] = [
    Actor {
        namespace: "shop",
        name: "web",
        labels: &[("app", "web")],
        account: "",
        named_ports: &[("http", 80)],
        serves: Serves { tcp: 80, udp: 443 },
    },
    Actor {
        namespace: "shop",
        name: "api",
        labels: &[("app", "api")],
        account: "",
        named_ports: &[],
        serves: Serves { tcp: 8080, udp: 8125 },
    },
    Actor {
        namespace: "shop",
        name: "db",
        labels: &[("app", "db")],
        account: "",
        named_ports: &[],
        serves: Serves { tcp: 5432, udp: 161 },
    },
    Actor {
        namespace: "batch",
        name: "report",
        labels: &[("job", "report")],
        account: "reporter",
        named_ports: &[],
        serves: Serves { tcp: 9100, udp: 8125 },
    },
    Actor {
        namespace: "guests",
        name: "intruder",
        labels: &[("app", "api")],
        account: "",
        named_ports: &[],
        serves: Serves { tcp: 22, udp: 53 },
    },
    Actor {
        namespace: "guests",
        name: "customer",
        labels: &[("role", "customer")],
        account: "",
        named_ports: &[],
        serves: Serves { tcp: 22, udp: 53 },
    },
];

/// The host on the fabric that runs no agent.
pub const OUTSIDE: (&str, Serves) = ("payments", Serves { tcp: 443, udp: 443 });
/// The machine that runs the pods.
pub const NODE: &str = "node";
/// The pools of `01-pools.yaml`.
pub const POOLS: [&str; 2] = ["10.65.0.0/24", "fd65::/120"];

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../../examples/shop/", $name)))),*]
    };
}

/// What has to be there before pods are, and says no policy.
pub const GROUND: &[(&str, &str)] = files!("01-pools.yaml", "02-namespaces.yaml");
/// The policies, and what they speak of.
pub const POLICY: &[(&str, &str)] = files!(
    "03-network-sets.yaml",
    "10-platform.yaml",
    "20-shop.yaml",
    "30-batch.yaml",
    "90-default-deny.yaml",
);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_examples_is_loaded() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
        let there: BTreeSet<_> = directory
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let loaded: BTreeSet<_> = GROUND.iter().chain(POLICY).map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(loaded, there);
    }

    #[test]
    fn the_pools_and_the_pods_are_those_of_the_files() {
        let pools = GROUND[0].1;
        assert!(POOLS.iter().all(|pool| pools.contains(&format!("cidr: {pool}\n"))), "{pools}");
        let pods =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pods.yaml"))
                .unwrap();
        for Actor { namespace, name, labels, .. } in PODS {
            let (key, value) = labels[0];
            let wanted =
                format!("metadata: {{namespace: {namespace}, name: {name}, labels: {{{key}: {value}}}}}\n");
            assert!(pods.contains(&wanted), "{wanted}");
        }
    }
}
