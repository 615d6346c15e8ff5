//! A node in a lab, with the real agent and a database of its own, or an etcd or Kubernetes API that it starts.
//!
//! The programs are those beside this one (`tortie`), as `make bench` builds them. The database is in the directory
//! for temporary files; its durability is what `TORTIE_DATABASE_SYNC` says, else `full`: each write waits for that
//! disk, as each of etcd's does. Servers listen on the loopback of the node's namespace: who speaks with it is there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tortie_agent::protocol::{Question, Reply, ask};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_lab::{Lab, Role};
use tortie_netlink::Rtnetlink;
use tortie_netlink::rtnetlink::LinkRef;
use tortie_nft::object::TableId;
use tortie_nft::{Batch, Client as Tables};
use tortie_store::embedded::{Embedded, Options};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Etcd, Options as Settings};
use tortie_store::kubernetes::{Kubernetes, server as kubernetes};
use tortie_store::resources::Client;
use tortie_store::{Datastore, MOST_WRITES, Write, keys};

use crate::objects::NODE;

/// Names what a write has outlived when it returns: `full` or `normal`.
const DURABILITY: &str = "TORTIE_DATABASE_SYNC";
/// For how long an agent may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a starting agent is asked.
const POLL: Duration = Duration::from_micros(500);

/// What a write to the measured databases has outlived when it returns.
pub fn durability() -> String {
    std::env::var(DURABILITY).unwrap_or_else(|_| "full".to_owned())
}

/// Where a node's objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kept {
    /// In a file.
    Embedded,
    /// In an etcd.
    Etcd,
    /// In a Kubernetes API, whose programs `make kube` builds.
    #[value(skip)]
    Kubernetes,
}

/// What keeps them.
enum Keeper {
    Embedded(Embedded),
    Etcd(Server),
    Kubernetes(kubernetes::Server),
}

/// The node. Ends its agent and removes everything when dropped.
pub struct Node {
    /// Its network.
    pub lab: Lab,
    /// Its place among the lab's hosts.
    pub place: usize,
    /// Its store; on etcd for who is [`Node::inside`].
    pub client: Client,
    keeper: Keeper,
    directory: TempDir,
    tortie: PathBuf,
    agent: Option<u32>,
}

impl Node {
    /// A node without pods or agent, with a database.
    ///
    /// # Errors
    /// If the lab or the database can't be made, or `tortie` isn't beside this program.
    pub fn create() -> anyhow::Result<Self> {
        Self::keeping(Kept::Embedded)
    }

    /// A node without pods or agent.
    ///
    /// # Errors
    /// If the lab or the store can't be made, or `tortie` isn't beside this program.
    pub fn keeping(kept: Kept) -> anyhow::Result<Self> {
        let tortie = std::env::current_exe()?.with_file_name("tortie");
        if !tortie.exists() {
            bail!("{} is not there: build it first (make bench does)", tortie.display());
        }
        let mut lab = Lab::create()?;
        let place = lab.add_host(NODE, Role::Node)?;
        let directory = tempfile::Builder::new().prefix("tortie-bench-").tempdir()?;
        let inside = lab.hosts()[place].namespace();
        let (store, keeper): (Arc<dyn Datastore>, _) = match kept {
            Kept::Embedded => {
                let path = directory.path().join("tortie.db").to_string_lossy().into_owned();
                let store = Embedded::open(Options::from_settings(|name| match name {
                    "TORTIE_DATABASE" => Some(path.clone()),
                    _ => std::env::var(name).ok(),
                })?)?;
                (Arc::new(store.clone()), Keeper::Embedded(store))
            }
            Kept::Etcd => {
                Rtnetlink::open_in(inside)?.set_up(LinkRef::Name("lo"))?;
                let start = Start { directory: directory.path().join("etcd"), ..Start::default() };
                let server = inside.run(|| Server::start(start))??;
                (Arc::new(Etcd::open(Settings::new(vec![server.endpoint()]))?), Keeper::Etcd(server))
            }
            Kept::Kubernetes => {
                Rtnetlink::open_in(inside)?.set_up(LinkRef::Name("lo"))?;
                let start =
                    kubernetes::Start { directory: directory.path().join("kube"), ..Default::default() };
                let server = inside.run(|| cluster(&tortie, start))??;
                (Arc::new(Kubernetes::open(server.options()?)?), Keeper::Kubernetes(server))
            }
        };
        let client = Client::new(store);
        inside.run(|| client.ensure_initialized())??;
        Ok(Self { lab, place, client, keeper, directory, tortie, agent: None })
    }

