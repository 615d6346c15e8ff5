//! A packet that a pod's first instruction sends is judged by policy: pods that send at once, by the hundred.
//!
//! Six sleeping pods are sent to, three on each node: to `open` all may, to `shut` only others may, and to `secret` the sender's own egress
//! policy doesn't let it. Without policy everything must arrive, or the test couldn't fail.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tortie_lab::raw::Capture;

use crate::kube::{IMAGE, Kube, PATIENCE, Pod, until};
use crate::print_percentiles;

const NAMESPACE: &str = "first";
/// How many run at a time.
const BATCH: u16 = 40;
/// How many run without policy.
const WITHOUT: u16 = 40;
/// How long another node may take to let a new pod's packets in.
const LIMIT: Duration = Duration::from_secs(1);
const ROLES: [&str; 3] = ["open", "shut", "secret"];

/// What a pod's packets came to, by receiver: how long after the pod's first instruction the first that arrived was sent.
type Arrivals = BTreeMap<(u16, usize), Duration>;

/// Who is sent to, in the order of the senders' arguments.
struct Receivers {
    pods: Vec<Pod>,
    captures: Vec<Capture>,
    nodes: Vec<String>,
}

/// See the module.
pub fn run(kube: &Kube, pods: u16) -> Result<()> {
    kube.namespace(NAMESPACE)?;
    let mut receivers = Receivers::build(kube)?;
    let mut arrivals = Arrivals::new();
    batch(kube, &mut receivers, 0..WITHOUT, &mut arrivals)?;
    let everything = usize::from(WITHOUT) * receivers.pods.len();
    ensure!(
        arrivals.len() == everything,
        "without policy {} of {everything} paths were open",
        arrivals.len()
    );
    println!("  without policy: {} leaks by {WITHOUT} pods are seen", everything * 2 / 3);

    kube.apply(&policies())?;
    // A pod that is there for it: once nothing of it arrives where it shouldn't, policy is in force on both nodes.
    until("policy is in force", PATIENCE, || {
        let mut trial = Arrivals::new();
        batch(kube, &mut receivers, 0..2, &mut trial)?;
        Ok((trial.keys().all(|(_, receiver)| ROLES[receiver % 3] == "open")).then_some(()))
    })?;
    let (mut arrivals, mut numbers) = (Arrivals::new(), 0);
    let began = Instant::now();
    while numbers < pods {
        let next = (numbers + BATCH).min(pods);
        batch(kube, &mut receivers, numbers..next, &mut arrivals)?;
        numbers = next;
    }
    println!("  {pods} pods in {:.0} s", began.elapsed().as_secs_f64());
    judge(&receivers, pods, &arrivals)?;
    kube.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=120s"]).map(drop)
}

/// No leak, no first packet lost on the own node, and the other node soon.
fn judge(receivers: &Receivers, pods: u16, arrivals: &Arrivals) -> Result<()> {
    let (mut leaks, mut dropped, mut late, mut other) = (0, 0, 0, Vec::new());
    for number in 0..pods {
        for receiver in 0..receivers.pods.len() {
            let arrived = arrivals.get(&(number, receiver));
            let is_own = receiver / ROLES.len() == receivers.node_of(number);
            match (ROLES[receiver % ROLES.len()], is_own, arrived) {
                ("open", true, Some(after)) if after.is_zero() => {}
                ("open", true, _) => dropped += 1,
                ("open", false, Some(after)) => {
                    late += usize::from(*after > LIMIT);
                    other.push(after.as_secs_f64() * 1000.0);
                }
                ("open", false, None) => late += 1,
                (_, _, Some(_)) => leaks += 1,
                (_, _, None) => {}
            }
        }
    }
    println!("  first_pods={pods}\n  first_leaks={leaks}\n  first_dropped_on_own_node={dropped}");
    print_percentiles("  first_allowed_on_other_node", "ms", &other);
    ensure!(
        leaks == 0 && dropped == 0 && late == 0,
        "{leaks} leaks, {dropped} dropped on their own node, {late} late on the other"
    );
    Ok(())
}

