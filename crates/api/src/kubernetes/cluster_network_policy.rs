//! `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy: the type, and what it is in
//! Calico's form.

use super::ports::{self, IntOrString, PortsByProtocol};
use super::{ConversionError, FaultReason, LabelSelector, RuleFault, network};
use crate::go_struct;
use crate::kind::ResourceKey;
use crate::meta::{Object, StringMap, specs};
use crate::policy::{Action, Direction, EntityRule, GlobalNetworkPolicySpec, Rule, RuleMetadata};
use crate::resource::Converted;

/// What the cluster's administrator says of all namespaces.
pub type KubernetesClusterNetworkPolicy = Object<KubernetesClusterNetworkPolicySpec>;

specs! {
    KubernetesClusterNetworkPolicySpec => KubernetesClusterNetworkPolicy, ClusterNetworkPolicyStatus;
}

go_struct! {
    /// What the cluster's administrator says of all namespaces.
    KubernetesClusterNetworkPolicySpec as "ClusterNetworkPolicySpec" {
        /// `Admin`, before the namespaces' own policies, or `Baseline`, after them.
        tier: String = "tier" always,
        /// 0 to 1000; lower goes first.
        priority: i64 = "priority" always,
        /// The pods that it applies to.
        subject: ClusterNetworkPolicySubject = "subject" always,
        /// Rules for what they receive, the first that matches decides.
        ingress: Vec<ClusterNetworkPolicyIngressRule> = "ingress",
        /// Rules for what they send, the first that matches decides.
        egress: Vec<ClusterNetworkPolicyEgressRule> = "egress",
    }

    /// What a controller says of the policy.
    ClusterNetworkPolicyStatus {
        /// Kubernetes conditions.
        conditions: Vec<serde_json::Value> = "conditions",
    }

    /// The pods that a policy applies to: one of the two.
    ClusterNetworkPolicySubject {
        /// All pods of namespaces with these labels.
        namespaces: Option<LabelSelector> = "namespaces",
        /// Some pods of some namespaces.
        pods: Option<NamespacedPods> = "pods",
    }

    /// Pods of namespaces, both by labels.
    NamespacedPods as "NamespacedPod" {
        /// The namespaces; empty for all.
        namespace_selector: LabelSelector = "namespaceSelector" always,
        /// Their pods; empty for all.
        pod_selector: LabelSelector = "podSelector" always,
    }

    /// What to do with something received.
    ClusterNetworkPolicyIngressRule {
        /// For people, 100 characters at most.
        name: String = "name",
        /// `Accept`, `Deny` or `Pass`.
        action: String = "action" always,
        /// From any of these; one at least.
        from: Vec<ClusterNetworkPolicyIngressPeer> = "from" always,
        /// Over any of these; none for anything.
        protocols: Vec<ClusterNetworkPolicyProtocol> = "protocols",
    }

    /// What to do with something sent.
    ClusterNetworkPolicyEgressRule {
        /// For people, 100 characters at most.
        name: String = "name",
        /// `Accept`, `Deny` or `Pass`.
        action: String = "action" always,
        /// To any of these; one at least.
        to: Vec<ClusterNetworkPolicyEgressPeer> = "to" always,
        /// Over any of these; none for anything.
        protocols: Vec<ClusterNetworkPolicyProtocol> = "protocols",
    }

    /// Who sends: one of the two.
    ClusterNetworkPolicyIngressPeer {
        /// All pods of namespaces with these labels.
        namespaces: Option<LabelSelector> = "namespaces",
        /// Some pods of some namespaces.
        pods: Option<NamespacedPods> = "pods",
    }

    /// Who receives: one of these.
    ClusterNetworkPolicyEgressPeer {
        /// All pods of namespaces with these labels.
        namespaces: Option<LabelSelector> = "namespaces",
        /// Some pods of some namespaces.
        pods: Option<NamespacedPods> = "pods",
        /// Nodes with these labels. Experimental; Calico doesn't know it, and a peer with
        /// nothing else can't be converted.
        nodes: Option<LabelSelector> = "nodes",
        /// Networks.
        networks: Vec<String> = "networks",
        /// Domain names. Experimental; as `nodes`.
        domain_names: Vec<String> = "domainNames",
    }

    /// A protocol and perhaps its ports: one of these.
    ClusterNetworkPolicyProtocol {
        /// TCP.
        tcp: Option<ClusterNetworkPolicyProtocolPort> = "tcp",
        /// UDP.
        udp: Option<ClusterNetworkPolicyProtocolPort> = "udp",
        /// SCTP.
        sctp: Option<ClusterNetworkPolicyProtocolPort> = "sctp",
        /// A port that the receiving pods have under this name, with its protocol.
        destination_named_port: String = "destinationNamedPort",
    }

    /// The ports of a protocol.
    ClusterNetworkPolicyProtocolPort as "ClusterNetworkPolicyProtocolTCP" {
        /// The receiver's port; none for any.
        destination_port: Option<ClusterNetworkPolicyPort> = "destinationPort",
    }

    /// A port or several in a row: one of the two.
    ClusterNetworkPolicyPort as "Port" {
        /// One port.
        number: i64 = "number",
        /// Several.
        range: Option<PortNumbers> = "range",
    }

    /// Ports in a row.
    PortNumbers as "PortRange" {
        /// The first.
        start: i64 = "start" always,
        /// The last.
        end: i64 = "end" always,
    }
}

