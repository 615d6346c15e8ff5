//! The loop around [`Core`]: the one thread that writes to the kernel.
//!
//! First of all the closed table stands, before any route or neighbour could let a packet
//! through. Then threads listen (store, links, table, log, socket, web) and this one acts.

mod configured;
mod first;
mod judge;
mod pods;
mod ports;
mod report;
mod trace;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tortie_api::event::Event;
use tortie_calc::network::Pools;
use tortie_classify::lookup::Detail;
use tortie_dataplane::flat::{Op, PathId, Step, Tables};
use tortie_netlink::{nflog, sysctl};
use tortie_nft::flat::{Closed, Cursor, Flat, LogTarget, Settings as TableSettings};
use tortie_store::Datastore;
use tortie_store::resources::Client;

use crate::config::{Environment, Settings, Severity, Stored};
use crate::core::{Action, Core, Input, Outcome, Ticket, graph_config};
use crate::kubeconfig::{self, Wanted};
use crate::kubernetes::{Machine, Up};
use crate::ledger::{Ledger, RuleName};
use crate::network::{self, Start};
use crate::protocol::{Question, Reply};
use crate::{Error, Result, history, http, log, monitors, server, sys};
use configured::Configured;
use first::First;

/// How often a part of the kernel's table is read back, and how many of its elements.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// See [`CHECK_EVERY`].
const CHECK_AMOUNT: usize = 100;
/// The longest sleep of the loop: how soon it sees that it has been asked to stop.
const LONGEST_SLEEP: Duration = Duration::from_millis(200);

/// What the loop hears from the agent's threads.
#[derive(Debug)]
pub enum Heard {
    /// The store has changed.
    Events(Vec<Event>),
    /// The agent can't go on: where the store was is another one, or a start fails.
    Failed(Error),
    /// The store, which didn't answer at the start, says settings that only another start can take up.
    Anew,
    /// What a start needs of the store is done.
    Begun,
    /// A CNI plugin has written this to the store; it waits until it is in force.
    Written(Vec<Event>, Answer),
    /// A link came, changed or went.
    Link(String),
    /// Any link may have.
    AllLinks,
    /// Somebody else changed the table.
    Foreign(String),
    /// A Log rule sent a packet.
    Logged(nflog::Packet),
    /// An address of the web server can't be listened on yet, and why; or now it can.
    Unserved(String, Option<String>),
    /// A command asks.
    Question(Question, Answer),
}

/// How to answer whoever asked.
pub struct Answer(Box<dyn FnOnce(Reply) + Send>);

impl Answer {
    /// Calls `give` with the reply, from the loop's thread: it must not block.
    pub fn new(give: impl FnOnce(Reply) + Send + 'static) -> Self {
        Self(Box::new(give))
    }

    fn give(self, reply: Reply) {
        (self.0)(reply);
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Answer")
    }
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The store says settings that only another start can take up: the process is to begin anew, at once.
    Anew,
}

