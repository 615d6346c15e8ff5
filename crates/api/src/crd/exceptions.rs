//! Where a custom resource isn't what users write: the states of address management, fields of older releases, defaults.

use serde_json::{Value, json};

/// Constant defaults of Calico's schemas; the others depend on other fields and are the client's, see [`crate::defaults`].
pub const DEFAULTS: [(&str, &str, &str); 12] = [
    ("BGPConfigurationSpec", "logSeverityScreen", "Info"),
    ("BGPConfigurationSpec", "serviceLoadBalancerAggregation", "Enabled"),
    ("FelixConfigurationSpec", "nftablesMode", "Auto"),
    ("IPPoolSpec", "assignmentMode", "Automatic"),
    ("IPPoolSpec", "ipipMode", "Never"),
    ("IPPoolSpec", "vxlanMode", "Never"),
    ("KubeControllersConfigurationSpec", "healthChecks", "Enabled"),
    ("LoadBalancerControllerConfig", "assignIPs", "AllServices"),
    ("StagedGlobalNetworkPolicySpec", "stagedAction", "Set"),
    ("StagedKubernetesNetworkPolicySpec", "stagedAction", "Set"),
    ("StagedNetworkPolicySpec", "stagedAction", "Set"),
    ("TierSpec", "defaultAction", "Deny"),
];

/// Fields that older releases wrote and nobody writes any more. They are kept until somebody takes them away.
const OLD: [(&str, &str, &str); 4] = [
    ("FelixConfigurationSpec", "bpfKubeProxyEndpointSlicesEnabled", "boolean"),
    ("FelixConfigurationSpec", "iptablesLockFilePath", "string"),
    ("FelixConfigurationSpec", "iptablesLockTimeout", "string"),
    ("IPPoolSpec", "nat-outgoing", "boolean"),
];

/// The fields of older releases in a type.
pub fn of_old_releases(go_name: &str) -> Vec<(&'static str, Value)> {
    let plain = OLD.iter().filter(|(of, ..)| *of == go_name);
    let mut all: Vec<_> = plain.map(|(_, field, of)| (*field, json!({"type": of}))).collect();
    if go_name == "IPPoolSpec" {
        let properties = json!({"enabled": {"type": "boolean"}, "mode": {"type": "string"}});
        all.push(("ipip", json!({"type": "object", "properties": properties})));
    }
    all
}

/// Whether a field that Go always writes may be missing all the same.
pub fn may_be_left_out(go_name: &str, field: &str) -> bool {
    matches!((go_name, field), ("StagedKubernetesNetworkPolicySpec", "podSelector"))
}

/// Puts right what neither the shape nor the conditions say.
pub fn mend(schema: &mut Value, go_name: &str, field: &str, is_judged: bool) {
    if is_judged
        && let Some((.., default)) = DEFAULTS.iter().find(|(of, name, _)| *of == go_name && *name == field)
    {
        schema["default"] = json!(default);
    }
    match (go_name, field) {
        // Older releases wrote it as a text, and so it stayed.
        ("BlockAffinitySpec", "deleted") => *schema = json!({"type": "string"}),
        // Nobody's address.
        ("IPAMBlockSpec", "allocations") => schema["items"]["nullable"] = json!(true),
        // Hosts are named by whoever runs them, not by this pattern.
        ("IPAMBlockSpec", "affinity") => *schema = json!({"type": "string"}),
        ("IPAMBlockSpec", "sequenceNumber") => schema["default"] = json!(0),
        ("CalicoNodeStatusStatus", "lastUpdated") => schema["nullable"] = json!(true),
        // All but everything: nothing.
        ("EntityRule", "notNets") if is_judged => schema["items"]["not"] = json!({"pattern": "/0+$"}),
        ("HTTPPath", "exact" | "prefix") if is_judged => schema["pattern"] = json!("^(/[^?# ]*)?$"),
        ("EndpointPort", "protocol") => schema["pattern"] = json!("^(?i)(tcp|udp|sctp|udplite|[0-9]{1,3})$"),
        ("ProtoPort", "protocol") => schema["pattern"] = json!("^(?i)(tcp|udp|sctp)?$"),
        ("ProtoPort", "port") => schema["minimum"] = json!(1),
        ("BGPFilterRuleV4" | "BGPFilterRuleV6", "operations") if is_judged => {
            schema["items"]["minProperties"] = json!(1);
            schema["items"]["maxProperties"] = json!(1);
        }
        // There are three.
        ("IPPoolSpec", "allowedUses") => schema["maxItems"] = json!(10),
        ("IPPoolSpec", "cidr" | "blockSize") if is_judged => {
            let (.., message) = crate::validate::IMMUTABLE
                .iter()
                .find(|(kind, name, _)| *kind == "IPPool" && *name == field)
                .unwrap_or(&("", "", "it cannot be changed"));
            schema["x-kubernetes-validations"] = json!([{"rule": "self == oldSelf", "message": message}]);
        }
        _ => {}
    }
}
