//! `tortie-bench ipam`: addresses a second, each for a pod of its own, on the embedded store and on etcd.
//!
//! One worker asks for one address after the other; eight ask at the same time. All go through one [`Allocator`], as in an
//! agent. On the embedded store the agent's ADD waits for the disk once, at its end, so the figure is that of
//! addresses that all processes see and that are on the disk when the round ends; `ipam_embedded_full_...` waits for the disk
//! with each. Beside etcd's figures stand plain puts of small values to the same server by the same
//! client. (Calico 3.32 on etcd: 102 a second, with eight workers 182, puts 4,300 and 14,500.)

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use tortie_ipam::{AutoAssign, HandleId, Labels, Now, Pool, Repair, Reservations, View, auto_assign, check};
use tortie_store::embedded::{self, Embedded};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{self, Etcd};
use tortie_store::ipam::{Allocator, run as run_alone};
use tortie_store::{Datastore, Write};

use crate::figures;
use crate::objects::NODE;

/// How much is measured.
#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    /// Addresses of a round.
    #[arg(long, default_value_t = 1000)]
    pub addresses: usize,
    /// Rounds.
    #[arg(long, default_value_t = 11)]
    pub rounds: usize,
    /// Leave etcd out.
    #[arg(long)]
    pub embedded_only: bool,
}

/// Records of address management.
const RECORDS: &str = "/calico/ipam/v2/";
/// Keys of the plain puts.
const PUTS: &str = "/bench/";

/// What a round measured: requests a second, and the milliseconds of each.
pub struct Round {
    per_second: f64,
    times: Vec<f64>,
}

/// Rounds of one kind.
#[derive(Default)]
pub struct Case {
    rates: Vec<f64>,
    times: Vec<f64>,
}

impl Case {
    /// Adds one, and returns its requests a second.
    pub fn add(&mut self, round: Round) -> f64 {
        self.rates.push(round.per_second);
        self.times.extend(round.times);
        round.per_second
    }

    /// `NAME_per_sWORKERS` and so on.
    pub fn print(&self, name: &str, workers: &str) {
        figures::median(&format!("{name}_per_s{workers}"), &self.rates);
        figures::median(&format!("{name}_p50_ms{workers}"), &self.times);
        figures::quantile(&format!("{name}_p99_ms{workers}"), &self.times, 0.99);
    }
}

/// Measures and prints. All cases take turns.
///
/// # Errors
/// If a store fails, an address is given twice, or the records don't agree.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("tortie-bench-").tempdir()?;
    let full = Embedded::open(embedded::Options::new(directory.path().join("tortie.db")))?;
    let deferred = full.deferred().context("the embedded store has deferred writes")?;
    let mut stores: Vec<(&str, Arc<dyn Datastore>)> =
        vec![("ipam_embedded", deferred), ("ipam_embedded_full", Arc::new(full))];
    let server = match arguments.embedded_only {
        true => None,
        false => Some(Server::start(Start { directory: directory.path().join("etcd"), ..Start::default() })?),
    };
    if let Some(server) = &server {
        stores.push(("ipam_etcd", Arc::new(Etcd::open(etcd::Options::new(vec![server.endpoint()]))?)));
    }
    let mut cases: BTreeMap<(String, usize), Case> = BTreeMap::new();
    let mut ratios: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut measure =
        |name: &str, workers, round| cases.entry((name.to_owned(), workers)).or_default().add(round);
    for _ in 0..arguments.rounds {
        for workers in [1, 8] {
            for (name, store) in &stores {
                let rate = measure(name, workers, addresses(store, workers, arguments.addresses)?);
                if *name == "ipam_etcd" {
                    let puts = measure("etcd_put", workers, puts(store, workers, arguments.addresses)?);
                    ratios.entry(workers).or_default().push(rate / puts);
                }
            }
        }
    }
    println!("ipam_embedded_durability=on the disk at the end of the round");
    println!("ipam_embedded_full_durability=on the disk with each address");
    for ((name, workers), case) in &cases {
        case.print(name, suffix(*workers));
    }
    for (workers, ratios) in &ratios {
        figures::median(&format!("ipam_etcd_to_puts{}", suffix(*workers)), ratios);
    }
    Ok(())
}

/// What a figure's name ends with.
pub fn suffix(workers: usize) -> &'static str {
    if workers == 1 { "" } else { "_8" }
}

