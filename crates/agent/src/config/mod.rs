//! What the agent is told, under the names that Calico gives it: the environment over the stored
//! FelixConfiguration of this node (`node.NAME`), over one that selects it by its labels, over that
//! of all (`default`).
//!
//! ```text
//!  Environment --.
//!                +--> Reader: value and Source of each --> Resolved: Settings, told, refused --> run
//!  Stored -------'
//! ```
//! A value that can't work falls back to the setting's default, as Calico's do, not to the next
//! source: the defaults are the closed ones. All that is refused is found at once.

mod reader;
mod stored;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tortie_api::value::Port;
use tortie_calc::network::Wants;
use tortie_dataplane::network::LeavesAs;
use tortie_nft::flat::{EndpointToHost, LogTarget, Ownership};

use crate::{Error, network, pools};
use reader::{Reader, address};

pub use reader::{FLAG, flag};
pub use stored::Stored;

/// Where the agent answers, unless `TORTIE_SOCKET` says otherwise.
pub const SOCKET: &str = "/run/tortie/agent.sock";

/// The settings that take effect while the agent runs, by the names in [`Told`].
pub const LIVE: [&str; 3] = ["defaultEndpointToHostAction", "logPrefix", "logSeverityScreen"];

/// What the agent runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The node's name (`NODENAME`, `FELIX_FELIXHOSTNAME`, `HOSTNAME`, or the machine's own).
    pub node: Arc<str>,
    /// Where commands and CNI plugins ask (`TORTIE_SOCKET`).
    pub socket: PathBuf,
    /// What workload interfaces' names begin with (`interfacePrefix`).
    pub interface_prefixes: Vec<String>,
    /// Packets from a workload to the host, after its policy (`defaultEndpointToHostAction`).
    pub endpoint_to_host: EndpointToHost,
    /// Where Log rules send packets (`TORTIE_LOG_TARGET`: `nflog:GROUP` or `kernel`).
    pub log: LogTarget,
    /// What log lines begin with (`logPrefix`).
    pub log_prefix: String,
    /// What is logged at all (`logSeverityScreen`).
    pub severity: Severity,
    /// Where to answer `/liveness` and `/readiness` (`healthEnabled`, `healthHost`, `healthPort`).
    pub health: Option<String>,
    /// Where to answer `/metrics` (`prometheusMetricsEnabled`, `..Host`, `..Port`).
    pub metrics: Option<String>,
    /// Whether the table is kept from other processes where the kernel can (`TORTIE_TABLE_OWNER`).
    pub owned: Ownership,
    /// The network between nodes.
    pub network: Network,
}

/// What the ways to other nodes are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The number of the VXLAN network (`vxlanVNI`).
    pub vxlan_id: u32,
    /// Its UDP port (`vxlanPort`).
    pub vxlan_port: u16,
    /// Whether workloads may send VXLAN packets of their own (`allowVXLANPacketsFromWorkloads`).
    pub vxlan_of_workloads: bool,
    /// Floating addresses (`floatingIPs`), and how connections from pools leave (`natOutgoingAddress`, `natPortRange`,
    /// `natOutgoingExclusions`).
    pub pools: Wants,
    /// Bytes of the VXLAN devices, IPv4 and IPv6; 0: what the machine's interfaces leave (`vxlanMTU`, `vxlanMTUV6`).
    pub vxlan_mtu: [u32; 2],
    /// Which interfaces are asked for that (`mtuIfacePattern`).
    pub mtu_interfaces: String,
}

/// The least severity that is logged. Calico's `Fatal` is `Error` here: nothing is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Each step.
    Trace,
    /// Each event.
    Debug,
    /// Once a change; the default.
    Info,
    /// What isn't as it should be.
    Warning,
    /// What failed.
    Error,
}

impl Severity {
    /// As the log's filter writes it. What Log rules send is logged at any severity.
    pub fn filter(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warn,packet=info",
            Self::Error => "error,packet=info",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match &*text.to_uppercase() {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARNING" => Self::Warning,
            "ERROR" | "FATAL" => Self::Error,
            _ => return None,
        })
    }
}

