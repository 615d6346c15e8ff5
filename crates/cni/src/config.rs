//! The network configuration: Calico's fields, those that mean something here; the others are passed over.

use crate::address::NamespaceFacts;
use crate::{Error, Result};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use tortie_api::schema::null_is_default;
use tortie_api::value::Protocol;

/// What stands on standard input, read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NetworkConfig {
    /// `cniVersion`; empty means 0.1.0.
    #[serde(rename = "cniVersion")]
    pub cni_version: String,
    /// The network's name: the first half of handles, and the profile of pods without Kubernetes.
    pub name: String,
    /// The plugin's type, `calico` or what it is installed as.
    #[serde(rename = "type")]
    pub plugin_type: String,
    /// Bytes; 0 leaves the kernel's 1500.
    pub mtu: u32,
    /// The node's name; else the file, else the hostname.
    pub nodename: String,
    /// Deprecated name of `nodename`.
    pub hostname: String,
    /// Where the node's name is read; [`DEFAULT_NODENAME_FILE`] if empty.
    pub nodename_file: String,
    /// Addresses.
    pub ipam: IpamConfig,
    /// What the runtime says about the container, in the conventions of CNI and Mesos.
    pub args: Args,
    /// What the runtime says of capabilities that the configuration declares.
    #[serde(rename = "runtimeConfig", deserialize_with = "null_is_default")]
    pub runtime: RuntimeConfig,
    /// Settings inside the container.
    pub container_settings: ContainerSettings,
    /// Add default routes beside those that IPAM gives.
    pub include_default_routes: bool,
    /// Features that are off by default.
    pub feature_control: FeatureControl,
    /// `k8s` or empty.
    pub policy: PolicyConfig,
    /// `debug`, `info`, `warning`, `error`, `fatal`.
    pub log_level: String,
    /// Where to log beside standard error.
    pub log_file_path: String,
    /// The agent's socket; the default if empty.
    pub agent_socket: String,
    /// The embedded database; the default if empty.
    pub database: String,
    /// How the Kubernetes API is reached.
    pub kubernetes: KubernetesConfig,
    /// `embedded`, `etcdv3` or `kubernetes`; if empty etcd where servers are named.
    pub datastore_type: String,
    /// etcd's servers, separated by commas.
    pub etcd_endpoints: String,
    /// The one server, `HOST:PORT`: deprecated name, together with `etcd_scheme`, of `etcd_endpoints`.
    pub etcd_authority: String,
    /// `http` if empty.
    pub etcd_scheme: String,
    /// The domain under which servers are looked up.
    pub etcd_discovery_srv: String,
    /// Our key for etcd.
    pub etcd_key_file: String,
    /// Our certificate for etcd.
    pub etcd_cert_file: String,
    /// Who signed the certificates of etcd's servers.
    pub etcd_ca_cert_file: String,
    /// GC: the attachments that are to stay.
    #[serde(rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Vec<ValidAttachment>>,
}

impl NetworkConfig {
    /// What the configuration says of the datastore, by the names that the settings have in the environment.
    pub fn datastore(&self, name: &str) -> Option<String> {
        let said = match name {
            "DATASTORE_TYPE" => &self.datastore_type,
            "ETCD_ENDPOINTS" if self.etcd_endpoints.is_empty() && !self.etcd_authority.is_empty() => {
                let scheme = if self.etcd_scheme.is_empty() { "http" } else { &self.etcd_scheme };
                return Some(format!("{scheme}://{}", self.etcd_authority));
            }
            "ETCD_ENDPOINTS" => &self.etcd_endpoints,
            "ETCD_DISCOVERY_SRV" => &self.etcd_discovery_srv,
            "KUBECONFIG" => &self.kubernetes.kubeconfig,
            "K8S_API_ENDPOINT" => &self.kubernetes.k8s_api_root,
            "ETCD_KEY_FILE" => &self.etcd_key_file,
            "ETCD_CERT_FILE" => &self.etcd_cert_file,
            "ETCD_CA_CERT_FILE" => &self.etcd_ca_cert_file,
            _ => return None,
        };
        (!said.is_empty()).then(|| said.clone())
    }
}