    /// Does it in the node's network namespace.
    ///
    /// # Errors
    /// Its own, or if the namespace can't be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        self.lab.hosts()[self.place].namespace().run(work)?
    }

    /// The program that is measured.
    pub fn tortie(&self) -> &Path {
        &self.tortie
    }

    /// Where the agent answers.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// The API server's own etcd, for who is [`Node::inside`].
    ///
    /// # Errors
    /// If there is none.
    pub fn registry(&self) -> anyhow::Result<Etcd> {
        let Keeper::Kubernetes(server) = &self.keeper else { bail!("the node has no Kubernetes API") };
        Ok(Etcd::open(Settings::new(vec![server.etcd().endpoint()]))?)
    }

    /// The process of the agent.
    ///
    /// # Errors
    /// If none was started.
    pub fn agent(&self) -> anyhow::Result<u32> {
        self.agent.context("no agent was started")
    }

    /// A call of `tortie` with this node's settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.tortie);
        command.env_clear().env("NODENAME", NODE).env("TORTIE_SOCKET", self.socket()).stdin(Stdio::null());
        match &self.keeper {
            Keeper::Embedded(store) => {
                command.env("DATASTORE_TYPE", "embedded").env("TORTIE_DATABASE", store.path())
            }
            Keeper::Etcd(server) => {
                command.env("DATASTORE_TYPE", "etcdv3").env("ETCD_ENDPOINTS", server.endpoint().to_string())
            }
            Keeper::Kubernetes(server) => {
                command.env("DATASTORE_TYPE", "kubernetes").env("KUBECONFIG", server.kubeconfig())
            }
        };
        if let Ok(durability) = std::env::var(DURABILITY) {
            command.env(DURABILITY, durability);
        }
        command
    }

    /// Starts the agent and waits until all that the store holds is in the kernel; returns how long that took.
    ///
    /// # Errors
    /// With the agent's log, if it doesn't get there.
    pub fn start(&mut self) -> anyhow::Result<Duration> {
        let log = self.directory.path().join("agent.log");
        let mut command = self.command();
        command.arg("agent").stdout(Stdio::null()).stderr(File::create(&log)?);
        let since = Instant::now();
        self.agent = Some(self.lab.host_mut(self.place).spawn(&mut command)?);
        while self.settle().is_err() {
            if since.elapsed() > PATIENCE {
                bail!("the agent is not ready after {PATIENCE:?}:\n{}", std::fs::read_to_string(log)?);
            }
            std::thread::sleep(POLL);
        }
        Ok(since.elapsed())
    }

    /// Waits until all that the store holds by now is in the kernel.
    ///
    /// # Errors
    /// If the agent doesn't answer.
    pub fn settle(&self) -> anyhow::Result<()> {
        match ask(&self.socket(), &Question::Settle)? {
            Reply::Settled => Ok(()),
            other => bail!("the agent answers {other:?}"),
        }
    }

    /// Ends the agent by a signal. Its table stays.
    ///
    /// # Errors
    /// If there is none.
    pub fn stop(&mut self, signal: Signal) -> anyhow::Result<()> {
        let agent = self.agent.take().context("no agent was started")?;
        self.lab.host_mut(self.place).stop(agent, signal)?;
        Ok(())
    }

    /// Deletes the table that an agent left, as if the machine had just started.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn forget_table(&self) -> anyhow::Result<()> {
        let mut tables = self.lab.hosts()[self.place].namespace().run(Tables::open)??;
        let mut batch = Batch::new(&TableId::inet("tortie"));
        batch.destroy_table();
        Ok(tables.commit(batch)?)
    }

    /// Writes objects, whatever is there: to the database in one transaction.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn put(&self, objects: &[(ResourceKey, Value)]) -> anyhow::Result<()> {
        let items: Vec<(String, Vec<u8>)> = objects
            .iter()
            .map(|(key, object)| (keys::resource(key), object.to_string().into_bytes()))
            .collect();
        if let Keeper::Embedded(store) = &self.keeper {
            store.put_many(items.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
            return Ok(());
        }
        let writes: Vec<Write> = items.iter().map(|(key, value)| Write::put(key, value)).collect();
        self.inside(|| {
            for part in writes.chunks(MOST_WRITES) {
                self.client.store().write_all(part)?;
            }
            Ok(())
        })
    }
}

/// A Kubernetes API with Calico's kinds and a node.
fn cluster(tortie: &Path, start: kubernetes::Start) -> anyhow::Result<kubernetes::Server> {
    let server = kubernetes::Server::start(start)?;
    let kinds = Command::new(tortie).arg("crds").output().context("tortie crds")?;
    server.kubectl(&["apply", "--server-side", "-f", "-"], std::str::from_utf8(&kinds.stdout)?)?;
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], "")?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    server.kubectl(&["create", "-f", "-"], &node.to_string())?;
    Ok(server)
}

/// An object as it is stored.
pub fn stored(kind: Kind, namespace: &str, name: &str, labels: &Value, spec: &Value) -> (ResourceKey, Value) {
    let metadata = match namespace {
        "" => json!({"name": name, "labels": labels}),
        _ => json!({"name": name, "namespace": namespace, "labels": labels}),
    };
    let object = json!({
        "kind": kind.name(), "apiVersion": "projectcalico.org/v3", "metadata": metadata, "spec": spec,
    });
    (ResourceKey { kind, namespace: namespace.into(), name: name.into() }, object)
}