/// Who said what a setting is, the weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody.
    Default,
    /// FelixConfiguration `default`.
    Everyone,
    /// The FelixConfiguration of this name, which selects the node by its labels.
    Selected(Arc<str>),
    /// FelixConfiguration `node.NAME`.
    Node,
    /// The process's environment.
    Environment,
}

/// What a setting comes to, as text, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The field of FelixConfiguration, or the variable where there is no field.
    pub name: &'static str,
    /// As it was written.
    pub value: String,
    /// By whom.
    pub source: Source,
}

/// A value that can't work. The setting has its default instead.
#[derive(Debug)]
pub struct Refused {
    /// Who said it.
    pub source: Source,
    /// The default that holds instead.
    pub instead: String,
    /// Name, value, and what would work.
    pub error: Error,
}

/// What all sources come to.
#[derive(Debug)]
pub struct Resolved {
    /// What it means.
    pub settings: Settings,
    /// Each setting, in the order in which it is read.
    pub told: Vec<Told>,
    /// What can't work.
    pub refused: Vec<Refused>,
}

/// What the process was started with.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    hostname: String,
}

impl Environment {
    /// Variables by name, and the machine's own name.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, hostname: &str) -> Self {
        // An empty variable says nothing.
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Self { variables, hostname: hostname.to_owned() }
    }

    /// The node's name. The store can't change it: its objects are found by it.
    pub fn node(&self) -> &str {
        let names = ["NODENAME", "FELIX_FELIXHOSTNAME", "HOSTNAME"];
        names.into_iter().find_map(|name| self.get(name)).unwrap_or(&self.hostname)
    }

    /// What the settings come to, with what is stored.
    pub fn resolve(&self, stored: &Stored) -> Resolved {
        let mut read = Reader::new(self, stored);
        let interface_prefixes = read.felix(
            ("interfacePrefix", "FELIX_INTERFACEPREFIX"),
            "cali",
            "names of 1 to 15 letters, digits, _ or -, separated by commas",
            |text| {
                let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                let name = |name: &str| (1..=15).contains(&name.len()) && name.bytes().all(valid);
                text.split(',').all(name).then(|| text.split(',').map(str::to_owned).collect())
            },
        );
        let endpoint_to_host = read.felix(
            ("defaultEndpointToHostAction", "FELIX_DEFAULTENDPOINTTOHOSTACTION"),
            "DROP",
            "DROP, RETURN or ACCEPT",
            |text| match &*text.to_uppercase() {
                "DROP" => Some(EndpointToHost::Drop),
                "ACCEPT" | "RETURN" => Some(EndpointToHost::Accept),
                _ => None,
            },
        );
        let log_prefix = read
            .felix(("logPrefix", "FELIX_LOGPREFIX"), "calico-packet", "text", |text| Some(text.to_owned()));
        let severity = read.felix(
            ("logSeverityScreen", "FELIX_LOGSEVERITYSCREEN"),
            "Info",
            "Trace, Debug, Info, Warning, Error or Fatal",
            Severity::parse,
        );
        let health = address(
            read.flag(("healthEnabled", "FELIX_HEALTHENABLED"), true),
            &read.host(("healthHost", "FELIX_HEALTHHOST")),
            read.port(("healthPort", "FELIX_HEALTHPORT"), "9099"),
        );
        let metrics = address(
            read.flag(("prometheusMetricsEnabled", "FELIX_PROMETHEUSMETRICSENABLED"), true),
            &read.host(("prometheusMetricsHost", "FELIX_PROMETHEUSMETRICSHOST")),
            read.port(("prometheusMetricsPort", "FELIX_PROMETHEUSMETRICSPORT"), "9091"),
        );
        let log = read.variable(
            "TORTIE_LOG_TARGET",
            "nflog:9",
            "kernel or nflog:GROUP with a group from 0 to 65535",
            |text| match text.strip_prefix("nflog:") {
                Some(group) => group.parse().ok().map(LogTarget::Group),
                None => (text == "kernel").then_some(LogTarget::Kernel),
            },
        );
        let owned = read.variable("TORTIE_TABLE_OWNER", "true", reader::FLAG, |text| {
            reader::flag(text).map(|owned| if owned { Ownership::IfAvailable } else { Ownership::Never })
        });
        let network = network(&mut read);
        let socket = read.variable("TORTIE_SOCKET", SOCKET, "a path", |text| Some(PathBuf::from(text)));
        let settings = Settings {
            node: self.node().into(),
            socket,
            interface_prefixes,
            endpoint_to_host,
            log,
            log_prefix,
            severity,
            health,
            metrics,
            owned,
            network,
        };
        let (told, refused) = read.end();
        Resolved { settings, told, refused }
    }

    /// All that the process was started with and that can't work; `is_node` says whether there is a Kubernetes in which this is
    /// a node.
    pub fn refused(&self, is_node: bool) -> Vec<Error> {
        let settings = self.resolve(&Stored::default()).refused.into_iter().map(|refused| refused.error);
        let (_, pools) = pools::read(|name| self.get(name).map(str::to_owned));
        settings.chain(network::refused(self, is_node)).chain(pools).collect()
    }

    /// A variable that isn't empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