/// Takes addresses in an empty pool, and looks at what was given.
///
/// # Errors
/// If the store fails, an address is given twice, or the records don't agree.
pub fn addresses(store: &Arc<dyn Datastore>, workers: usize, count: usize) -> anyhow::Result<Round> {
    empty(&**store, RECORDS)?;
    let view = view()?;
    let allocator = Allocator::new(Arc::clone(store));
    let take = |pod: usize| -> anyhow::Result<IpAddr> {
        let got = allocator.run(auto_assign(Arc::clone(&view), now(), wanted(pod)))?;
        if let Some(error) = got.error {
            bail!("no address for pod {pod}: {error}");
        }
        let given = got.v4.and_then(|got| got.addresses.first().copied());
        Ok(given.with_context(|| format!("no address for pod {pod}"))?.addr())
    };
    let (round, given) = at_once(store, workers, count, take)?;
    let different: BTreeSet<IpAddr> = given.into_iter().collect();
    ensure!(different.len() == count, "{count} pods got {} addresses", different.len());
    let in_use = (0..count).map(handle).collect();
    let findings = run_alone(&**store, check(view, now(), Some(in_use), Repair::Report))??;
    ensure!(findings.is_empty(), "the records don't agree: {findings:?}");
    Ok(round)
}

fn puts(store: &Arc<dyn Datastore>, workers: usize, count: usize) -> anyhow::Result<Round> {
    empty(&**store, PUTS)?;
    let value = vec![b'x'; 200];
    let (round, _) =
        at_once(store, workers, count, |number| Ok(store.put(&format!("{PUTS}{number}"), &value)?))?;
    Ok(round)
}

/// Does it so many times, shared among workers, and waits for the disk.
fn at_once<T: Send>(
    store: &Arc<dyn Datastore>,
    workers: usize,
    count: usize,
    work: impl Fn(usize) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<(Round, Vec<T>)> {
    let one = |worker: usize| -> anyhow::Result<(Vec<f64>, Vec<T>)> {
        let (mut times, mut done) = (Vec::new(), Vec::new());
        for number in (worker..count).step_by(workers) {
            let since = Instant::now();
            done.push(work(number)?);
            times.push(since.elapsed().as_secs_f64() * 1e3);
        }
        Ok((times, done))
    };
    let since = Instant::now();
    let results: Vec<_> = std::thread::scope(|scope| {
        let one = &one;
        let started: Vec<_> = (0..workers).map(|worker| scope.spawn(move || one(worker))).collect();
        started.into_iter().map(|thread| thread.join()).collect()
    });
    store.persist()?;
    let per_second = count as f64 / since.elapsed().as_secs_f64();
    let (mut times, mut all) = (Vec::new(), Vec::new());
    for result in results {
        let Ok(result) = result else { bail!("a worker ended early") };
        let (of_one, done) = result?;
        times.extend(of_one);
        all.extend(done);
    }
    Ok((Round { per_second, times }, all))
}

fn empty(store: &dyn Datastore, prefix: &str) -> anyhow::Result<()> {
    let found = store.list_all(prefix)?.items;
    for chunk in found.chunks(store.most_writes()) {
        let deletions: Vec<Write> = chunk.iter().map(|item| Write::delete(&item.key, None)).collect();
        store.write_all(&deletions)?;
    }
    Ok(store.persist()?)
}

fn view() -> anyhow::Result<Arc<View>> {
    let object = json!({"metadata": {"name": "pool"}, "spec": {"cidr": "10.66.0.0/16"}});
    let pool = Pool::parse(&serde_json::from_value(object)?)?;
    let nodes = [(NODE.to_owned(), Labels::new())].into();
    Ok(Arc::new(View::new(vec![pool], Reservations::default(), nodes)))
}

fn handle(pod: usize) -> HandleId {
    HandleId::new(&format!("k8s-pod-network.{pod:064x}"))
}

/// As the CNI plugin asks for a pod.
fn wanted(pod: usize) -> AutoAssign {
    let attributes = [
        ("namespace", "default".to_owned()),
        ("node", NODE.to_owned()),
        ("pod", format!("pod-{pod}")),
        ("timestamp", "2026-11-23 00:19:55 +0000 UTC".to_owned()),
    ];
    AutoAssign {
        handle: Some(handle(pod)),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
        ..AutoAssign::workload(NODE)
    }
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
