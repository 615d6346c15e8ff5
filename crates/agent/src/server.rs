//! The socket at which commands and CNI plugins ask: a connection each, a message each way.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use serde::Deserialize;
use tortie_api::endpoint::WorkloadEndpoint;
use tortie_api::event::Event;
use tortie_api::kind::ResourceKey;
use tortie_cni::transport::{self, Call};
use tortie_cni::{Context, Gate, Judging, Request, execute};
use tortie_netlink::Namespace;
use tortie_store::Datastore;
use tortie_store::ipam::Allocator;
use tortie_store::kubernetes::Kubernetes;
use tortie_store::resources::Client;

use crate::config::Settings;
use crate::monitors::spawn;
use crate::network::PodMtu;
use crate::protocol::{Question, Reply};
use crate::run::{Answer, Heard};
use crate::{Error, Result};

/// Threads that wait for connections when none is there: as many ask at a time before a thread is started for one.
const KEPT: usize = 4;
const STOPPING: &str = "the agent is stopping";
/// How long a connection may take to ask, and the loop to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the socket, for root alone. A socket that nobody answers at is a dead agent's.
///
/// # Errors
/// [`Error::Running`] if an agent answers there, [`Error::Socket`] otherwise.
pub fn listen(path: &Path) -> Result<UnixListener> {
    let failed = |source| Error::Socket { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(Error::Running { path: path.to_owned() });
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Answers whoever asks: the thread that takes a connection answers it, and sees to it that another one waits meanwhile.
///
/// # Errors
/// If no thread can be started.
pub fn serve(
    listener: UnixListener,
    store: Arc<dyn Datastore>,
    cluster: Option<Kubernetes>,
    settings: &Settings,
    pods: Arc<PodMtu>,
    heard: Sender<Heard>,
) -> Result<()> {
    let node = Arc::clone(&settings.node);
    let cluster = cluster.map(|cluster| Client::new(Arc::new(cluster)));
    let allocator = Allocator::new(store.deferred().unwrap_or_else(|| Arc::clone(&store)));
    attend(&Arc::new(Desk {
        listener,
        store,
        cluster,
        allocator,
        node,
        pods,
        heard,
        waiting: AtomicUsize::new(0),
    }))
}

/// What the threads of the socket share.
struct Desk {
    listener: UnixListener,
    store: Arc<dyn Datastore>,
    /// Kubernetes, where the store isn't its API.
    cluster: Option<Client>,
    allocator: Allocator,
    node: Arc<str>,
    pods: Arc<PodMtu>,
    heard: Sender<Heard>,
    /// Threads that wait for a connection, and those that are about to.
    waiting: AtomicUsize,
}

/// Starts a thread that waits for connections.
fn attend(desk: &Arc<Desk>) -> Result<()> {
    let at = Arc::clone(desk);
    desk.waiting.fetch_add(1, Ordering::Relaxed);
    let started = spawn("socket", move || {
        loop {
            let taken = at.listener.accept();
            if at.waiting.fetch_sub(1, Ordering::Relaxed) == 1
                && let Err(error) = attend(&at)
            {
                tracing::warn!(%error, "whoever asks now waits until this question is answered");
            }
            match taken {
                Ok((stream, _)) => answer(stream, &at),
                Err(error) => tracing::warn!(%error, "a connection was lost"),
            }
            if at.waiting.fetch_add(1, Ordering::Relaxed) >= KEPT {
                at.waiting.fetch_sub(1, Ordering::Relaxed);
                return;
            }
        }
    });
    if started.is_err() {
        desk.waiting.fetch_sub(1, Ordering::Relaxed);
    }
    started.map(drop)
}

fn answer(mut stream: UnixStream, desk: &Desk) {
    let timeouts =
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    if let Err(error) = timeouts {
        tracing::debug!(%error, "a connection was lost");
        return;
    }
    let (message, pod) = match transport::read_message(&mut stream) {
        Ok(read) => read,
        Err(error) => {
            tracing::debug!(%error, "nothing was asked");
            return;
        }
    };
    let written = match serde_json::from_slice(&message) {
        Ok(Asked::Question(question)) => give(&mut stream, &ask(&desk.heard, question)),
        Ok(Asked::Call(call)) => {
            let reply = attach(&call, pod, desk);
            transport::write_reply(&mut stream, &reply).map_err(std::io::Error::other)
        }
        Err(error) => {
            give(&mut stream, &Reply::Error(format!("that is neither a question nor a CNI call: {error}")))
        }
    };
    if let Err(error) = written {
        tracing::debug!(%error, "an answer did not arrive");
    }
}

/// What comes by the socket.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    Question(Question),
    Call(Call),
}

fn give(stream: &mut UnixStream, reply: &Reply) -> std::io::Result<()> {
    stream.write_all(&serde_json::to_vec(reply)?)
}

/// Does what a CNI plugin was called for.
fn attach(call: &Call, pod: Option<OwnedFd>, desk: &Desk) -> tortie_cni::Reply {
    let request = match Request::parse(call.plugin(), &call.environment, call.stdin.as_bytes()) {
        Ok(request) => request,
        Err(error) => return tortie_cni::Reply::error(&error, ""),
    };
    let client = Client::new(Arc::clone(&desk.store));
    let gate = AgentGate { heard: &desk.heard };
    let context = Context {
        client: &client,
        cluster: desk.cluster.as_ref(),
        gate: &gate,
        node: &desk.node,
        view: None,
        allocator: Some(&desk.allocator),
        mtu: &|| desk.pods.get(),
    };
    let pod = pod.map(|fd| Namespace::from_fd(fd, "the pod's namespace"));
    execute(&context, &request, pod.as_ref())
}

/// The agent's own table stands from its start; a pod is open when the loop says that its policy
/// is in the kernel.
struct AgentGate<'a> {
    heard: &'a Sender<Heard>,
}

impl Gate for AgentGate<'_> {
    fn close(&self) -> Result<(), String> {
        Ok(())
    }

    fn judge(&self, endpoint: WorkloadEndpoint) -> Result<Judging<'_>, String> {
        // The store's watch may have told of the endpoint before its interface was there.
        let link = Heard::Link(endpoint.spec.interface_name.clone());
        self.heard.send(link).map_err(|_| STOPPING.to_owned())?;
        let (answer, answered) = channel();
        let answer = Answer::new(move |reply| drop(answer.send(reply)));
        let written = Heard::Written(vec![Event::Upsert(endpoint.into())], answer);
        self.heard.send(written).map_err(|_| STOPPING.to_owned())?;
        Ok(Box::new(move || match answered.recv_timeout(PATIENCE) {
            Ok(Reply::Settled) => Ok(()),
            Ok(Reply::Error(refused)) => Err(refused),
            Ok(other) => Err(format!("the agent's loop answered {other:?}")),
            Err(_) => Err("the pod's policy is not in the kernel yet; the agent's log says why".to_owned()),
        }))
    }

    fn gone(&self, endpoint: &ResourceKey, _interface: &str) {
        // At once, not when the store's watch tells: its addresses may be given again in a moment.
        drop(self.heard.send(Heard::Events(vec![Event::Delete(endpoint.clone())])));
    }
}

/// Puts a question to the loop and waits for its answer.
fn ask(heard: &Sender<Heard>, question: Question) -> Reply {
    let (answer, answered) = channel();
    let answer = Answer::new(move |reply| drop(answer.send(reply)));
    if heard.send(Heard::Question(question, answer)).is_err() {
        return Reply::Error(STOPPING.to_owned());
    }
    answered
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Reply::Error("the agent's loop does not answer".to_owned()))
}
