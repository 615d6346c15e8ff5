//! `tortie demo`: a shop on this machine, with real pods, real policy and real packets.
//!
//! ```text
//!  stage   the lab, the agent, pods by the CNI plugin          shop    who and what, and the YAML
//!  measure every pair, every service, and the counters         expect  the same by `analysis`
//!  report  what is said                                        interrupt, home, server: what has to end with it
//! ```
//! The exit status is 0 only if every probe and every counter is what `analysis` says from the same store.

mod expect;
mod home;
mod interrupt;
mod measure;
mod report;
mod server;
mod shop;
mod stage;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use tortie_lab::matrix::Place;
use tortie_lab::{Outcome, Service};

use self::expect::{Expected, Oracle, differences};
use self::home::Home;
use self::interrupt::{Interrupt, Interrupted};
use self::measure::{Measured, Probes};
use self::report::{Report, millis, say};
use self::shop::{Actor, OUTSIDE, PODS};
use self::stage::{Attached, Stage};

/// Probes per cell and family while nothing is forbidden.
const ROUNDS_BEFORE: u16 = 1;
/// Probes per cell and family under policy.
const ROUNDS_AFTER: u16 = 2;

/// The arguments of `tortie demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Leave the lab up, and say how to enter a pod and what to try.
    #[arg(long)]
    keep: bool,
    /// Where the demo's objects are stored: in a file, or in an etcd that it starts.
    #[arg(long, value_enum, default_value_t = Store::Embedded)]
    datastore: Store,
    /// Remove a lab that was left up, or all of them.
    #[arg(long, conflicts_with = "keep", value_name = "LAB", num_args = 0..=1, default_missing_value = "")]
    remove: Option<String>,
    /// Expect what would be without this policy: a test's way to see that wrong expectations are found.
    #[arg(long, hide = true, value_name = "NAMESPACE/POLICY")]
    falsify: Option<String>,
    /// Answer in this network namespace until killed: what runs in the demo's pods.
    #[arg(long, hide = true, value_name = "SERVICES", value_delimiter = ',', value_parser = server::read_service)]
    respond: Vec<Service>,
}

/// Where the demo's objects are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Store {
    Embedded,
    Etcd,
}

/// Runs the demo, or what belongs to it.
///
/// # Errors
/// What kept it from being run to its end. Everything is removed then, too.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { keep, datastore, remove, falsify, respond } = arguments;
    if !respond.is_empty() {
        return server::respond(respond);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("the demo makes network namespaces: run it as root (nothing outside of them is changed)");
    }
    if let Some(lab) = remove {
        let removed = Home::remove_kept(lab)?;
        let what = if removed.is_empty() { "nothing was kept".to_owned() } else { removed.join(", ") };
        say(&format!("removed: {what}"));
        return Ok(ExitCode::SUCCESS);
    }
    let interrupt = Interrupt::listen()?;
    match perform(*keep, *datastore, falsify.as_deref(), &interrupt) {
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(interrupt::EXIT)),
        other => other,
    }
}

fn perform(
    keep: bool,
    datastore: Store,
    falsify: Option<&str>,
    interrupt: &Interrupt,
) -> anyhow::Result<ExitCode> {
    let since = Instant::now();
    let report = Report::new();
    let mut stage = build(report, datastore, interrupt)?;
    let services =
        PODS.iter().map(|actor| actor.serves).chain([OUTSIDE.1]).map(shop::Serves::services).collect();
    let mut probes = Probes::open(stage.parties()?, services, interrupt)?;

    report.heading("Before any policy. Rows send, columns receive: T TCP, U UDP, I ICMP echo, · dropped.");
    let before = Stretch::measure(&stage, &mut probes, ROUNDS_BEFORE, None, interrupt)?;
    before.show(report);

    let (said, took) = stage.apply(&stage.home().policy())?;
    report.heading(&format!(
        "tortie apply -f examples/shop: in force {} after the command ended.",
        millis(took)
    ));
    said.lines().for_each(|line| say(&format!("  {line}")));

    report.heading("After.");
    let after = Stretch::measure(&stage, &mut probes, ROUNDS_AFTER, falsify, interrupt)?;
    after.show(report);
    report.heading(
        "Who blocked what: probes sent, the rise of the rule's counter in the kernel, and the rule.",
    );
    report.blocked(&probes, &after.measured(), &after.families[0].expected);

    let wrong: Vec<String> =
        before.differences(&probes).into_iter().chain(after.differences(&probes)).collect();
    let cells = before.cells() + after.cells();
    let took = since.elapsed().as_secs_f64();
    let code = if wrong.is_empty() {
        report.success(&format!(
            "All {cells} cells and all their counters are what analysis predicts from the same store ({took:.1} s)."
        ));
        ExitCode::SUCCESS
    } else {
        report.failure(&format!("{} things are not what analysis predicts:", wrong.len()), &wrong);
        ExitCode::FAILURE
    };
    drop(probes);
    if keep {
        report::hints(&stage);
        stage.keep()?;
    } else {
        let pods = stage.remove_pods()?;
        stage.stop_agent()?;
        say(&format!("{pods} pods detached, agent stopped, lab removed. `tortie demo --keep` leaves it up."));
    }
    Ok(code)
}

