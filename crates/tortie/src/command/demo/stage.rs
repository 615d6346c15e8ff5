//! The lab with everything on it: node, agent, pods wired by the plugin, the host outside, and who answers where.
//!
//! ```text
//!  Home (database, socket, YAML)
//!  Lab: fabric -- node (tortie agent) -- pods        by `calico` with CNI_* and a configuration on standard input
//!             `-- payments                           no agent
//! ```
//! All programs are this one, as processes, with an environment of their own: what the user's shell says about
//! Calico or Tortie does not matter. Everything goes when the value is dropped.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ipnet::IpNet;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tortie_agent::protocol::{Question, Reply, ask};
use tortie_agent::status::Status;
use tortie_lab::{Lab, Party, Role};
use tortie_store::{Datastore, etcd, open};

use super::home::Home;
use super::interrupt::Interrupt;
use super::server::Server;
use super::shop::{Actor, NODE, OUTSIDE, PODS, POOLS};

/// How long the agent may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(2);
/// What programs are found by.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// See the module.
#[derive(Debug)]
pub struct Stage {
    // Dropped in this order.
    servers: Vec<Server>,
    lab: Lab,
    etcd: Option<etcd::server::Server>,
    home: Home,
    node: usize,
    outside: usize,
    agent: u32,
}

/// A pod that is attached.
#[derive(Debug)]
pub struct Attached {
    /// The interface on the node.
    pub interface: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// How long ADD took.
    pub took: Duration,
}

impl Stage {
    /// Node, host and files. Nothing runs yet.
    pub fn build() -> anyhow::Result<Self> {
        let mut lab = Lab::create()?;
        Home::sweep()?;
        let home = Home::create(lab.id())?;
        let node = lab.add_host(NODE, Role::Node)?;
        let outside = lab.add_host(OUTSIDE.0, Role::Outside)?;
        for pool in POOLS {
            lab.route_pods(pool.parse::<IpNet>().context("a pool's CIDR")?, node)?;
        }
        Ok(Self { servers: Vec::new(), lab, etcd: None, home, node, outside, agent: 0 })
    }

    /// An etcd of the lab's own, in the node's namespace; everything from now on is stored there.
    pub fn start_etcd(&mut self) -> anyhow::Result<()> {
        let start = etcd::server::Start { directory: self.home.etcd(), apart: true, ..Default::default() };
        let namespace = self.lab.hosts()[self.node].namespace();
        self.etcd = Some(namespace.run(|| etcd::server::Server::start(start))??);
        Ok(())
    }

    /// Where everything is stored, in words.
    pub fn describe_store(&self) -> String {
        match &self.etcd {
            None => format!("embedded, {}", self.home.database().display()),
            Some(server) => {
                format!("etcd {} in the node's namespace, process {}", server.endpoint(), server.id())
            }
        }
    }

    /// Runs `read` on the store, where it can be reached.
    pub fn with_store<T: Send>(
        &self,
        read: impl FnOnce(Arc<dyn Datastore>) -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let settings = self.datastore();
        let find = |name: &str| settings.iter().find(|(known, _)| *known == name);
        let open = || open::open(|name| find(name).map(|(_, value)| value.clone()));
        self.lab.hosts()[self.node].namespace().run(|| read(open()?))?
    }

    /// Whether the store can be reached from the node's namespace only.
    pub fn store_is_inside(&self) -> bool {
        self.etcd.is_some()
    }

