//! What isn't understood of a cluster's objects, told where their authors look: events, and conditions of ClusterNetworkPolicies.
//!
//! ```text
//! Feed of each kind that is told -> complaint (calc) -> Reports: what is due, pure -> write: the API
//! ```
//! One process of a cluster does this, the one that leads its controllers: the same words from every node would be a flood. An
//! object is told of at once, again when what is wrong has changed, and every hour as long as it is there, since events end
//! after one; all of them together no faster than [`RATE`]. What waits is one note for each object, the latest.

mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};

use super::Kubernetes;
use crate::sync::Feed;
use crate::{Error, keys};

/// The kinds of which is told.
pub const KINDS: [Kind; 8] = [
    Kind::KubernetesNetworkPolicy,
    Kind::KubernetesClusterNetworkPolicy,
    Kind::NetworkPolicy,
    Kind::GlobalNetworkPolicy,
    Kind::NetworkSet,
    Kind::GlobalNetworkSet,
    Kind::FelixConfiguration,
    Kind::IPPool,
];

/// How many reports are written at once, and how many a second after that.
pub const BURST: f64 = 20.0;
/// See [`BURST`].
pub const RATE: f64 = 1.0;

/// When what is told already is told again.
const REPEAT: Duration = Duration::from_secs(3600);

/// The soonest that another note on the same object is written.
const LEAST: Duration = Duration::from_secs(5);

/// How long is rested when nothing is heard, and after a failure.
const REST: Duration = Duration::from_millis(250);
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Something to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// On which object.
    pub key: ResourceKey,
    /// What is wrong with it and what is done instead; `None` if nothing is (any more).
    pub note: Option<String>,
}

/// What is to be told, and when. Time is an argument: since any beginning.
#[derive(Debug)]
pub struct Reports {
    objects: BTreeMap<ResourceKey, State>,
    /// How many reports may be written now.
    allowed: f64,
    /// When that was counted.
    at: Duration,
}

#[derive(Debug)]
struct State {
    note: Option<String>,
    /// What was told last, and when.
    told: Option<(Option<String>, Duration)>,
}

impl Default for Reports {
    fn default() -> Reports {
        Reports { objects: BTreeMap::new(), allowed: BURST, at: Duration::ZERO }
    }
}

impl Reports {
    /// An object is there, and this is wrong with it.
    pub fn hear(&mut self, key: ResourceKey, note: Option<String>) {
        // That all is well is told where there is a place for it, or where something else was told before.
        let has_condition = key.kind == Kind::KubernetesClusterNetworkPolicy;
        match self.objects.get_mut(&key) {
            Some(state) => state.note = note,
            None if note.is_none() && !has_condition => {}
            None => drop(self.objects.insert(key, State { note, told: None })),
        }
    }

    /// An object is gone.
    pub fn forget(&mut self, key: &ResourceKey) {
        self.objects.remove(key);
    }

    /// The next report that is due. Whoever takes it writes it, or says by [`Reports::failed`] that he couldn't.
    pub fn next(&mut self, now: Duration) -> Option<Report> {
        let since = now.saturating_sub(self.at);
        self.allowed = (self.allowed + since.as_secs_f64() * RATE).min(BURST);
        self.at = now;
        if self.allowed < 1.0 {
            return None;
        }
        let is_due = |state: &State| match &state.told {
            None => true,
            Some((told, at)) => {
                let since = now.saturating_sub(*at);
                (*told != state.note && since >= LEAST) || (state.note.is_some() && since >= REPEAT)
            }
        };
        // Those that were never told first.
        let due = self.objects.iter_mut().filter(|(_, state)| is_due(state));
        let (key, state) = due.min_by_key(|(_, state)| state.told.as_ref().map(|(_, at)| *at))?;
        self.allowed -= 1.0;
        state.told = Some((state.note.clone(), now));
        let report = Report { key: key.clone(), note: state.note.clone() };
        if report.note.is_none() && key.kind != Kind::KubernetesClusterNetworkPolicy {
            // There is nothing more to say of it.
            self.objects.remove(&report.key);
        }
        Some(report)
    }

    /// A report wasn't written: it is due again.
    pub fn failed(&mut self, report: &Report) {
        if let Some(state) = self.objects.get_mut(&report.key) {
            state.told = None;
        }
    }
}