/// The lab with everything in place and no policy.
fn build(report: Report, datastore: Store, interrupt: &Interrupt) -> anyhow::Result<Stage> {
    report.heading("A lab of network namespaces on this machine; nothing else is touched.");
    let mut stage = Stage::build()?;
    report.fact(
        "lab",
        &format!("{}: one node, six pods, and a host on the fabric without agent", stage.lab().id()),
    );
    if datastore == Store::Etcd {
        stage.start_etcd()?;
    }
    let took = stage.start_agent(interrupt)?;
    report.fact(
        "agent",
        &format!("process {} in the node's namespace, ready after {}", stage.agent(), millis(took)),
    );
    stage.apply(&stage.home().ground())?;
    report.fact("store", &format!("{}: two pools, three namespaces", stage.describe_store()));
    for actor in &PODS {
        interrupt.check()?;
        let Attached { interface, addresses, took } = stage.add_pod(actor)?;
        let Actor { namespace, name, .. } = actor;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(" ");
        report.fact(
            &format!("{namespace}/{name}"),
            &format!("{addresses:22} {interface}, by CNI in {}", millis(took)),
        );
    }
    stage.start_outside()?;
    report
        .fact(OUTSIDE.0, &format!("{} no pod: GlobalNetworkSet payment-provider names it", stage.outside()));
    Ok(stage)
}

/// One measurement in both families, with what was expected.
struct Stretch {
    families: [Family; 2],
}

struct Family {
    name: &'static str,
    measured: Measured,
    expected: BTreeMap<Place, Expected>,
}

impl Stretch {
    fn measure(
        stage: &Stage,
        probes: &mut Probes,
        rounds: u16,
        falsify: Option<&str>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let oracle = stage.with_store(|store| Oracle::read(store, stage.node_addresses(), falsify))?;
        let mut family = |ipv4| -> anyhow::Result<Family> {
            let measured = probes.measure(stage, ipv4, rounds, interrupt)?;
            let expect = |place| Ok((place, oracle.expect(probes.parties(), place, ipv4)?));
            let expected = probes.places().map(expect).collect::<anyhow::Result<_>>()?;
            Ok(Family { name: if ipv4 { "IPv4" } else { "IPv6" }, measured, expected })
        };
        let families = [family(true)?, family(false).context("IPv6")?];
        Ok(Self { families })
    }

    fn measured(&self) -> [&Measured; 2] {
        self.families.each_ref().map(|family| &family.measured)
    }

    fn cells(&self) -> usize {
        self.measured().iter().map(|measured| measured.matrix.cells.len()).sum()
    }

    /// The matrix; of both families only if they differ.
    fn show(&self, report: Report) {
        let [ipv4, ipv6] = self.measured();
        report.matrix(&ipv4.matrix);
        if ipv4.matrix != ipv6.matrix {
            say("  IPv6 differs:");
            report.matrix(&ipv6.matrix);
        }
        let (blocked, cells) = (ipv4.matrix.count(Outcome::Blocked), ipv4.matrix.cells.len());
        let probes = 2 * cells as u64 * ipv4.rounds;
        say(&format!("  {blocked} of {cells} cells blocked; {probes} probes over IPv4 and IPv6."));
    }

    fn differences(&self, probes: &Probes) -> Vec<String> {
        let named = |family: &Family| {
            let found = differences(probes, &family.measured, &family.expected);
            found.into_iter().map(|difference| format!("{}: {difference}", family.name)).collect::<Vec<_>>()
        };
        self.families.iter().flat_map(named).collect()
    }
}