    /// The settings that name the store.
    pub fn datastore(&self) -> Vec<(&'static str, String)> {
        match &self.etcd {
            None => vec![
                ("DATASTORE_TYPE", "embedded".to_owned()),
                ("TORTIE_DATABASE", self.home.database().display().to_string()),
            ],
            Some(server) => vec![
                ("DATASTORE_TYPE", "etcdv3".to_owned()),
                ("ETCD_ENDPOINTS", server.endpoint().to_string()),
            ],
        }
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The files.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The agent's process.
    pub fn agent(&self) -> u32 {
        self.agent
    }

    /// The host outside.
    pub fn outside(&self) -> IpAddr {
        self.lab.hosts()[self.outside].ipv4().into()
    }

    /// What the node itself is reached by.
    pub fn node_addresses(&self) -> Vec<IpAddr> {
        let node = &self.lab.hosts()[self.node];
        vec![node.ipv4().into(), node.ipv6().into()]
    }

    /// A command of this program, in the node's place.
    fn tortie(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("NODENAME", NODE).envs(self.datastore());
        command.env("TORTIE_SOCKET", self.home.socket());
        // Ctrl-C is this process's: it ends its children itself.
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// `tortie agent` in the node's namespace; returns when it has read the store and its table stands.
    pub fn start_agent(&mut self, interrupt: &Interrupt) -> anyhow::Result<Duration> {
        let since = Instant::now();
        let log = File::create(self.home.log()).context("the agent's log")?;
        let mut command = self.tortie(&std::env::current_exe()?);
        command.arg("agent").stdout(Stdio::null()).stderr(log);
        self.agent = self.lab.host_mut(self.node).spawn(&mut command)?;
        while !self.status().is_ok_and(|status| status.ready) {
            interrupt.check()?;
            if since.elapsed() > PATIENCE {
                bail!("the agent is not ready after {PATIENCE:?}. Its log:\n{}", self.agent_log());
            }
            std::thread::sleep(POLL);
        }
        Ok(since.elapsed())
    }

    /// What `tortie status -o json` shows.
    pub fn status(&self) -> anyhow::Result<Status> {
        match ask(&self.home.socket(), &Question::Status)? {
            Reply::Status(status) => Ok(*status),
            other => bail!("the agent answered {other:?}"),
        }
    }

    /// The last lines of the agent's log.
    pub fn agent_log(&self) -> String {
        let text = std::fs::read_to_string(self.home.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// `tortie apply -f DIRECTORY`; returns what it said and when all of it was in force.
    pub fn apply(&self, directory: &Path) -> anyhow::Result<(String, Duration)> {
        let mut command = self.tortie(&std::env::current_exe()?);
        command.args(["apply", "-f"]).arg(directory);
        let output = self.lab.hosts()[self.node].output(&mut command)?;
        let said = text_of(&output);
        if !output.status.success() {
            bail!("tortie apply -f {}: {said}", directory.display());
        }
        let since = Instant::now();
        match ask(&self.home.socket(), &Question::Settle)? {
            Reply::Settled => Ok((said, since.elapsed())),
            other => bail!("the agent answered {other:?}"),
        }
    }

    /// A pod: an empty namespace, wired by the plugin, with a process that answers.
    pub fn add_pod(&mut self, actor: &Actor) -> anyhow::Result<Attached> {
        let place = self.lab.add_pod(&format!("{}/{}", actor.namespace, actor.name))?;
        let since = Instant::now();
        let result = self.call("ADD", place, actor)?;
        let took = since.elapsed();
        let result: Value =
            serde_json::from_str(&result).with_context(|| format!("the result {result:?}"))?;
        let interface = result["interfaces"][0]["name"].as_str().unwrap_or_default().to_owned();
        let ips = result["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
        let address = |ip: &Value| Some(ip["address"].as_str()?.parse::<IpNet>().ok()?.addr());
        let addresses: Vec<IpAddr> = ips.iter().filter_map(address).collect();
        self.servers.push(Server::start(self.lab.pods()[place].namespace(), actor.serves)?);
        Ok(Attached { interface, addresses, took })
    }

    /// The host outside answers too.
    pub fn start_outside(&mut self) -> anyhow::Result<()> {
        self.servers.push(Server::start(self.lab.hosts()[self.outside].namespace(), OUTSIDE.1)?);
        Ok(())
    }

    /// Detaches all pods, as a runtime does; returns how many.
    pub fn remove_pods(&mut self) -> anyhow::Result<usize> {
        self.servers.clear();
        for (place, actor) in PODS.iter().enumerate() {
            self.call("DEL", place, actor)?;
        }
        Ok(PODS.len())
    }

    /// Calls the CNI plugin in the node's namespace, as a runtime does.
    fn call(&self, verb: &str, place: usize, actor: &Actor) -> anyhow::Result<String> {
        let pod = &self.lab.pods()[place];
        let (namespace, name) = (actor.namespace, actor.name);
        let mut command = self.tortie(&self.home.plugins().join("calico"));
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", format!("{}-{name}", self.lab.id()))
            .env("CNI_NETNS", pod.namespace().path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.home.plugins())
            .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}"))
            .stdin(self.home.input("netconf.json", &self.netconf(actor).to_string())?);
        let output = self.lab.hosts()[self.node].output(&mut command)?;
        if !output.status.success() {
            bail!(
                "CNI {verb} of {namespace}/{name}: {}\nThe agent's log:\n{}",
                text_of(&output),
                self.agent_log()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The network configuration, with what Kubernetes would know of the pod.
    fn netconf(&self, actor: &Actor) -> Value {
        let ports = actor
            .named_ports
            .iter()
            .map(|(name, port)| json!({"name": name, "protocol": "TCP", "port": port}));
        let labels = actor.labels.iter().map(|(key, value)| json!({"key": key, "value": value}));
        json!({
            "cniVersion": "1.0.0",
            "name": "shop",
            "type": "calico",
            "nodename": NODE,
            "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"},
            "args": {"cni": {
                "labels": labels.collect::<Vec<_>>(),
                "serviceAccountName": if actor.account.is_empty() { "default" } else { actor.account },
                "ports": ports.collect::<Vec<_>>(),
            }},
        })
    }

    /// Everybody who sends and receives: the pods, then the host outside.
    pub fn parties(&self) -> anyhow::Result<Vec<Party>> {
        let pods = self.lab.pods().iter().zip(&PODS).map(|(pod, actor)| {
            let mut party = pod.party()?;
            actor.name.clone_into(&mut party.name);
            Ok(party)
        });
        pods.chain([self.lab.hosts()[self.outside].party()]).map(|party| Ok(party?)).collect()
    }

    /// Ends the agent as an administrator would.
    pub fn stop_agent(&mut self) -> anyhow::Result<()> {
        let status = self.lab.host_mut(self.node).stop(self.agent, Signal::SIGTERM)?;
        if !status.success() {
            bail!("the agent ended with {status}. Its log:\n{}", self.agent_log());
        }
        Ok(())
    }

    /// Leaves everything up.
    pub fn keep(self) -> anyhow::Result<()> {
        let Self { servers, lab, etcd, mut home, node: _, outside: _, agent: _ } = self;
        lab.keep()?;
        if let Some(server) = etcd {
            server.keep();
        }
        home.keep();
        servers.into_iter().for_each(Server::keep);
        Ok(())
    }
}

/// What a program said, on either stream.
fn text_of(output: &Output) -> String {
    let both = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)];
    both.join("\n").trim().to_owned()
}