impl Receivers {
    fn build(kube: &Kube) -> Result<Self> {
        let nodes = kube.nodes()?;
        let names: Vec<(String, &str)> = (0..nodes.len())
            .flat_map(|node| ROLES.map(|role| (format!("{role}-{node}"), nodes[node].as_str())))
            .collect();
        let wanted: Vec<(&str, &str)> = names.iter().map(|(name, node)| (name.as_str(), *node)).collect();
        let pods = kube.sleepers(NAMESPACE, &wanted)?;
        let captures =
            pods.iter().map(|pod| Ok(Capture::at_interfaces(&pod.namespace)?)).collect::<Result<_>>()?;
        Ok(Receivers { pods, captures, nodes })
    }

    /// The number of the node that a sender runs on.
    fn node_of(&self, number: u16) -> usize {
        usize::from(number) % self.nodes.len()
    }

    fn drain(&mut self, arrivals: &mut Arrivals) -> Result<()> {
        for (receiver, capture) in self.captures.iter_mut().enumerate() {
            for packet in capture.drain()? {
                let number = u16::try_from(packet.cookie >> 48)?;
                let (index, after) = (packet.cookie >> 40 & 0xff, packet.cookie & 0xff_ffff_ffff);
                ensure!(index == receiver as u64, "a packet for receiver {index} came to {receiver}");
                let after = Duration::from_micros(after);
                let first = arrivals.entry((number, receiver)).or_insert(after);
                *first = after.min(*first);
            }
        }
        Ok(())
    }
}

/// Runs these pods to their end and takes them away.
fn batch(
    kube: &Kube,
    receivers: &mut Receivers,
    numbers: std::ops::Range<u16>,
    arrivals: &mut Arrivals,
) -> Result<()> {
    let addresses: Vec<String> = receivers.pods.iter().map(|pod| format!("'{}'", pod.addresses[0])).collect();
    let objects: Vec<String> = numbers
        .clone()
        .map(|number| {
            let node = &receivers.nodes[receivers.node_of(number)];
            format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: sender-{number}, namespace: {NAMESPACE}, labels: {{app: sender}}}}, spec: {{nodeName: {node}, \
                 automountServiceAccountToken: false, restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{IMAGE}', \
                 command: [/first, '{number}', {}]}}]}}}}",
                addresses.join(", ")
            )
        })
        .collect();
    kube.apply(&objects.join("\n---\n"))?;
    until("a batch of pods has run", PATIENCE, || {
        receivers.drain(arrivals)?;
        let phases = kube.kubectl(&[
            "-n",
            NAMESPACE,
            "get",
            "pods",
            "-l",
            "app=sender",
            "-o",
            "jsonpath={.items[*].status.phase}",
        ])?;
        let phases: Vec<&str> = phases.split_whitespace().collect();
        if let Some(strange) = phases.iter().find(|phase| **phase == "Failed" || **phase == "Unknown") {
            bail!("a pod's phase is {strange}");
        }
        Ok((phases.iter().filter(|phase| **phase == "Succeeded").count() == numbers.len()).then_some(()))
    })?;
    receivers.drain(arrivals).context("what came last")?;
    kube.kubectl(&["-n", NAMESPACE, "delete", "pods", "-l", "app=sender", "--wait"]).map(drop)
}

fn policies() -> String {
    let policy = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: {NAMESPACE}}}, spec: {{{spec}}}}}"
        )
    };
    let of = |role: &str| format!("{{key: app, operator: In, values: [{role}-0, {role}-1]}}");
    let from = |role: &str, who: &str| {
        format!(
            "podSelector: {{matchExpressions: [{}]}}, policyTypes: [Ingress], ingress: [{{from: [{{podSelector: {{matchLabels: {{app: {who}}}}}}}]}}]",
            of(role)
        )
    };
    [
        policy("open", &from("open", "sender")),
        policy("shut", &from("shut", "friend")),
        policy(
            "senders",
            "podSelector: {matchLabels: {app: sender}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchExpressions: [{key: app, operator: In, \
             values: [open-0, open-1, shut-0, shut-1]}]}}]}]",
        ),
    ]
    .join("\n---\n")
}
