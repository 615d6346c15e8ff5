//! What the agent says of itself: for `tortie status`, for metrics, and for `explain`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tortie_api::kind::Kind;

use crate::core::Counts;
use crate::ledger::RuleName;

/// Everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// The program's version.
    pub version: String,
    /// Whether the store's first listing is complete.
    pub in_sync: bool,
    /// Whether policy is in force.
    pub ready: bool,
    /// Whether other processes are kept from changing the table.
    pub table_owned: bool,
    /// How large the tables are.
    pub sizes: Sizes,
    /// The endpoints of this node.
    pub endpoints: Vec<EndpointStatus>,
    /// Policies and profiles in use, with what their rules counted.
    pub policies: Vec<PolicyStatus>,
    /// The settings in use.
    #[serde(default)]
    pub settings: Vec<SettingStatus>,
    /// What isn't understood or isn't enforced as written.
    pub faults: Vec<Fault>,
    /// What was dropped without asking policy, by reason.
    pub drops: BTreeMap<String, Counted>,
    /// What the agent has done since it started.
    pub done: Done,
}

/// How large the tables are.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sizes {
    /// Address classes.
    pub classes: usize,
    /// Addresses and nets with a class.
    pub prefixes: usize,
    /// Ports, ranges of ports and ICMP types told apart.
    pub l4: usize,
    /// Stacks.
    pub stacks: usize,
    /// Verdicts written down.
    pub entries: usize,
    /// Counters.
    pub paths: usize,
}

/// An endpoint of this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The host's interface.
    pub interface: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Policies for packets to it, in order.
    pub ingress: Vec<String>,
    /// Policies for packets from it, in order.
    pub egress: Vec<String>,
}

/// A policy or profile in use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Its kind.
    pub kind: String,
    /// `namespace/name` or `name`.
    pub name: String,
    /// Its tier.
    pub tier: String,
    /// Rules that first packets met.
    pub rules: Vec<RuleStatus>,
}

/// What a rule counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// `ingress` or `egress`.
    pub direction: String,
    /// From 0; -1 at the end of the tier.
    pub rule: i64,
    /// First packets of connections.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingStatus {
    /// The field of FelixConfiguration, or the variable.
    pub name: String,
    /// The value in use.
    pub value: String,
    /// Who said so: `default`, `FelixConfiguration NAME` or `environment`.
    pub source: String,
    /// The value that it will have when the agent is started again, if that is another one.
    pub after_restart: Option<String>,
}

/// Something that isn't understood, or isn't enforced as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The object's kind.
    pub kind: String,
    /// `namespace/name` or `name`.
    pub name: String,
    /// `denies in its place` and so on.
    pub effect: String,
    /// Why.
    pub error: String,
}

/// What the agent has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Changes heard of.
    pub events: u64,
    /// Changes of the tables worked out.
    pub commits: u64,
    /// Whole tables put in place.
    pub installs: u64,
    /// Times that somebody else had changed the table.
    pub drifts: u64,
    /// Writes that the kernel refused.
    pub failures: u64,
    /// Packets logged by Log rules.
    pub logged: u64,
}

impl Done {
    /// The core's counts, and the logged packets.
    pub fn of(counts: Counts, logged: u64) -> Self {
        let Counts { events, commits, installs, drifts, failures } = counts;
        Self { events, commits, installs, drifts, failures, logged }
    }
}

impl Status {
    /// The metrics in Prometheus' text form: Calico's names where they mean the same, ours beside.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut gauge = |name: &str, kind: &str, help: &str, values: &[(String, f64)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let one = |value: usize| vec![(String::new(), value as f64)];
        let count = |value: u64| vec![(String::new(), value as f64)];
        let host = vec![(format!("{{host={}}}", quoted(&self.node)), 1.0)];
        let policies = self.policies.iter().filter(|policy| policy.kind != Kind::Profile.name()).count();
        gauge("felix_host", "gauge", "Configured hostname, as a label.", &host);
        gauge(
            "felix_active_local_endpoints",
            "gauge",
            "Number of active endpoints on this host.",
            &one(self.endpoints.len()),
        );
        gauge(
            "felix_active_local_policies",
            "gauge",
            "Number of active policies on this host.",
            &one(policies),
        );
        gauge(
            "felix_resync_state",
            "gauge",
            "Current datastore state: 2 resyncing, 3 in sync.",
            &one(if self.in_sync { 3 } else { 2 }),
        );
        gauge(
            "felix_calc_graph_updates_processed",
            "counter",
            "Number of datastore updates processed.",
            &count(self.done.events),
        );
        gauge(
            "felix_int_dataplane_failures",
            "counter",
            "Number of times dataplane updates failed and will be retried.",
            &count(self.done.failures),
        );
        gauge(
            "felix_nflog_logs_received",
            "counter",
            "Number of packets logged by Log rules.",
            &count(self.done.logged),
        );
        gauge("tortie_ready", "gauge", "1 if policy is in force.", &one(usize::from(self.ready)));
        gauge(
            "tortie_commits_total",
            "counter",
            "Changes of the tables worked out.",
            &count(self.done.commits),
        );
        gauge("tortie_installs_total", "counter", "Whole tables put in place.", &count(self.done.installs));
        gauge(
            "tortie_drifts_total",
            "counter",
            "Times that another process had changed the table.",
            &count(self.done.drifts),
        );
        gauge(
            "tortie_not_understood",
            "gauge",
            "Objects that cannot be read or are not enforced as written.",
            &one(self.faults.len()),
        );
        let Sizes { classes, prefixes, l4, stacks, entries, paths } = self.sizes;
        let sizes = [
            ("classes", classes),
            ("prefixes", prefixes),
            ("l4", l4),
            ("stacks", stacks),
            ("entries", entries),
            ("paths", paths),
        ];
        let sizes: Vec<_> = sizes.map(|(of, size)| (format!("{{of=\"{of}\"}}"), size as f64)).into();
        gauge("tortie_table_size", "gauge", "How many of each the tables hold.", &sizes);
        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|fault| (format!("{{kind={},name={}}}", quoted(&fault.kind), quoted(&fault.name)), 1.0))
            .collect();
        gauge(
            "tortie_fault",
            "gauge",
            "1 for each object that cannot be read or is not enforced as written.",
            &faults,
        );
        let rules = self.policies.iter().flat_map(|policy| {
            policy.rules.iter().map(move |rule| {
                let labels = format!(
                    "{{kind={},policy={},tier={},direction={},rule=\"{}\"}}",
                    quoted(&policy.kind),
                    quoted(&policy.name),
                    quoted(&policy.tier),
                    quoted(&rule.direction),
                    rule.rule
                );
                (labels, rule.packets as f64)
            })
        });
        gauge(
            "tortie_rule_packets_total",
            "counter",
            "First packets of connections that met the rule.",
            &rules.collect::<Vec<_>>(),
        );
        let drops = self.drops.iter();
        let drops: Vec<_> = drops
            .map(|(reason, counted)| (format!("{{reason={}}}", quoted(reason)), counted.packets as f64))
            .collect();
        gauge("tortie_dropped_packets_total", "counter", "Packets dropped without asking policy.", &drops);
        text
    }
}

impl From<(&RuleName, &tortie_nft::flat::Count)> for RuleStatus {
    fn from((rule, count): (&RuleName, &tortie_nft::flat::Count)) -> Self {
        Self {
            direction: rule.direction.clone(),
            rule: rule.rule,
            packets: count.packets,
            bytes: count.bytes,
        }
    }
}

/// A label's value, quoted as Prometheus wants it.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}
