//! The columns of each kind's table: headings and what stands under them, as calicoctl has them.

use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey, Scope};
use tortie_store::resources::Client;

use super::Columns;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// What stands under it.
    pub cell: Cell,
}

/// What stands in a cell, by the path of a field in JSON.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    /// A value; empty if it isn't there.
    Text(&'static str),
    /// A value, or this word.
    Or(&'static str, &'static str),
    /// A list, separated by commas; a map as `key=value`.
    Joined(&'static str),
    /// The same, cut at 80 characters.
    Cut(&'static str),
    /// Something else.
    Made(fn(&Client, &Value) -> String),
}

/// The columns with which a table begins, those that `wide` has, and those that exist.
struct Layout {
    default: &'static [&'static str],
    wide: &'static [&'static str],
    all: &'static [(&'static str, Cell)],
}

const NAME: (&str, Cell) = ("NAME", Cell::Text("/metadata/name"));
const NAMESPACE: (&str, Cell) = ("NAMESPACE", Cell::Text("/metadata/namespace"));
const ORDER: (&str, Cell) = ("ORDER", Cell::Made(order));
const SELECTOR: (&str, Cell) = ("SELECTOR", Cell::Text("/spec/selector"));
const TIER: (&str, Cell) = ("TIER", Cell::Text("/spec/tier"));
const NETS: (&str, Cell) = ("NETS", Cell::Cut("/spec/nets"));
const NODE: (&str, Cell) = ("NODE", Cell::Text("/spec/node"));
const PROFILES: (&str, Cell) = ("PROFILES", Cell::Joined("/spec/profiles"));

/// The columns of a kind's table.
///
/// # Errors
/// A heading that the kind doesn't have, in calicoctl's words.
pub fn of(kind: Kind, columns: &Columns, with_namespace: bool) -> Result<Vec<Column>, String> {
    let Layout { default, wide, all } = layout(kind);
    let headings: Vec<&str> = match columns {
        Columns::Default => default.to_vec(),
        Columns::Wide => wide.to_vec(),
        Columns::Custom(headings) => headings.iter().map(String::as_str).collect(),
    };
    let namespace = (with_namespace && kind.scope() == Scope::Namespaced).then_some("NAMESPACE");
    namespace
        .into_iter()
        .chain(headings)
        .map(|wanted| {
            let found = all.iter().find(|(heading, _)| *heading == wanted);
            found.map(|(heading, cell)| Column { heading, cell: *cell }).ok_or_else(|| {
                let known: Vec<&str> = all.iter().map(|(heading, _)| *heading).collect();
                format!("Unknown heading {wanted}, valid values are: {}", known.join(", "))
            })
        })
        .collect()
}