/// Runs the agent in the calling thread's network namespace until `stop`; `logged` is told what to log. `machine` is the node in
/// Kubernetes, if there is a cluster. What the agent put into the kernel stays and goes on judging. A store that doesn't answer
/// is waited for.
///
/// # Errors
/// What keeps it from starting. Later troubles are logged, counted and mended.
pub fn run(
    environment: &Environment,
    store: &Arc<dyn Datastore>,
    machine: Option<Machine>,
    stop: &AtomicBool,
    logged: &dyn Fn(Severity),
) -> Result<Ended> {
    sys::share_heap();
    let client = Client::new(Arc::clone(store));
    // Which interfaces are workloads' may stand in the store, so it is asked before the closed table is made.
    let mut is_unsure = false;
    let stored = Stored::read(&client, environment.node()).map_err(Error::from).unwrap_or_else(|error| {
        is_unsure = error.passes();
        tracing::warn!(%error, "the store does not answer: closing by what the environment says");
        Stored::new(environment.node())
    });
    let configured = Configured::new(environment, stored);
    let settings = &configured.resolved().settings.clone();
    logged(settings.severity);
    let (heard, hears) = channel();
    let first = First {
        client: client.clone(),
        environment: environment.clone(),
        machine: machine.clone(),
        unsure: is_unsure.then(|| configured.resolved().told.clone()),
        heard: heard.clone(),
    };
    first.take()?;
    let mut driver = Flat::open(TableSettings {
        interface_prefixes: settings.interface_prefixes.clone(),
        endpoint_to_host: settings.endpoint_to_host,
        log: settings.log,
        owned: settings.owned,
        vxlan_port: settings.network.vxlan_port,
        vxlan_of_workloads: settings.network.vxlan_of_workloads,
        ..TableSettings::default()
    })?;
    match driver.install_closed()? {
        Closed::Installed => {
            tracing::info!("closed: nothing passes to or from workloads until policy is known")
        }
        Closed::Judging => tracing::info!("the table of before goes on judging until policy is known"),
        Closed::Beside => tracing::info!(
            "the rules that Calico's agent has left judge until policy is known, and beside it until they are removed"
        ),
    }
    // Only now may packets be forwarded at all.
    sysctl::write("net/ipv4/ip_forward", "1")?;
    sysctl::write_if_present("net/ipv6/conf/all/forwarding", "1")?;

    let _kept = Wanted::of(environment, machine.as_ref())
        .map(|wanted| {
            let failed = heard.clone();
            kubeconfig::keep(wanted, move |error| drop(failed.send(Heard::Failed(error))))
        })
        .transpose()?;
    history::keep_short(client.clone())?;

    monitors::links(heard.clone())?;
    if !driver.is_owned() {
        // A listener makes every commit slower; an owned table nobody else can change.
        monitors::table(driver.monitor()?, heard.clone())?;
    }
    if let LogTarget::Group(group) = settings.log
        && let Err(error) = monitors::logged(group, heard.clone())
    {
        tracing::warn!(%error, group, "Log rules count, but their packets are not written to the log");
    }
    let network = Start::new(
        environment,
        client.clone(),
        settings.interface_prefixes.clone(),
        settings.network.clone(),
        machine.clone(),
    )?;
    let (network, pods) = network::start(network)?;
    http::serve(settings.health.as_deref(), settings.metrics.as_deref(), heard.clone())?;
    let socket = server::listen(&settings.socket)?;
    let cluster = machine.as_ref().filter(|_| !store.knows_pods()).map(Machine::cluster);
    server::serve(socket, Arc::clone(store), cluster.cloned(), settings, pods, heard)?;

    let mut agent = Agent {
        log_what: logged,
        client,
        core: Core::new(graph_config(&settings.node)),
        driver,
        ledger: Ledger::default(),
        settings: settings.clone(),
        configured,
        unserved: BTreeMap::new(),
        waiting: BTreeMap::new(),
        tickets: 0,
        logged: 0,
        mended: false,
        cursor: Cursor::default(),
        check_at: Instant::now() + CHECK_EVERY,
        heap_is_loose: false,
        begun: false,
        anew: false,
        failed: None,
        machine,
        up: None,
        network,
        pools: Pools::new(&settings.node, settings.network.pools),
    };
    let ended = agent.run(&hears, stop);
    if let Some(up) = agent.up {
        up.down();
    }
    drop(std::fs::remove_file(&settings.socket));
    ended
}

/// The loop's state.
struct Agent<'a> {
    log_what: &'a dyn Fn(Severity),
    client: Client,
    core: Core,
    driver: Flat,
    ledger: Ledger,
    /// What it runs with.
    settings: Settings,
    configured: Configured,
    /// Addresses that can't be listened on, and why.
    unserved: BTreeMap<String, String>,
    waiting: BTreeMap<Ticket, Answer>,
    tickets: u64,
    logged: u64,
    /// Whether the pods of before were looked at.
    mended: bool,
    cursor: Cursor,
    check_at: Instant,
    /// Whether an installation has left much memory that nobody uses.
    heap_is_loose: bool,
    /// What a start needs of the store is done.
    begun: bool,
    /// Another start is needed.
    anew: bool,
    /// Why it can't go on.
    failed: Option<Error>,
    /// The node in Kubernetes, and whether it was told to be up.
    machine: Option<Machine>,
    up: Option<Up>,
    /// Keeps the ways to other nodes.
    network: Sender<network::Told>,
    /// Those whose connections leave with the node's address.
    pools: Pools,
}

