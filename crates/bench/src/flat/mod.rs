//! `tortie-bench flat`: what policy costs a new connection, whatever the number of rules.
//!
//! ```text
//!  client pod --caliclient-- node --caliserver-- server pod
//!                             | connection tracking only | flat, N rules | Calico's shape, N rules
//! ```
//! All tables are loaded once and sleep (dormant: no hook calls them) but for the one that is measured; each round
//! measures each once. Ratios and differences are to connection tracking only, of the same round; `flat_added_share`
//! is the added time as a share of all that a new flow costs there, which a busy machine changes less than nanoseconds.
//! `flat_added_...` is of flows to ports that are open to everyone, where one lookup a side decides; `flat_label_...`
//! of flows to ports that are open to the other side by its label, where its class is looked up too.

mod linear;
mod load;
mod rules;
mod tables;

use std::time::Duration;

use anyhow::{Context as _, bail};
use tortie_lab::{Lab, Role};
use tortie_netlink::{Conntrack, Namespace, Protocol, Rtnetlink, Socket};
use tortie_nft::expression::{Expression, Verdict};
use tortie_nft::flat::{Flat, Ownership, Settings};
use tortie_nft::object::{Chain, Family, HookPoint, Rule, TableId};
use tortie_nft::{Batch, Client, Place};

use crate::figures;

/// How much is measured.
#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    /// Rounds; the first one more only warms up.
    #[arg(long, default_value_t = 41)]
    pub rounds: usize,
    /// Numbers of rules on the receiver.
    #[arg(long, value_delimiter = ',', default_value = "0,10,100,1000,10000")]
    pub rules: Vec<usize>,
    /// Leave Calico's shape out.
    #[arg(long)]
    pub flat_only: bool,
    /// Milliseconds of TCP connections in each slice.
    #[arg(long, default_value_t = 100)]
    pub milliseconds: u64,
    /// UDP flows of a slice.
    #[arg(long, default_value_t = 16_384)]
    pub flows: u16,
}

/// A sleeping table bit of the kernel's (`NFT_TABLE_F_DORMANT`).
const DORMANT: u32 = 1;
/// `ct state` bits.
const INVALID: u32 = 1;
const ESTABLISHED_OR_RELATED: u32 = 6;

/// A table that judges, and what was measured with it.
struct Case {
    name: &'static str,
    rules: usize,
    table: TableId,
    /// UDP flows of a slice; 0: they are not measured.
    flows: u16,
    rates: Vec<f64>,
    nanoseconds: Vec<f64>,
    /// The same of flows that are allowed by label.
    label_nanoseconds: Vec<f64>,
}

/// What a table cost in one round.
struct Measured {
    /// TCP connections a second.
    rate: f64,
    /// Nanoseconds per UDP flow.
    nanoseconds: f64,
    /// The same of flows that are allowed by label.
    label_nanoseconds: f64,
}

/// Measures and prints.
///
/// # Errors
/// If something can't be set up, or packets don't arrive.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut lab = Lab::create()?;
    let node = lab.add_host("node", Role::Node)?;
    let mut wire = |name: &str, interface: &str, address: std::net::Ipv4Addr| -> anyhow::Result<usize> {
        let pod = lab.add_pod(name)?;
        lab.wire(pod, node, interface, &[address.into()])?;
        Ok(pod)
    };
    let sender = wire("client", rules::CLIENT_INTERFACE, rules::CLIENT)?;
    let receiver = wire("server", rules::SERVER_INTERFACE, rules::SERVER)?;
    let (sender, receiver) = (lab.pods()[sender].namespace(), lab.pods()[receiver].namespace());
    let _mute = load::serve(receiver)?;
    let mut bench = Bench::new(lab.hosts()[node].namespace(), sender)?;
    let mut cases = bench.load(arguments)?;
    for round in 0..=arguments.rounds {
        for place in 0..cases.len() {
            let place = (place + round) % cases.len();
            let measured = bench.measure(&cases[place], arguments.milliseconds)?;
            if round > 0 {
                cases[place].rates.push(measured.rate);
                cases[place].nanoseconds.push(measured.nanoseconds);
                cases[place].label_nanoseconds.push(measured.label_nanoseconds);
            }
        }
    }
    report(&cases);
    Ok(())
}

fn report(cases: &[Case]) {
    let Some((base, others)) = cases.split_first() else { return };
    figures::median("tracking_connections_per_s", &base.rates);
    figures::median("tracking_ns", &base.nanoseconds);
    for case in others {
        let pairs = |of: &[f64], base: &[f64], with: fn(f64, f64) -> f64| -> Vec<f64> {
            of.iter().zip(base).map(|(own, base)| with(*own, *base)).collect()
        };
        let ratios = pairs(&case.rates, &base.rates, |own, base| own / base);
        figures::median(&format!("{}_connections_{}", case.name, case.rules), &ratios);
        // Packets of another protocol than the rules' cost Calico's shape less than what it is compared by.
        if case.flows > 0 {
            for (kind, own, base) in [
                ("added", &case.nanoseconds, &base.nanoseconds),
                ("label_added", &case.label_nanoseconds, &base.label_nanoseconds),
            ] {
                let added = pairs(own, base, |own, base| own - base);
                figures::median(&format!("{}_{kind}_ns_{}", case.name, case.rules), &added);
                let share = pairs(own, base, |own, base| own / base - 1.0);
                figures::median(&format!("{}_{kind}_share_{}", case.name, case.rules), &share);
            }
        }
    }
}

