//! `networking.k8s.io/v1` NetworkPolicy: the type, and what it is in Calico's form.

use super::ports::{self, IntOrString, PortsByProtocol};
use super::{ConversionError, FaultReason, LabelSelector, RuleFault, network};
use crate::go_struct;
use crate::meta::{Object, specs};
use crate::policy::{Action, Direction, EntityRule, NetworkPolicySpec, Rule};
use crate::resource::Converted;

/// What pods of one namespace may receive and send.
pub type KubernetesNetworkPolicy = Object<KubernetesNetworkPolicySpec>;

specs! {
    KubernetesNetworkPolicySpec => KubernetesNetworkPolicy;
}

go_struct! {
    /// What pods of one namespace may receive and send.
    KubernetesNetworkPolicySpec as "NetworkPolicySpec" {
        /// The pods that it applies to; empty for all of the namespace.
        pod_selector: LabelSelector = "podSelector" always,
        /// What they may receive.
        ingress: Vec<NetworkPolicyIngressRule> = "ingress",
        /// What they may send.
        egress: Vec<NetworkPolicyEgressRule> = "egress",
        /// `Ingress`, `Egress` or both. The API fills it in; empty means `Ingress`.
        policy_types: Vec<String> = "policyTypes",
    }

    /// What pods may receive.
    NetworkPolicyIngressRule {
        /// On any of these ports; none for any port.
        ports: Vec<NetworkPolicyPort> = "ports",
        /// From any of these; none for anyone.
        from: Vec<NetworkPolicyPeer> = "from",
    }

    /// What pods may send.
    NetworkPolicyEgressRule {
        /// To any of these ports; none for any port.
        ports: Vec<NetworkPolicyPort> = "ports",
        /// To any of these; none for anyone.
        to: Vec<NetworkPolicyPeer> = "to",
    }

    /// A port, or several in a row.
    NetworkPolicyPort {
        /// `TCP`, `UDP` or `SCTP`; none for TCP.
        protocol: Option<String> = "protocol",
        /// A number or a pod's named port; none for all ports.
        port: Option<IntOrString> = "port",
        /// The last of a row that starts with `port`.
        end_port: Option<i64> = "endPort",
    }

    /// Who is on the other side: pods, or addresses.
    NetworkPolicyPeer {
        /// Pods with these labels.
        pod_selector: Option<LabelSelector> = "podSelector",
        /// ... in namespaces with these labels; none for the policy's own namespace.
        namespace_selector: Option<LabelSelector> = "namespaceSelector",
        /// Addresses; excludes the other two.
        ip_block: Option<IpBlock> = "ipBlock",
    }

    /// Addresses of a network, some aside.
    IpBlock as "IPBlock" {
        /// The network.
        cidr: String = "cidr" always,
        /// Networks inside of it that are not meant.
        except: Vec<String> = "except",
    }
}

/// The order of every converted NetworkPolicy in the tier `default`.
const ORDER: f64 = 1000.0;

impl KubernetesNetworkPolicy {
    /// The policy in Calico's form. A rule that can't be converted allows nothing and is a fault.
    ///
    /// # Errors
    /// [`ConversionError`] if it can't be told which pods it applies to.
    pub fn convert(&self) -> Result<Converted<NetworkPolicySpec>, ConversionError> {
        let key = self.key();
        let KubernetesNetworkPolicySpec { pod_selector, ingress, egress, policy_types } = &self.spec;
        let selector =
            pod_selector.pods().map_err(|source| ConversionError::Selector { key: key.clone(), source })?;
        let mut faults = Vec::new();
        let mut keep = |rules: Result<Vec<Rule>, FaultReason>, direction, index| {
            rules.unwrap_or_else(|reason| {
                faults.push(RuleFault { direction, index, reason });
                Vec::new()
            })
        };
        let mut ingress_rules = Vec::new();
        for (index, NetworkPolicyIngressRule { ports, from }) in ingress.iter().enumerate() {
            let rules = convert_rule(Direction::Ingress, ports, from);
            ingress_rules.extend(keep(rules, Direction::Ingress, index));
        }
        let mut egress_rules = Vec::new();
        for (index, NetworkPolicyEgressRule { ports, to }) in egress.iter().enumerate() {
            let rules = convert_rule(Direction::Egress, ports, to);
            egress_rules.extend(keep(rules, Direction::Egress, index));
        }
        let spec = NetworkPolicySpec {
            tier: "default".to_owned(),
            order: Some(ORDER),
            ingress: ingress_rules,
            egress: egress_rules,
            selector,
            types: types(policy_types),
            service_account_selector: String::new(),
            performance_hints: Vec::new(),
        };
        Ok(Converted { key, spec, faults })
    }
}

/// Without a direction that is known it is Ingress, even if there are egress rules.
fn types(policy_types: &[String]) -> Vec<String> {
    let named = |direction: &Direction| policy_types.iter().any(|name| name == direction.name());
    let mut types: Vec<Direction> =
        [Direction::Ingress, Direction::Egress].into_iter().filter(named).collect();
    if types.is_empty() {
        types.push(Direction::Ingress);
    }
    types.into_iter().map(|direction| direction.name().to_owned()).collect()
}

/// A rule for each protocol and peer; ports are always those of the destination.
fn convert_rule(
    direction: Direction,
    ports: &[NetworkPolicyPort],
    peers: &[NetworkPolicyPeer],
) -> Result<Vec<Rule>, FaultReason> {
    let ports = ports_by_protocol(ports)?;
    let sides = match peers {
        [] => vec![EntityRule::default()],
        peers => peers.iter().map(peer).collect::<Result<_, _>>()?,
    };
    let mut rules = Vec::new();
    for (protocol, ports) in ports.into_rules() {
        for side in &sides {
            let mut rule = Rule {
                action: Action::Allow.name().to_owned(),
                protocol: protocol.clone(),
                ..Rule::default()
            };
            match direction {
                Direction::Ingress => rule.source = side.clone(),
                Direction::Egress => rule.destination = side.clone(),
            }
            rule.destination.ports.clone_from(&ports);
            rules.push(rule);
        }
    }
    Ok(rules)
}

fn ports_by_protocol(ports: &[NetworkPolicyPort]) -> Result<PortsByProtocol, FaultReason> {
    if ports.is_empty() {
        return Ok(PortsByProtocol::any());
    }
    let mut by_protocol = PortsByProtocol::default();
    for NetworkPolicyPort { protocol, port, end_port } in ports {
        let protocol = protocol.as_deref().unwrap_or("TCP");
        match port {
            None => by_protocol.add_all(protocol),
            Some(port) => by_protocol.add(Some(protocol), ports::port(port, *end_port)?),
        }
    }
    Ok(by_protocol)
}

fn peer(peer: &NetworkPolicyPeer) -> Result<EntityRule, FaultReason> {
    let NetworkPolicyPeer { pod_selector, namespace_selector, ip_block } = peer;
    if let Some(IpBlock { cidr, except }) = ip_block {
        return Ok(EntityRule {
            nets: vec![network(cidr)?],
            not_nets: except.iter().map(|net| network(net)).collect::<Result<_, _>>()?,
            ..EntityRule::default()
        });
    }
    let selector = match pod_selector {
        None => LabelSelector::any_pod(),
        Some(pods) => pods.pods()?,
    };
    let namespace_selector = match namespace_selector {
        None => String::new(),
        Some(namespaces) => namespaces.namespaces()?,
    };
    Ok(EntityRule { selector, namespace_selector, ..EntityRule::default() })
}