fn network(read: &mut Reader<'_>) -> Network {
    let mut mtu = |field| {
        read.felix(field, "0", "bytes from 0 to 65535", |text| text.parse::<u16>().ok().map(u32::from))
    };
    let vxlan_mtu = [mtu(("vxlanMTU", "FELIX_VXLANMTU")), mtu(("vxlanMTUV6", "FELIX_VXLANMTUV6"))];
    let vxlan_id =
        read.felix(("vxlanVNI", "FELIX_VXLANVNI"), "4096", "a number from 0 to 16777215", |text| {
            text.parse().ok().filter(|id: &u32| *id < 1 << 24)
        });
    let mtu_interfaces = read.felix(
        ("mtuIfacePattern", "FELIX_MTUIFACEPATTERN"),
        "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)",
        "a regular expression",
        |text| regex_lite::Regex::new(text).ok().map(|_| text.to_owned()),
    );
    let floating = read.felix(
        ("floatingIPs", "FELIX_FLOATINGIPS"),
        "Disabled",
        "Enabled or Disabled",
        |text| match text.to_ascii_lowercase().as_str() {
            "enabled" => Some(true),
            "disabled" => Some(false),
            _ => None,
        },
    );
    Network {
        vxlan_id,
        vxlan_port: read.port(("vxlanPort", "FELIX_VXLANPORT"), "4789"),
        vxlan_of_workloads: read
            .flag(("allowVXLANPacketsFromWorkloads", "FELIX_ALLOWVXLANPACKETSFROMWORKLOADS"), false),
        vxlan_mtu,
        mtu_interfaces,
        pools: Wants { floating, leaves_as: leaves_as(read), keeps_to_nodes: keeps_to_nodes(read) },
    }
}

fn leaves_as(read: &mut Reader<'_>) -> LeavesAs {
    let address = ("natOutgoingAddress", "FELIX_NATOUTGOINGADDRESS");
    let ports = ("natPortRange", "FELIX_NATPORTRANGE");
    LeavesAs {
        address: read.felix(address, "", "an IPv4 address", |text| match text {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        }),
        ports: read.felix(ports, "", "FIRST:LAST or PORT, from 1 to 65535", |text| match text.parse() {
            _ if text.is_empty() => Some(None),
            // No ports, as Calico takes it.
            Ok(Port::Range(_, 0)) => Some(None),
            Ok(Port::Range(first @ 1.., last)) => Some(Some((first, last))),
            _ => None,
        }),
    }
}

fn keeps_to_nodes(read: &mut Reader<'_>) -> bool {
    let field = ("natOutgoingExclusions", "FELIX_NATOUTGOINGEXCLUSIONS");
    let expected = "IPPoolsOnly or IPPoolsAndHostIPs";
    read.felix(field, "IPPoolsOnly", expected, |text| match text.to_ascii_lowercase().as_str() {
        "ippoolsonly" => Some(false),
        "ippoolsandhostips" => Some(true),
        _ => None,
    })
}

impl Source {
    /// The source for people: for a configuration its kind and name.
    pub fn describe(&self, node: &str) -> String {
        match self {
            Source::Default => "default".to_owned(),
            Source::Everyone => "FelixConfiguration default".to_owned(),
            Source::Selected(name) => format!("FelixConfiguration {name}"),
            Source::Node => format!("FelixConfiguration node.{node}"),
            Source::Environment => "environment".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