/// The node and its sockets.
struct Bench<'a> {
    node: &'a Namespace,
    sender: &'a Namespace,
    client: Client,
    connections: Conntrack,
    control: Socket,
    /// The drivers, so that nothing of theirs ends.
    flat: Vec<Flat>,
}

impl<'a> Bench<'a> {
    fn new(node: &'a Namespace, sender: &'a Namespace) -> anyhow::Result<Self> {
        Ok(Bench {
            node,
            sender,
            client: node.run(Client::open)??,
            connections: Conntrack::open_in(node)?,
            control: node.run(|| Socket::open(Protocol::Netfilter))??,
            flat: Vec::new(),
        })
    }

    /// All tables, asleep; connection tracking only is the first.
    fn load(&mut self, arguments: &Arguments) -> anyhow::Result<Vec<Case>> {
        let Arguments { rounds: _, rules, flat_only, milliseconds: _, flows } = arguments;
        let case = |name, rules, table, flows| Case {
            name,
            rules,
            table,
            flows,
            rates: Vec::new(),
            nanoseconds: Vec::new(),
            label_nanoseconds: Vec::new(),
        };
        let table = TableId { family: Family::Inet, name: "tracking".to_owned() };
        self.tracking_only(&table)?;
        let mut cases = vec![case("tracking", 0, table, *flows)];
        for count in rules {
            let table = TableId::inet(&format!("flat-{count}"));
            let settings = Settings { table: table.clone(), owned: Ownership::Never, ..Settings::default() };
            let mut flat = self.node.run(|| Flat::open(settings))??;
            flat.install(tables::tables(*count)?).with_context(|| format!("loading {table}"))?;
            self.flat.push(flat);
            cases.push(case("flat", *count, table, *flows));
        }
        let mut links = Rtnetlink::open_in(self.node)?;
        let interfaces = [links.index_of(rules::CLIENT_INTERFACE)?, links.index_of(rules::SERVER_INTERFACE)?];
        for count in rules.iter().filter(|_| !flat_only) {
            let table = TableId { family: Family::Ipv4, name: format!("linear-{count}") };
            linear::load(&mut self.client, &table, *count, interfaces)
                .with_context(|| format!("loading {table}"))?;
            cases.push(case("linear", *count, table, 0));
        }
        for case in &cases {
            self.set_flags(&case.table, DORMANT)?;
        }
        Ok(cases)
    }

    fn tracking_only(&mut self, table: &TableId) -> anyhow::Result<()> {
        let mut batch = Batch::new(table);
        batch.add_table(0, "benchmark");
        batch.add_chain(&Chain::base("forward", HookPoint::Forward, 0));
        for rule in tracking() {
            batch.add_rule("forward", &rule, Place::End);
        }
        Ok(self.client.commit(batch)?)
    }

    fn set_flags(&mut self, table: &TableId, flags: u32) -> anyhow::Result<()> {
        let mut batch = Batch::new(table);
        batch.add_table(flags, "benchmark");
        self.client.commit(batch).with_context(|| format!("flags {flags} of table {table}"))
    }

    /// What it costs while this table judges.
    fn measure(&mut self, case: &Case, milliseconds: u64) -> anyhow::Result<Measured> {
        self.set_flags(&case.table, 0)?;
        self.forget()?;
        let rate = load::connections(self.sender, Duration::from_millis(milliseconds))
            .with_context(|| case.table.to_string())?;
        let nanoseconds = self.flows(case, rules::PORTS)?;
        let label_nanoseconds = self.flows(case, rules::LABEL_PORTS)?;
        self.set_flags(&case.table, DORMANT)?;
        Ok(Measured { rate, nanoseconds, label_nanoseconds })
    }

    /// Nanoseconds per UDP flow to these ports, all of which must come through.
    fn flows(&mut self, case: &Case, ports: std::ops::Range<u16>) -> anyhow::Result<f64> {
        self.forget()?;
        let nanoseconds = match case.flows {
            0 => f64::NAN,
            flows => load::nanoseconds_per_flow(self.sender, flows, ports)?,
        };
        let seen = self.connections.count()?;
        if seen < u32::from(case.flows) {
            bail!("{}: {seen} of {} flows came through", case.table, case.flows);
        }
        self.forget()?;
        Ok(nanoseconds)
    }

    /// Forgets all connections (`IPCTNL_MSG_CT_DELETE` that names none).
    fn forget(&mut self) -> anyhow::Result<()> {
        const SUBSYSTEM: u16 = 1;
        const DELETE: u16 = 2;
        Ok(self.control.request(SUBSYSTEM << 8 | DELETE, 0, "forget all connections", |message| {
            message.fixed(&[2, 0, 0, 0]);
        })?)
    }
}

/// `ct state established,related accept; ct state invalid drop`
fn tracking() -> [Rule; 2] {
    [(ESTABLISHED_OR_RELATED, Verdict::Accept), (INVALID, Verdict::Drop)].map(|(bits, verdict)| {
        let mut expressions = linear::state(bits);
        expressions.push(Expression::Verdict(verdict));
        Rule { expressions, comment: None }
    })
}
