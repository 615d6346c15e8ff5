//! The API server, or the etcd of Calico's objects, is away for a minute: traffic and enforcement don't notice, pods wait, and all is as it should be a second after.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::kube::{Kube, PATIENCE, processes_of, until, words};
use crate::policy::LIMIT;
use crate::stage::{NAMESPACE, Stage, door, ensure_as_expected, go_on};
use crate::streams::{ASKED, Stream};

/// Every other millisecond a flow.
const EVERY: Duration = Duration::from_millis(2);
/// A minute of flows.
const MINUTE: u32 = 30_000;

/// The datastore's server is killed, and started again with its own words after a minute. A pod whose sandbox died meanwhile waits for it.
pub fn api(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    let late = kube.sleepers(NAMESPACE, &[("late", &stage.nodes[1])])?.remove(0);
    let mut server = Stopped::kill(kube, if kube.is("etcd") { "calico-etcd" } else { "kube-apiserver" })?;
    let streams = stage.streams(EVERY)?;
    let dead = processes_of(&late.uid)?;
    ensure!(!dead.is_empty(), "the late pod has no processes");
    for process in &dead {
        kill(Pid::from_raw(*process), Signal::SIGKILL)?;
    }
    go_on(&streams, MINUTE)?;
    let ran = processes_of(&late.uid)?.len();
    println!("  {} flows without {}, none lost, none leaked", ensure_as_expected(streams)?, server.name);
    ensure!(ran < dead.len(), "the late pod runs, although nobody could say what it may do");
    server.start_again()?;
    until("the datastore is ready", PATIENCE, || {
        let is_ready = kube.kubectl(&["get", "--raw", "/readyz"]).is_ok() && kube.handles().is_ok();
        Ok(is_ready.then_some(()))
    })?;
    let ready = Instant::now();
    let after = enforced(kube, &stage, || kube.apply(&door(false)).map(drop))?;
    println!("  api_return_enforced_ms={:.0}", after.as_secs_f64() * 1000.0);
    ensure!(after <= LIMIT, "a policy was enforced {after:?} after the apply");
    until(
        "the late pod runs",
        PATIENCE,
        || Ok((processes_of(&late.uid)?.len() >= dead.len()).then_some(())),
    )?;
    println!("  api_return_pod_s={:.1}", ready.elapsed().as_secs_f64());
    stage.strike(kube)
}

/// Packets between the nodes and the API server vanish for a minute; policy that was written meanwhile holds a second after.
pub fn cut(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    let streams = stage.streams(EVERY)?;
    go_on(&streams, 100)?;
    let cut = Cut::make(kube)?;
    go_on(&streams, MINUTE)?;
    println!(
        "  {} flows without a way to the API server, none lost, none leaked",
        ensure_as_expected(streams)?
    );
    // By the control plane's loopback.
    kube.apply(&door(false))?;
    let after = enforced(kube, &stage, || {
        drop(cut);
        Ok(())
    })?;
    println!("  cut_return_enforced_ms={:.0}", after.as_secs_f64() * 1000.0);
    ensure!(after <= LIMIT, "a policy was enforced {after:?} after the way was free");
    stage.strike(kube)
}

/// From the end of what is done until the door is shut on both nodes.
fn enforced(kube: &Kube, stage: &Stage, act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let mut streams = Vec::new();
    for to in [&stage.near, &stage.far] {
        streams.extend(Stream::start_each(&stage.client, to, ASKED, Duration::from_millis(1))?);
    }
    streams.iter().try_for_each(|stream| stream.go_on(100))?;
    act()?;
    let acted = Instant::now();
    streams[0].go_on(2 * u32::try_from(LIMIT.as_millis())?)?;
    let end = Instant::now();
    let mut longest = Duration::ZERO;
    for stream in streams {
        let seen = stream.stop()?;
        longest = longest
            .max(seen.settled(acted, end, false).context("the policy is not in force after two seconds")?);
    }
    let agents = ["-n", "kube-system", "logs", "-l", "k8s-app=tortie-node", "-c", "agent", "--tail=4"];
    if longest > LIMIT {
        println!("{}", kube.kubectl(&agents)?);
    }
    Ok(longest)
}

/// A daemon of the control plane that was killed, and its words. It comes back also if what was tried meanwhile fails.
struct Stopped<'a> {
    kube: &'a Kube,
    name: &'static str,
    /// None once it runs again.
    words: Vec<String>,
}

impl<'a> Stopped<'a> {
    fn kill(kube: &'a Kube, name: &'static str) -> Result<Self> {
        let process = kube.started(name)?;
        let text = std::fs::read_to_string(format!("/proc/{process}/cmdline")).context(name)?;
        let words: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
        ensure!(
            words
                .first()
                .is_some_and(|program| name.rsplit('-').next().is_some_and(|end| program.ends_with(end))),
            "{process} isn't {name}: {words:?}"
        );
        kill(process, Signal::SIGKILL)?;
        let stopped = Stopped { kube, name, words };
        until("it has ended", PATIENCE, || Ok(kill(process, None).is_err().then_some(())))?;
        Ok(stopped)
    }

    /// As `kube-lab/lib.sh` does it, so that its scripts find it.
    fn start_again(&mut self) -> Result<()> {
        let words = std::mem::take(&mut self.words);
        let Some((program, arguments)) = words.split_first() else {
            return Ok(());
        };
        let file = self.kube.started_file(self.name);
        let log = file.with_file_name("../log").join(format!("{}.log", self.name));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        let mut command = self.kube.in_control(Path::new(program));
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // It outlives this program, as it did before.
        let child = command.spawn()?;
        std::fs::write(&file, format!("{}\n", child.id()))?;
        Ok(())
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.start_again() {
            eprintln!("{} stays away: {error:#}", self.name);
        }
    }
}

/// The way between nodes and API server, cut without a word.
struct Cut<'a>(&'a Kube);

impl<'a> Cut<'a> {
    fn make(kube: &'a Kube) -> Result<Self> {
        let cut = Cut(kube);
        let rules = "add table ip cut\nadd chain ip cut in { type filter hook input priority -300; }\nadd chain ip cut out { type filter hook output \
                     priority -300; }\nadd rule ip cut in iifname eth0 meta l4proto tcp drop\nadd rule ip cut out oifname eth0 meta l4proto tcp drop";
        words(cut.nft(rules))?;
        Ok(cut)
    }

    fn nft(&self, rules: &str) -> Command {
        let mut command = self.0.in_control(Path::new("nft"));
        command.arg(rules);
        command
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        // What can't be taken away goes with the namespace.
        let _ = words(self.nft("delete table ip cut"));
    }
}