/// Tells what `complaint` says of a cluster's objects, as long as `goes_on`; `instance` is who tells, for people. Troubles of the
/// API are logged and waited for.
pub fn run(
    cluster: &Kubernetes,
    instance: &str,
    complaint: impl Fn(&Event) -> Option<String>,
    goes_on: impl Fn() -> bool,
) {
    let feed = |kind| Feed::of(Arc::new(cluster.clone()), keys::kind_prefix(kind));
    let mut feeds: Vec<Feed> = KINDS.into_iter().map(feed).collect();
    let (mut reports, begin) = (Reports::default(), Instant::now());
    while goes_on() {
        let mut is_quiet = true;
        for feed in feeds.iter_mut().take_while(|_| goes_on()) {
            match feed.next(Duration::ZERO) {
                Ok(events) => {
                    is_quiet &= events.is_empty();
                    events.iter().for_each(|event| take(&mut reports, event, complaint(event)));
                }
                Err(error) => rest(&error),
            }
        }
        while let Some(report) = reports.next(begin.elapsed()).filter(|_| goes_on()) {
            if let Err(error) = cluster.write_report(&report, instance, SystemTime::now()) {
                reports.failed(&report);
                rest(&error);
                break;
            }
        }
        if is_quiet {
            std::thread::sleep(REST);
        }
    }
}

fn take(reports: &mut Reports, event: &Event, note: Option<String>) {
    match event {
        Event::InSync => {}
        Event::Delete(key) => reports.forget(key),
        Event::Upsert(resource) => reports.hear(resource.key(), note),
        Event::Unreadable { key, .. } => reports.hear(key.clone(), note),
    }
}

fn rest(error: &Error) {
    tracing::warn!(%error, "what isn't understood can't be told now");
    std::thread::sleep(AFTER_FAILURE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> ResourceKey {
        ResourceKey::namespaced(Kind::NetworkPolicy, "shop", &format!("p{number:03}"))
    }

    fn note(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn all(reports: &mut Reports, at: u64) -> Vec<Report> {
        std::iter::from_fn(|| reports.next(Duration::from_secs(at))).collect()
    }

    #[test]
    fn what_is_told_is_told_once_when_it_changes_and_every_hour() {
        let mut reports = Reports::default();
        reports.hear(key(1), None);
        assert_eq!(all(&mut reports, 0), [], "nothing is wrong");
        reports.hear(key(1), note("a"));
        let report = |text: Option<&str>| Report { key: key(1), note: text.map(str::to_owned) };
        assert_eq!(all(&mut reports, 1), [report(Some("a"))]);
        reports.hear(key(1), note("a"));
        assert_eq!(all(&mut reports, 100), [], "it is the same");
        reports.hear(key(1), note("b"));
        assert_eq!(all(&mut reports, 101), [report(Some("b"))]);
        reports.hear(key(1), note("c"));
        reports.hear(key(1), note("d"));
        assert_eq!(all(&mut reports, 103), [], "it was told a moment ago");
        assert_eq!(all(&mut reports, 106), [report(Some("d"))], "the last word counts");
        assert_eq!(all(&mut reports, 106 + 3599), []);
        assert_eq!(all(&mut reports, 106 + 3600), [report(Some("d"))]);
        // What could not be written is written later.
        reports.failed(&report(Some("d")));
        assert_eq!(all(&mut reports, 106 + 3601), [report(Some("d"))]);
        reports.hear(key(1), None);
        assert_eq!(all(&mut reports, 9_000), [report(None)]);
        assert_eq!(all(&mut reports, 90_000), []);
        reports.hear(key(1), note("e"));
        reports.forget(&key(1));
        assert_eq!(all(&mut reports, 90_001), []);
    }

    #[test]
    fn a_thousand_objects_are_told_of_no_faster_than_the_api_should_hear_and_each_in_its_turn() {
        let mut reports = Reports::default();
        (0..1_000).for_each(|number| reports.hear(key(number), note("a")));
        assert_eq!(all(&mut reports, 0).len(), 20);
        let told: Vec<Report> = (1..=980).flat_map(|second| all(&mut reports, second)).collect();
        assert_eq!(told.len(), 980);
        let keys: std::collections::BTreeSet<&ResourceKey> = told.iter().map(|report| &report.key).collect();
        assert_eq!(keys.len(), 980, "none twice before all were told once");
    }

    #[test]
    fn that_a_cluster_network_policy_is_well_is_told_once() {
        let mut reports = Reports::default();
        let key = ResourceKey::cluster(Kind::KubernetesClusterNetworkPolicy, "p");
        reports.hear(key.clone(), None);
        assert_eq!(all(&mut reports, 0), [Report { key: key.clone(), note: None }]);
        reports.hear(key.clone(), None);
        assert_eq!(all(&mut reports, 10_000), []);
        reports.hear(key.clone(), note("a"));
        reports.hear(key.clone(), None);
        assert_eq!(all(&mut reports, 10_001), [], "it was well before, and is");
    }
}