/// Calico's default for `nodename_file`.
pub const DEFAULT_NODENAME_FILE: &str = "/var/lib/calico/nodename";

/// The `kubernetes` object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct KubernetesConfig {
    /// kubectl's settings.
    pub kubeconfig: String,
    /// The API's URL, where nothing else need be said.
    pub k8s_api_root: String,
}

/// The `ipam` object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// `calico-ipam`, or another plugin's name.
    #[serde(rename = "type")]
    pub plugin_type: String,
    /// host-local's subnet, or `usePodCidr`.
    pub subnet: String,
    /// Whether to assign IPv4; true if not given.
    #[serde(deserialize_with = "flag")]
    pub assign_ipv4: Option<bool>,
    /// Whether to assign IPv6; false if not given.
    #[serde(deserialize_with = "flag")]
    pub assign_ipv6: Option<bool>,
    /// Pools by name or CIDR.
    pub ipv4_pools: Vec<String>,
    /// Pools by name or CIDR.
    pub ipv6_pools: Vec<String>,
}

/// The `container_settings` object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContainerSettings {
    /// Whether the container may forward packets.
    pub allow_ip_forwarding: bool,
}

/// The `runtimeConfig` object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RuntimeConfig {
    /// Ports of the host that lead to the container: the capability `portMappings`.
    #[serde(rename = "portMappings", deserialize_with = "null_is_default")]
    pub port_mappings: Vec<PortMapping>,
}

/// A port of the host that leads to one of the container's. CRI-O writes the names as CNI's conventions have them, containerd with a capital.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PortMapping {
    /// 1 to 65535.
    #[serde(alias = "HostPort")]
    pub host_port: i64,
    /// 1 to 65535.
    #[serde(alias = "ContainerPort")]
    pub container_port: i64,
    /// `tcp`, `udp` or `sctp`, in any case; TCP if empty.
    #[serde(alias = "Protocol")]
    pub protocol: String,
    /// The one address of the host; none or an unspecified one means all.
    #[serde(rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

/// The `feature_control` object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FeatureControl {
    /// Allows the annotation `cni.projectcalico.org/ipAddrsNoIpam`.
    pub ip_addrs_no_ipam: bool,
    /// Allows the annotation `cni.projectcalico.org/floatingIPs`.
    pub floating_ips: bool,
}

/// The `policy` object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PolicyConfig {
    /// `k8s` or empty.
    #[serde(rename = "type")]
    pub policy_type: String,
}

/// The `args` object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    /// CNI's conventions, with more of ours: what Kubernetes would say of the pod.
    pub cni: CniConventions,
    /// Mesos.
    #[serde(rename = "org.apache.mesos")]
    pub mesos: Mesos,
}

/// `args.cni`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CniConventions {
    /// A list of `{key, value}` (the convention) or an object.
    pub labels: Labels,
    /// As a pod's.
    pub annotations: BTreeMap<String, String>,
    /// As a pod's `serviceAccountName`.
    #[serde(rename = "serviceAccountName", alias = "serviceAccount")]
    pub service_account_name: String,
    /// Named ports, as a container's.
    pub ports: Vec<NamedPort>,
    /// What a cluster beside the store says of the pod's namespace; nobody gives it by text.
    #[serde(skip)]
    pub namespace: Option<NamespaceFacts>,
}

/// A named port of a pod.
#[derive(Debug, Clone, Deserialize)]
pub struct NamedPort {
    /// Its name.
    pub name: String,
    /// TCP if not given.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// Its number.
    #[serde(alias = "containerPort")]
    pub port: u16,
    /// The host's port that leads there; 0: none.
    #[serde(default, rename = "hostPort")]
    pub host_port: u16,
    /// The one address of the host; none or an unspecified one means all.
    #[serde(default, rename = "hostIP")]
    pub host_ip: String,
}

/// `args."org.apache.mesos"`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Mesos {
    /// Its network.
    pub network_info: MesosNetwork,
}

