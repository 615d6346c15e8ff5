//! Which of Calico's settings (FelixConfiguration) have a meaning that isn't carried out yet, and what happens instead.
//!
//! A setting that only tunes what Calico is made of - iptables, eBPF maps, its log files, Go - and that nobody misses here has no place in
//! this list; one by which packets go another way, are told of, or are kept secret has, with the value by which nothing is missed.

use serde_json::Value;
use tortie_api::felix::FelixConfigurationSpec;

/// A setting that isn't carried out.
struct Missing {
    /// The field of FelixConfiguration.
    field: &'static str,
    /// The value, in lower case, that says what happens anyway; lists: the empty one.
    anyway: &'static str,
    /// What happens instead of any other value, or doesn't.
    instead: &'static str,
}

const fn missing(field: &'static str, anyway: &'static str, instead: &'static str) -> Missing {
    Missing { field, anyway, instead }
}

const NOT_ENCRYPTED: &str = "what goes from node to node isn't encrypted";
const PLAIN_METRICS: &str = "metrics are served without TLS";
const STANDARD_ERROR: &str = "the log goes to standard error alone";
const DROPPED: &str = "what is denied is dropped, not refused";
const AS_THEY_ARE: &str = "routes have the kernel's own metric";

const MISSING: [Missing; 43] = [
    missing("allowIPIPPacketsFromWorkloads", "true", "policy alone says whether workloads may send IPIP"),
    missing("awsSrcDstCheck", "donothing", "the cloud's check stays as it is"),
    missing("bpfEnabled", "false", "nftables judge, and services stay kube-proxy's"),
    missing("dataplaneDriver", "", "no other program is driven"),
    missing("deviceRouteSourceAddress", "", "routes to workloads name no source address"),
    missing("deviceRouteSourceAddressIPv6", "", "routes to workloads name no source address"),
    missing("disableConntrackInvalidCheck", "false", "what connection tracking calls invalid is dropped"),
    missing("endpointReportingEnabled", "false", "endpoints' states aren't written to the datastore"),
    missing("externalNodesList", "", "VXLAN is taken from known nodes alone"),
    missing("flowLogsGoldmaneServer", "", "no flows are told of"),
    missing("flowLogsLocalReporter", "disabled", "no flows are told of"),
    missing("ipForwarding", "enabled", "the node forwards"),
    missing("ipipEnabled", "false", "nothing is carried in IPIP"),
    missing("iptablesFilterDenyAction", "drop", DROPPED),
    missing("iptablesNATOutgoingInterfaceFilter", "", "addresses are translated on every way out"),
    missing("ipv4ElevatedRoutePriority", "512", AS_THEY_ARE),
    missing("ipv4NormalRoutePriority", "1024", AS_THEY_ARE),
    missing("ipv6ElevatedRoutePriority", "512", AS_THEY_ARE),
    missing("ipv6NormalRoutePriority", "1024", AS_THEY_ARE),
    missing("istioAmbientMode", "disabled", "workloads aren't joined to a mesh"),
    missing("localSubnetL2Reachability", "disabled", "nobody answers for workloads on the nodes' subnet"),
    missing("logActionRateLimit", "", "each first packet that a Log rule meets is logged"),
    missing("logFilePath", "none", STANDARD_ERROR),
    missing("logSeveritySys", "none", STANDARD_ERROR),
    missing("nftablesFilterDenyAction", "drop", DROPPED),
    missing("nftablesFlowTableOffload", "disabled", "each packet goes through the whole stack"),
    missing("openstackRegion", "", "endpoints of any region are this cluster's"),
    missing("policySyncPathPrefix", "", "no proxy is told of policy"),
    missing("programClusterRoutes", "enabled", "the agent makes all routes to other nodes"),
    missing("prometheusMetricsCAFile", "", PLAIN_METRICS),
    missing("prometheusMetricsCertFile", "", PLAIN_METRICS),
    missing("prometheusMetricsClientAuth", "noclientcert", PLAIN_METRICS),
    missing("prometheusMetricsKeyFile", "", PLAIN_METRICS),
    missing("routeSource", "calicoipam", "routes to other nodes go by blocks"),
    missing("routeSyncDisabled", "false", "the agent keeps the routes"),
    missing("serviceLoopPrevention", "disabled", "services' unused addresses get no rules"),
    missing("sidecarAccelerationEnabled", "false", "sidecars are reached through the whole stack"),
    missing("useInternalDataplaneDriver", "true", "no other program is driven"),
    missing("vxlanEnabled", "true", "the pools say whether VXLAN is used"),
    missing("wireguardEnabled", "false", NOT_ENCRYPTED),
    missing("wireguardEnabledV6", "false", NOT_ENCRYPTED),
    missing("wireguardHostEncryptionEnabled", "false", NOT_ENCRYPTED),
    missing("workloadSourceSpoofing", "disabled", "workloads send from their own addresses alone"),
];

/// What Calico itself takes where nothing is said; being told that is no news.
const CALICOS: [(&str, &str); 6] = [
    ("allowIPIPPacketsFromWorkloads", "false"),
    ("dataplaneDriver", "calico-iptables-plugin"),
    ("logFilePath", "/var/log/calico/felix.log"),
    ("logSeveritySys", "info"),
    ("programClusterRoutes", "enabledipiponly"),
    ("serviceLoopPrevention", "drop"),
];

/// What happens instead of this value of a setting, or doesn't; `None` if nothing is missed. `field` is FelixConfiguration's name in any case.
pub fn missed(field: &str, value: &str) -> Option<&'static str> {
    let value = value.to_lowercase();
    let missing = MISSING.iter().find(|missing| missing.field.eq_ignore_ascii_case(field))?;
    let is_news = value != missing.anyway && !CALICOS.contains(&(missing.field, &value)) && !value.is_empty();
    is_news.then_some(missing.instead)
}

/// The settings that aren't carried out.
pub fn fields() -> impl Iterator<Item = &'static str> {
    MISSING.iter().map(|missing| missing.field)
}

/// All that is missed of a configuration, in words; `None` if nothing is.
pub(crate) fn missed_of(spec: &FelixConfigurationSpec) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::to_value(spec) else { return None };
    let said = |(field, value): (&String, &Value)| {
        let text = match value {
            Value::Null => return None,
            Value::Array(items) if items.is_empty() => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(format!("{field}: {}", missed(field, &text)?))
    };
    let all: Vec<String> = fields.iter().filter_map(said).collect();
    (!all.is_empty()).then(|| all.join("; "))
}