/// The annotation of a converted rule that holds its name.
const RULE_NAME: &str = "name";

impl KubernetesClusterNetworkPolicy {
    /// The policy in Calico's form. A rule that can't be converted is a fault; an Accept then
    /// allows nothing, a Deny or Pass denies everything.
    ///
    /// # Errors
    /// [`ConversionError`] if the subject or the tier can't be told.
    pub fn convert(&self) -> Result<Converted<GlobalNetworkPolicySpec>, ConversionError> {
        let key = self.key();
        let KubernetesClusterNetworkPolicySpec { tier, priority, subject, ingress, egress } = &self.spec;
        let (selector, namespace_selector) = subject_selectors(&key, subject)?;
        let tier = match tier.as_str() {
            "Admin" => "kube-admin",
            "Baseline" => "kube-baseline",
            _ => return Err(ConversionError::Tier { key, found: tier.clone() }),
        };
        let mut faults = Vec::new();
        let mut keep = |rules: Result<Vec<Rule>, FaultReason>, action: &str, direction, index| {
            rules.unwrap_or_else(|reason| {
                faults.push(RuleFault { direction, index, reason });
                in_place_of(action)
            })
        };
        let mut ingress_rules = Vec::new();
        for (index, rule) in ingress.iter().enumerate() {
            let rules = ingress_rule(rule);
            ingress_rules.extend(keep(rules, &rule.action, Direction::Ingress, index));
        }
        let mut egress_rules = Vec::new();
        for (index, rule) in egress.iter().enumerate() {
            let rules = egress_rule(rule);
            egress_rules.extend(keep(rules, &rule.action, Direction::Egress, index));
        }
        // Both tiers pass at their end, so that a direction without rules needs no mention.
        let types =
            [(Direction::Ingress, ingress_rules.is_empty()), (Direction::Egress, egress_rules.is_empty())]
                .into_iter()
                .filter(|(_, empty)| !empty)
                .map(|(direction, _)| direction.name().to_owned())
                .collect();
        let spec = GlobalNetworkPolicySpec {
            tier: tier.to_owned(),
            #[expect(clippy::cast_precision_loss, reason = "the API takes 0 to 1000")]
            order: Some(*priority as f64),
            ingress: ingress_rules,
            egress: egress_rules,
            selector,
            types,
            do_not_track: false,
            pre_dnat: false,
            apply_on_forward: false,
            service_account_selector: String::new(),
            namespace_selector,
            performance_hints: Vec::new(),
        };
        Ok(Converted { key, spec, faults })
    }
}

/// The selectors of pods and of namespaces.
fn subject_selectors(
    key: &ResourceKey,
    subject: &ClusterNetworkPolicySubject,
) -> Result<(String, String), ConversionError> {
    let ClusterNetworkPolicySubject { namespaces, pods } = subject;
    match (namespaces, pods) {
        (Some(namespaces), _) => namespaces.namespaces().map(|all| (LabelSelector::any_pod(), all)),
        (None, Some(pods)) => pods.selectors(),
        (None, None) => return Err(ConversionError::Subject { key: key.clone() }),
    }
    .map_err(|source| ConversionError::Selector { key: key.clone(), source })
}

impl NamespacedPods {
    /// The selectors of pods and of namespaces.
    fn selectors(&self) -> Result<(String, String), super::LabelSelectorError> {
        let Self { namespace_selector, pod_selector } = self;
        Ok((pod_selector.pods()?, namespace_selector.namespaces()?))
    }
}

/// What stands for a rule that can't be converted: it must not let through what it would have
/// held up. A Pass may have passed to a tier that denies.
fn in_place_of(action: &str) -> Vec<Rule> {
    match action {
        "Deny" | "Pass" => vec![Rule { action: Action::Deny.name().to_owned(), ..Rule::default() }],
        _ => Vec::new(),
    }
}