fn layout(kind: Kind) -> Layout {
    match kind {
        Kind::BGPConfiguration => Layout {
            default: &["NAME", "LOGSEVERITY", "MESHENABLED", "ASNUMBER"],
            wide: &["NAME", "LOGSEVERITY", "MESHENABLED", "ASNUMBER"],
            all: &[
                NAME,
                ("LOGSEVERITY", Cell::Text("/spec/logSeverityScreen")),
                ("MESHENABLED", Cell::Or("/spec/nodeToNodeMeshEnabled", "-")),
                ("ASNUMBER", Cell::Or("/spec/asNumber", "-")),
            ],
        },
        Kind::BGPFilter => Layout {
            default: &["NAME", "NUMEXPORT", "NUMIMPORT"],
            wide: &["NAME", "NUMEXPORT", "NUMIMPORT"],
            all: &[NAME, ("NUMEXPORT", Cell::Made(exports)), ("NUMIMPORT", Cell::Made(imports))],
        },
        Kind::BGPPeer => Layout {
            default: &["NAME", "PEERIP", "NODE", "ASN"],
            wide: &["NAME", "PEERIP", "NODE", "ASN"],
            all: &[
                NAME,
                ("PEERIP", Cell::Text("/spec/peerIP")),
                ("NODE", Cell::Made(peer_node)),
                ("ASN", Cell::Or("/spec/asNumber", "0")),
            ],
        },
        Kind::CalicoNodeStatus => Layout {
            default: &["NAME", "NODE"],
            wide: &["NAME", "NODE", "CLASSES"],
            all: &[NAME, NODE, ("CLASSES", Cell::Joined("/spec/classes"))],
        },
        Kind::ClusterInformation => Layout {
            default: &["NAME", "CLUSTERGUID", "CLUSTERTYPE", "CALICOVERSION", "DATASTOREREADY"],
            wide: &["NAME", "CLUSTERGUID", "CLUSTERTYPE", "CALICOVERSION", "DATASTOREREADY"],
            all: &[
                NAME,
                ("CLUSTERGUID", Cell::Text("/spec/clusterGUID")),
                ("CLUSTERTYPE", Cell::Text("/spec/clusterType")),
                ("CALICOVERSION", Cell::Text("/spec/calicoVersion")),
                ("DATASTOREREADY", Cell::Or("/spec/datastoreReady", "<nil>")),
            ],
        },
        Kind::GlobalNetworkPolicy | Kind::StagedGlobalNetworkPolicy => Layout {
            default: &["NAME", "TIER"],
            wide: &["NAME", "TIER", "ORDER", "SELECTOR"],
            all: &[NAME, TIER, ORDER, SELECTOR],
        },
        Kind::NetworkPolicy | Kind::StagedNetworkPolicy => Layout {
            default: &["NAME", "TIER"],
            wide: &["NAME", "TIER", "ORDER", "SELECTOR"],
            all: &[NAME, NAMESPACE, TIER, ORDER, SELECTOR],
        },
        Kind::StagedKubernetesNetworkPolicy => Layout {
            default: &["NAME"],
            wide: &["NAME", "PODSELECTOR"],
            all: &[NAME, NAMESPACE, ("PODSELECTOR", Cell::Made(pod_selector))],
        },
        Kind::GlobalNetworkSet => Layout { default: &["NAME"], wide: &["NAME", "NETS"], all: &[NAME, NETS] },
        Kind::NetworkSet => {
            Layout { default: &["NAME"], wide: &["NAME", "NETS"], all: &[NAME, NAMESPACE, NETS] }
        }
        Kind::HostEndpoint => Layout {
            default: &["NAME", "NODE"],
            wide: &["NAME", "NODE", "INTERFACE", "IPS", "PROFILES"],
            all: &[
                NAME,
                NODE,
                ("INTERFACE", Cell::Text("/spec/interfaceName")),
                ("IPS", Cell::Joined("/spec/expectedIPs")),
                PROFILES,
            ],
        },
        Kind::IPAMConfiguration => Layout {
            default: &["NAME", "STRICTAFFINITY", "AUTOALLOCATEBLOCKS"],
            wide: &["NAME", "STRICTAFFINITY", "AUTOALLOCATEBLOCKS", "MAXBLOCKSPERHOST"],
            all: &[
                NAME,
                ("STRICTAFFINITY", Cell::Or("/spec/strictAffinity", "false")),
                ("AUTOALLOCATEBLOCKS", Cell::Or("/spec/autoAllocateBlocks", "false")),
                ("MAXBLOCKSPERHOST", Cell::Or("/spec/maxBlocksPerHost", "0")),
            ],
        },
        Kind::IPPool => Layout {
            default: &["NAME", "CIDR", "SELECTOR"],
            wide: &[
                "NAME",
                "CIDR",
                "NAT",
                "IPIPMODE",
                "VXLANMODE",
                "DISABLED",
                "DISABLEBGPEXPORT",
                "SELECTOR",
                "ASSIGNMENTMODE",
            ],
            all: &[
                NAME,
                ("CIDR", Cell::Text("/spec/cidr")),
                ("NAT", Cell::Or("/spec/natOutgoing", "false")),
                ("IPIPMODE", Cell::Or("/spec/ipipMode", "Never")),
                ("VXLANMODE", Cell::Or("/spec/vxlanMode", "Never")),
                ("DISABLED", Cell::Or("/spec/disabled", "false")),
                ("DISABLEBGPEXPORT", Cell::Or("/spec/disableBGPExport", "false")),
                ("SELECTOR", Cell::Text("/spec/nodeSelector")),
                ("ASSIGNMENTMODE", Cell::Or("/spec/assignmentMode", "<nil>")),
            ],
        },
        Kind::IPReservation => Layout {
            default: &["NAME"],
            wide: &["NAME", "CIDRS"],
            all: &[NAME, ("CIDRS", Cell::Cut("/spec/reservedCIDRs"))],
        },
        Kind::Node => Layout {
            default: &["NAME"],
            wide: &["NAME", "ASN", "IPV4", "IPV6"],
            all: &[
                NAME,
                ("ASN", Cell::Made(node_as_number)),
                ("IPV4", Cell::Text("/spec/bgp/ipv4Address")),
                ("IPV6", Cell::Text("/spec/bgp/ipv6Address")),
            ],
        },
        Kind::Profile => Layout {
            default: &["NAME"],
            wide: &["NAME", "LABELS"],
            all: &[NAME, ("LABELS", Cell::Joined("/spec/labelsToApply"))],
        },
        Kind::Tier => Layout { default: &["NAME", "ORDER"], wide: &["NAME", "ORDER"], all: &[NAME, ORDER] },
        Kind::WorkloadEndpoint => Layout {
            default: &["WORKLOAD", "NODE", "NETWORKS", "INTERFACE"],
            wide: &["NAME", "WORKLOAD", "NODE", "NETWORKS", "INTERFACE", "PROFILES", "NATS"],
            all: &[
                NAME,
                NAMESPACE,
                NODE,
                ("ORCHESTRATOR", Cell::Text("/spec/orchestrator")),
                ("WORKLOAD", Cell::Made(workload)),
                ("NETWORKS", Cell::Joined("/spec/ipNetworks")),
                ("NATS", Cell::Made(nats)),
                PROFILES,
                ("INTERFACE", Cell::Text("/spec/interfaceName")),
            ],
        },
        kind if kind.scope() == Scope::Namespaced => {
            Layout { default: &["NAME"], wide: &["NAME"], all: &[NAME, NAMESPACE] }
        }
        _ => Layout { default: &["NAME"], wide: &["NAME"], all: &[NAME] },
    }
}

