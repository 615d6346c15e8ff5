//! What the demo says. Colours only on a terminal, and not if `NO_COLOR` is set.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tortie_agent::ledger::RuleName;
use tortie_api::kind::Kind;
use tortie_lab::matrix::Place;
use tortie_lab::{Matrix, Outcome};

use super::expect::Expected;
use super::measure::{Measured, Probes};
use super::stage::Stage;

/// A line on standard output. Whoever doesn't want to read on (`| head`) doesn't keep the demo from cleaning up.
pub fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// How things are written.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    colours: bool,
}

impl Report {
    /// For standard output as it is.
    pub fn new() -> Self {
        Self { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A heading.
    pub fn heading(self, text: &str) {
        say(&format!("\n{}", self.paint("1", text)));
    }

    /// A line about a part of the lab.
    pub fn fact(self, name: &str, text: &str) {
        say(&format!("  {name:16} {text}"));
    }

    /// The matrix, dropped probes in red.
    pub fn matrix(self, matrix: &Matrix) {
        for (number, line) in matrix.to_string().lines().enumerate() {
            let mut line = line.trim_end().to_owned();
            if self.colours && number > 0 {
                // Names are in small letters, so what stands in capitals is a cell.
                for letter in ["T", "U", "I"] {
                    line = line.replace(letter, &self.paint("32", letter));
                }
                line = line.replace('·', &self.paint("31", "·"));
            }
            say(&format!("  {line}"));
        }
    }

    /// Who blocked what, a line for each pair and rule; the rise of the rule's counter beside the probes sent.
    pub fn blocked(self, probes: &Probes, measured: &[&Measured], expected: &BTreeMap<Place, Expected>) {
        let mut lines: BTreeMap<(usize, usize, &RuleName), Blocked> = BTreeMap::new();
        for (place, Expected { outcome, rules }) in expected {
            let Some(rule) = rules.last().filter(|_| *outcome == Outcome::Blocked) else { continue };
            let line = lines.entry((place.from, place.to, rule)).or_default();
            line.services.push(place.service.to_string());
            for Measured { counts, rounds, matrix: _ } in measured {
                line.sent += rounds;
                line.risen += counts.get(place).and_then(|counts| counts.get(rule)).unwrap_or(&0);
            }
        }
        let name = |index: usize| probes.parties()[index].name.as_str();
        for ((from, to, by), Blocked { services, sent, risen }) in lines {
            let pair = format!("{} -> {}", name(from), name(to));
            let counter = format!("{:>3}", format!("+{risen}"));
            let counter = self.paint(if risen == sent { "32" } else { "31" }, &counter);
            say(&format!("  {pair:20} {:24} {sent:>3} {counter}  {}", services.join(" "), rule(by)));
        }
    }

    /// The end, if all is as it must be.
    pub fn success(self, text: &str) {
        say(&format!("\n{}", self.paint("1;32", text)));
    }

    /// The end, if not.
    pub fn failure(self, text: &str, differences: &[String]) {
        say(&format!("\n{}", self.paint("1;31", text)));
        differences.iter().for_each(|difference| say(&format!("  {difference}")));
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What one rule blocked of one pair.
#[derive(Default)]
struct Blocked {
    services: Vec<String>,
    sent: u64,
    risen: u64,
}

/// A rule in words: `ingress rule 0 of NetworkPolicy shop/db (tier default)`.
pub fn rule(name: &RuleName) -> String {
    let RuleName { kind, policy, tier, direction, rule } = name;
    match (kind == Kind::Profile.name(), *rule) {
        (true, 0..) => format!("{direction} rule {rule} of profile {policy}"),
        (true, _) => format!("{direction}: no profile allows it"),
        (false, 0..) => format!("{direction} rule {rule} of {kind} {policy} (tier {tier})"),
        (false, _) => format!("{direction}: end of tier {tier}, where {kind} {policy} applies"),
    }
}

/// How to go on with a lab that is kept.
pub fn hints(stage: &Stage) {
    let lab = stage.lab().id();
    let home = stage.home();
    say("\nThe lab stays up. In another shell, or this one:\n");
    if stage.store_is_inside() {
        say(&format!("  ip netns exec {lab}-node bash"));
    }
    let settings: Vec<String> =
        stage.datastore().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    say(&format!("  export {} TORTIE_SOCKET={}", settings.join(" "), home.socket().display()));
    say("\nEnter a pod, and try what is blocked (web may not speak to the database, but may ping it):\n");
    say(&format!("  ip netns exec {lab}-pod-shop.web bash"));
    say(&format!(
        "  ip netns exec {lab}-pod-shop.web timeout 1 bash -c '</dev/tcp/{}/5432' && echo open || echo blocked",
        address_of(stage, "db")
    ));
    say("\nAsk who decides it, look at what is in force, and at the counters:\n");
    say("  tortie explain --from shop/web --to shop/db --port tcp/5432");
    say("  tortie get networkpolicy -A -o wide");
    say("  tortie status");
    say(&format!("  ip netns exec {lab}-node nft list table inet tortie"));
    say("\nChange a policy; milliseconds later it holds:\n");
    say("  tortie delete networkpolicy db-not-from-web -n shop");
    say(&format!("  tortie apply -f {}", home.policy().display()));
    say(&format!("\nWhat the agent (process {}) logs: {}", stage.agent(), home.log().display()));
    say(&format!("\nRemove all of it:\n\n  tortie demo --remove {lab}"));
}

fn address_of(stage: &Stage, name: &str) -> String {
    let parties = stage.parties().unwrap_or_default();
    let address = parties.iter().find(|party| party.name == name).and_then(|party| party.address(true));
    address.map_or_else(|| name.to_owned(), |address| address.to_string())
}

/// `43 ms`.
pub fn millis(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}