fn ingress_rule(rule: &ClusterNetworkPolicyIngressRule) -> Result<Vec<Rule>, FaultReason> {
    let ClusterNetworkPolicyIngressRule { name, action, from, protocols } = rule;
    let action = convert_action(action)?;
    let ports = ports_by_protocol(protocols)?;
    let sources = from
        .iter()
        .map(|ClusterNetworkPolicyIngressPeer { namespaces, pods }| {
            peer(namespaces.as_ref(), pods.as_ref(), &[], "From")
        })
        .collect::<Result<Vec<EntityRule>, _>>()?;
    let rules = combine(ports, &sources, |side, ports| Rule {
        source: side,
        destination: EntityRule { ports, ..EntityRule::default() },
        ..mk_rule(action, name)
    });
    Ok(rules)
}

fn egress_rule(rule: &ClusterNetworkPolicyEgressRule) -> Result<Vec<Rule>, FaultReason> {
    let ClusterNetworkPolicyEgressRule { name, action, to, protocols } = rule;
    let action = convert_action(action)?;
    let ports = ports_by_protocol(protocols)?;
    let destinations = to
        .iter()
        .map(|to| {
            // Nodes and domain names are not converted; alone they make the peer a fault.
            let ClusterNetworkPolicyEgressPeer { namespaces, pods, nodes: _, networks, domain_names: _ } = to;
            peer(namespaces.as_ref(), pods.as_ref(), networks, "To")
        })
        .collect::<Result<Vec<EntityRule>, _>>()?;
    let rules = combine(ports, &destinations, |side, ports| Rule {
        destination: EntityRule { ports, ..side },
        ..mk_rule(action, name)
    });
    Ok(rules)
}

/// A rule for each protocol and peer.
fn combine(
    ports: PortsByProtocol,
    sides: &[EntityRule],
    rule: impl Fn(EntityRule, Vec<crate::value::Port>) -> Rule,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (protocol, ports) in ports.into_rules() {
        for side in sides {
            rules.push(Rule { protocol: protocol.clone(), ..rule(side.clone(), ports.clone()) });
        }
    }
    rules
}

fn mk_rule(action: Action, name: &str) -> Rule {
    let annotations = StringMap::from([(RULE_NAME.to_owned(), name.to_owned())]);
    Rule {
        action: action.name().to_owned(),
        metadata: (!name.is_empty()).then_some(RuleMetadata { annotations }),
        ..Rule::default()
    }
}

fn convert_action(action: &str) -> Result<Action, FaultReason> {
    match action {
        "Accept" => Ok(Action::Allow),
        "Deny" => Ok(Action::Deny),
        "Pass" => Ok(Action::Pass),
        _ => Err(FaultReason::Action { found: action.to_owned() }),
    }
}

fn peer(
    namespaces: Option<&LabelSelector>,
    pods: Option<&NamespacedPods>,
    networks: &[String],
    list: &'static str,
) -> Result<EntityRule, FaultReason> {
    if namespaces.is_none() && pods.is_none() && networks.is_empty() {
        return Err(FaultReason::Peer { list });
    }
    // One of them is set. Of a namespace everything is meant, network sets too: as in Calico.
    let (selector, namespace_selector) = match (namespaces, pods) {
        (_, Some(pods)) => pods.selectors()?,
        (Some(namespaces), None) => (String::new(), namespaces.namespaces()?),
        (None, None) => (String::new(), String::new()),
    };
    let nets = networks.iter().map(|net| network(net)).collect::<Result<_, _>>()?;
    Ok(EntityRule { nets, selector, namespace_selector, ..EntityRule::default() })
}

/// An entry that says nothing is any protocol and port, and then the others say nothing new.
fn ports_by_protocol(protocols: &[ClusterNetworkPolicyProtocol]) -> Result<PortsByProtocol, FaultReason> {
    let mut by_protocol = PortsByProtocol::default();
    for ClusterNetworkPolicyProtocol { tcp, udp, sctp, destination_named_port } in protocols {
        let (protocol, ports) = match (tcp, udp, sctp) {
            (Some(ports), _, _) => ("TCP", ports),
            (None, Some(ports), _) => ("UDP", ports),
            (None, None, Some(ports)) => ("SCTP", ports),
            (None, None, None) if destination_named_port.is_empty() => return Ok(PortsByProtocol::any()),
            (None, None, None) => {
                let name = IntOrString::String(destination_named_port.clone());
                by_protocol.add(None, ports::port(&name, None)?);
                continue;
            }
        };
        match &ports.destination_port {
            None | Some(ClusterNetworkPolicyPort { number: 0, range: None }) => {
                by_protocol.add_all(protocol);
            }
            Some(ClusterNetworkPolicyPort { number: 0, range: Some(PortNumbers { start, end }) }) => {
                by_protocol.add(Some(protocol), ports::range(*start, *end)?);
            }
            Some(ClusterNetworkPolicyPort { number, range: _ }) => {
                by_protocol.add(Some(protocol), ports::range(*number, *number)?);
            }
        }
    }
    match protocols {
        [] => Ok(PortsByProtocol::any()),
        _ => Ok(by_protocol),
    }
}