/// `network_info`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MesosNetwork {
    /// `{labels: [{key, value}]}`.
    pub labels: MesosLabels,
}

/// `network_info.labels`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MesosLabels {
    /// The list inside.
    pub labels: Vec<Label>,
}

/// One label of a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Label {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: String,
}

/// Labels in either form.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    /// `[{key, value}]`.
    List(Vec<Label>),
    /// `{key: value}`.
    Map(BTreeMap<String, String>),
}

impl Default for Labels {
    fn default() -> Self {
        Labels::List(Vec::new())
    }
}

/// An attachment that GC leaves.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct ValidAttachment {
    /// The container's id.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface inside.
    pub ifname: String,
}

impl NetworkConfig {
    /// Reads standard input.
    ///
    /// # Errors
    /// [`Error::Decode`] with the JSON's fault.
    pub fn parse(json: &Value) -> Result<Self> {
        NetworkConfig::deserialize(json)
            .map_err(|error| Error::Decode { what: "network configuration", cause: error.to_string() })
    }

    /// All labels that the runtime gives: CNI's, then Mesos', whose values have `/` replaced by `.` (a leading one cut).
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<String, String> = match &self.args.cni.labels {
            Labels::Map(map) => map.clone(),
            Labels::List(list) => list.iter().map(|label| (label.key.clone(), label.value.clone())).collect(),
        };
        for Label { key, value } in &self.args.mesos.network_info.labels.labels {
            labels.insert(key.clone(), value.strip_prefix('/').unwrap_or(value).replace('/', "."));
        }
        labels
    }
}

/// Calico writes booleans here as text.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(flag)),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "true" | "1" | "yes" => Ok(Some(true)),
            "false" | "0" | "no" => Ok(Some(false)),
            _ => Err(serde::de::Error::custom(format!("{text:?}: expected \"true\" or \"false\""))),
        },
        other => Err(serde::de::Error::custom(format!("{other}: expected \"true\" or \"false\""))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_come_as_list_as_object_and_from_mesos() {
        let list = json!({ "args": {
            "cni": { "labels": [{ "key": "app", "value": "web" }] },
            "org.apache.mesos": { "network_info": { "labels": { "labels": [{ "key": "DCOS_SPACE", "value": "/a/b/c" }] } } },
        } });
        let labels = NetworkConfig::parse(&list).unwrap().labels();
        assert_eq!((labels["app"].as_str(), labels["DCOS_SPACE"].as_str()), ("web", "a.b.c"));
        let map = json!({ "args": { "cni": { "labels": { "app": "web" } } } });
        assert_eq!(NetworkConfig::parse(&map).unwrap().labels()["app"], "web");
    }

    #[test]
    fn assign_ipv4_is_text_or_bool_and_nothing_else() {
        for (given, want) in [(json!("false"), Some(false)), (json!(true), Some(true)), (json!(null), None)] {
            let config = NetworkConfig::parse(&json!({ "ipam": { "assign_ipv4": given } })).unwrap();
            assert_eq!(config.ipam.assign_ipv4, want);
        }
        let error = NetworkConfig::parse(&json!({ "ipam": { "assign_ipv4": "maybe" } })).unwrap_err();
        assert_eq!(error.code(), 6);
        assert!(error.to_string().contains("maybe"), "{error}");
    }

    #[test]
    fn ports_are_read_as_cri_o_and_as_containerd_write_them() {
        let cri_o = json!({"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "192.0.2.1"});
        let containerd =
            json!({"HostPort": 8080, "ContainerPort": 80, "Protocol": "udp", "HostIP": "192.0.2.1"});
        let [one, other] = [cri_o, containerd].map(|written| {
            let config = json!({ "runtimeConfig": { "portMappings": [written] } });
            NetworkConfig::parse(&config).unwrap().runtime.port_mappings.remove(0)
        });
        let (protocol, host_ip) = ("udp".to_owned(), "192.0.2.1".to_owned());
        assert_eq!(one, PortMapping { host_port: 8080, container_port: 80, protocol, host_ip });
        assert_eq!(other, one);
    }
}