impl Agent<'_> {
    fn run(&mut self, hears: &Receiver<Heard>, stop: &AtomicBool) -> Result<Ended> {
        while !stop.load(Ordering::Relaxed) {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.anew {
                return Ok(Ended::Anew);
            }
            let now = Instant::now();
            let due = [self.core.deadline(), self.driver.next_retirement()].into_iter().flatten().min();
            let sleep =
                due.map_or(LONGEST_SLEEP, |due| due.saturating_duration_since(now).min(LONGEST_SLEEP));
            match hears.recv_timeout(sleep) {
                Ok(heard) => self.on_heard(heard),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.drain(hears);
            while let Some(action) = self.next() {
                self.act(action);
                // What came meanwhile goes into the next commit, not after it.
                self.drain(hears);
            }
            if !self.mended && self.is_ready() {
                self.mended = true;
                drop(self.network.send(network::Told::InForce));
                self.up = self.machine.as_ref().map(Up::tell).transpose()?;
                if let Err(error) =
                    pods::mend(self.core.classifier(), &self.client, self.pools.outgoing().ports)
                {
                    tracing::warn!(%error, "the pods of before were not looked at");
                }
            }
            if std::mem::take(&mut self.heap_is_loose) {
                sys::trim_heap();
            }
            if self.driver.next_retirement().is_some_and(|due| due <= Instant::now()) {
                if let Err(error) = self.driver.retire() {
                    tracing::warn!(%error, "a table that is no longer used could not be deleted yet");
                }
                self.heap_is_loose = self.driver.next_retirement().is_none();
            }
            self.check();
        }
        Ok(Ended::Stopped)
    }

    /// Whether pods that start can rely on it.
    fn is_ready(&self) -> bool {
        self.begun && self.core.is_ready()
    }

    fn next(&mut self) -> Option<Action> {
        let paths = self.core.expected_paths();
        self.driver.ahead(paths, || self.core.next(Instant::now()))
    }

    /// Reads a part of the table back, when nothing else is to be done. What differs is put right.
    fn check(&mut self) {
        if self.check_at > Instant::now() || !self.core.is_ready() {
            return;
        }
        self.check_at = Instant::now() + CHECK_EVERY;
        match self.driver.check_slice(&mut self.cursor, CHECK_AMOUNT) {
            Ok(drift) if drift.is_none() => {}
            Ok(drift) => {
                tracing::warn!(?drift, "the kernel's table is not as it was left: putting it right");
                self.core.on_input(Input::Drift);
            }
            Err(error) => {
                tracing::warn!(%error, "the kernel's table could not be read back");
                self.core.on_input(Input::Drift);
            }
        }
    }

    fn drain(&mut self, hears: &Receiver<Heard>) {
        while let Ok(heard) = hears.try_recv() {
            self.on_heard(heard);
        }
    }

    fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Events(events) => {
                let mut pools = false;
                for event in events {
                    self.on_configuration(&event);
                    pools |= self.pools.on_event(&event);
                    if network::concerns(&event) {
                        // It ends with this loop only.
                        drop(self.network.send(network::Told::Event(event.clone())));
                    }
                    self.core.on_input(Input::Event(event));
                }
                if pools {
                    self.lead_out();
                }
            }
            Heard::Failed(error) => self.failed = Some(error),
            Heard::Anew => self.anew = true,
            Heard::Begun => self.begun = true,
            Heard::Written(events, answer) => self.on_written(events, answer),
            Heard::Link(name) => self.look_at(&name),
            Heard::AllLinks => {
                let names: Vec<Arc<str>> = self.driver.tables().endpoints.keys().cloned().collect();
                names.iter().for_each(|name| self.look_at(name));
            }
            Heard::Foreign(change) => {
                tracing::warn!(change, "another process changed our table: putting it back");
                // While nothing is known yet nothing passes at least.
                if !self.core.is_in_sync()
                    && let Err(error) = self.driver.install_closed()
                {
                    tracing::error!(%error, "the table could not be closed");
                }
                self.core.on_input(Input::Drift);
            }
            Heard::Logged(packet) => self.log(&packet),
            Heard::Unserved(address, Some(error)) => drop(self.unserved.insert(address, error)),
            Heard::Unserved(address, None) => drop(self.unserved.remove(&address)),
            Heard::Question(question, answer) => match question {
                Question::Status => {
                    let status = self.status();
                    answer.give(Reply::Status(Box::new(status)));
                }
                Question::Judge { source, destination, protocol, port, icmp } => {
                    let detail = match (port, icmp) {
                        (Some(port), _) => Detail::Port(port),
                        (None, Some((icmp_type, code))) => Detail::Icmp { icmp_type, code },
                        (None, None) => Detail::Nothing,
                    };
                    answer.give(Reply::Verdict(Box::new(self.judge(source, destination, protocol, detail))));
                }
                Question::Trace { kind, name } => answer.give(Reply::Trace(self.trace(&kind, &name))),
                Question::Settle => self.wait(answer),
            },
        }
    }

    fn wait(&mut self, answer: Answer) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, answer);
        self.core.on_input(Input::Wait(ticket));
    }

    /// An interface came, changed or went: its index may be another one.
    fn look_at(&mut self, interface: &str) {
        if let Err(error) = self.driver.interface_changed(interface) {
            tracing::warn!(%error, interface, "an interface could not be taken in");
            self.core.on_input(Input::Drift);
        }
    }

    fn act(&mut self, action: Action) {
        let done = match action {
            Action::Install(tables) => self.install(tables),
            Action::Apply(step) => self.apply(&step),
            Action::Ready(tickets) => {
                for answer in tickets.iter().filter_map(|ticket| self.waiting.remove(ticket)) {
                    answer.give(Reply::Settled);
                }
                return;
            }
        };
        let outcome = match done {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::error!(%error, "the kernel refused; trying again from the start");
                Outcome::Failed
            }
        };
        self.core.on_done(Instant::now(), outcome);
    }

    fn install(&mut self, tables: Tables) -> Result<()> {
        // What goes with the old tables has counted, too.
        let counts = self.driver.counts().unwrap_or_default();
        let gone: Vec<PathId> =
            self.driver.tables().paths.keys().filter(|id| !tables.paths.contains_key(id)).copied().collect();
        for (id, path) in &tables.paths {
            self.ledger.add_path(*id, path, self.core.classifier());
        }
        self.driver.install(tables)?;
        self.heap_is_loose = true;
        for id in gone {
            let last = counts.get(&id).copied().unwrap_or_default();
            self.ledger.remove_path(id, last, self.core.classifier());
        }
        let sizes = self.core.classifier().sizes();
        tracing::info!(
            endpoints = sizes.endpoints,
            stacks = sizes.stacks,
            classes = sizes.classes,
            entries = sizes.entries,
            "policy is in force"
        );
        Ok(())
    }

    fn apply(&mut self, step: &Step) -> Result<()> {
        for op in &step.ops {
            if let Op::AddPath(id, path) = op {
                self.ledger.add_path(*id, path, self.core.classifier());
            }
        }
        let applied = self.driver.apply(step)?;
        for (id, last) in applied.final_counts {
            self.ledger.remove_path(id, last, self.core.classifier());
        }
        if applied.regenerated {
            tracing::info!("the tables were put in place anew: a map had to grow, or the kernel had drifted");
        }
        Ok(())
    }

    fn log(&mut self, packet: &nflog::Packet) {
        self.logged += 1;
        let rules = self.driver.logged_path(&packet.prefix).and_then(|path| {
            let path_rules = self.driver.tables().paths.get(&path)?;
            let classifier = self.core.classifier();
            Some(path_rules.logged.iter().map(|rule| RuleName::of(*rule, classifier)).collect::<Vec<_>>())
        });
        tracing::info!(target: "packet", "{}", log::line(&self.settings.log_prefix, &rules.unwrap_or_default(), packet));
    }
}