impl Cell {
    /// What stands in the cell of `object`.
    pub fn text(&self, client: &Client, object: &Value) -> String {
        match self {
            Cell::Text(path) => text(object, path),
            Cell::Or(path, word) => match object.pointer(path) {
                None | Some(Value::Null) => (*word).to_owned(),
                Some(value) => print(value),
            },
            Cell::Joined(path) => join(object.pointer(path)),
            Cell::Cut(path) => cut(join(object.pointer(path))),
            Cell::Made(make) => make(client, object),
        }
    }
}

fn text(object: &Value, path: &str) -> String {
    object.pointer(path).map(print).unwrap_or_default()
}

/// A value as Go's `%v` prints it.
fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn order(_: &Client, object: &Value) -> String {
    object.pointer("/spec/order").and_then(Value::as_f64).map_or_else(|| "<nil>".to_owned(), print_float)
}

/// A number as Go's `%v` prints a float: the shortest form, with an exponent from a million on.
pub fn print_float(float: f64) -> String {
    let magnitude = float.abs();
    if magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn join(value: Option<&Value>) -> String {
    let parts: Vec<String> = match value {
        Some(Value::Array(items)) => items.iter().map(print).collect(),
        Some(Value::Object(map)) => {
            map.iter().map(|(key, value)| format!("{key}={}", print(value))).collect()
        }
        _ => Vec::new(),
    };
    parts.join(",")
}

/// At most 80 characters, the last three of them dots if there were more.
fn cut(text: String) -> String {
    if text.chars().count() <= 80 { text } else { text.chars().take(77).chain("...".chars()).collect() }
}

fn count(object: &Value, paths: [&str; 2]) -> String {
    let counts = paths.map(|path| object.pointer(path).and_then(Value::as_array).map_or(0, Vec::len));
    counts.iter().sum::<usize>().to_string()
}

fn exports(_: &Client, filter: &Value) -> String {
    count(filter, ["/spec/exportV4", "/spec/exportV6"])
}

fn imports(_: &Client, filter: &Value) -> String {
    count(filter, ["/spec/importV4", "/spec/importV6"])
}

fn peer_node(_: &Client, peer: &Value) -> String {
    match (text(peer, "/spec/node"), text(peer, "/spec/nodeSelector")) {
        (node, selector) if node.is_empty() && selector.is_empty() => "(global)".to_owned(),
        (node, selector) if node.is_empty() => selector,
        (node, _) => node,
    }
}

fn workload(_: &Client, endpoint: &Value) -> String {
    match text(endpoint, "/spec/workload") {
        workload if workload.is_empty() => text(endpoint, "/spec/pod"),
        workload => workload,
    }
}

fn nats(_: &Client, endpoint: &Value) -> String {
    let nats = endpoint.pointer("/spec/ipNATs").and_then(Value::as_array);
    let parts: Vec<String> = nats
        .into_iter()
        .flatten()
        .map(|nat| format!("{{{} {}}}", text(nat, "/internalIP"), text(nat, "/externalIP")))
        .collect();
    parts.join(",")
}

/// A node's AS number, or in brackets the one that all have.
fn node_as_number(client: &Client, node: &Value) -> String {
    if node.pointer("/spec/bgp").is_none() {
        return String::new();
    }
    match node.pointer("/spec/bgp/asNumber") {
        Some(number) => print(number),
        None => {
            format!("({})", cluster_as_number(client))
        }
    }
}

/// The AS number of nodes that have none of their own.
pub fn cluster_as_number(client: &Client) -> String {
    let configuration = client.get(&ResourceKey::cluster(Kind::BGPConfiguration, "default"));
    let number = match &configuration {
        Ok(configuration) => configuration.pointer("/spec/asNumber").map(print),
        Err(tortie_store::Error::Missing { .. }) => None,
        Err(_) => Some("unknown".to_owned()),
    };
    number.unwrap_or_else(|| "64512".to_owned())
}

/// A label selector as Kubernetes prints it.
fn pod_selector(_: &Client, policy: &Value) -> String {
    let selector = policy.pointer("/spec/podSelector");
    let labels = selector.and_then(|selector| selector.get("matchLabels")).and_then(Value::as_object);
    let labels: String =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}: {},", print(value))).collect();
    let expressions =
        selector.and_then(|selector| selector.get("matchExpressions")).and_then(Value::as_array);
    let expressions: String = expressions
        .into_iter()
        .flatten()
        .map(|one| {
            let values: Vec<String> = one["values"].as_array().into_iter().flatten().map(print).collect();
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                print(&one["key"]),
                print(&one["operator"]),
                values.join(" ")
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_printed_as_go_prints_them() {
        for (number, text) in [
            (10.5, "10.5"),
            (1000.0, "1000"),
            (1e6, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (-1.0, "-1"),
            (0.0, "0"),
            (0.00001, "1e-05"),
            (999_999.0, "999999"),
        ] {
            assert_eq!(print_float(number), text);
        }
        assert_eq!(print(&json!(4_200_000_000_u32)), "4200000000");
    }

    #[test]
    fn long_lists_are_cut_at_eighty_characters() {
        let nets: Vec<String> = (0..20).map(|number| format!("10.0.{number}.0/28")).collect();
        let text = cut(join(Some(&json!(nets))));
        assert_eq!(text.len(), 80);
        assert!(text.starts_with("10.0.0.0/28,10.0.1.0/28,") && text.ends_with("..."), "{text}");
        let short = json!(["10.0.0.0/28", "10.0.0.16/28"]);
        assert_eq!(cut(join(Some(&short))), "10.0.0.0/28,10.0.0.16/28");
    }

    #[test]
    fn every_heading_of_every_kind_exists() {
        for kind in Kind::ALL {
            for columns in [Columns::Default, Columns::Wide] {
                assert!(!of(*kind, &columns, true).expect("known headings").is_empty());
            }
        }
        let error = of(Kind::Tier, &Columns::Custom(vec!["X".to_owned()]), false).expect_err("unknown");
        assert_eq!(error, "Unknown heading X, valid values are: NAME, ORDER");
    }
}
