//! Old revisions of a store that keeps them all (etcd) go, as Calico's controllers see to it elsewhere.
//!
//! Many agents do so, and nobody is chosen. Each looks once in a period and remembers what it saw. If the history since the
//! look before last can still be read, it goes up to the last look; whoever comes first does it, and the others find
//! it done. What is younger than a period stays.

use std::collections::VecDeque;
use std::thread::sleep;
use std::time::Duration;

use tortie_api::cluster::KubeControllersConfigurationSpec;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::resources::Client;
use tortie_store::{Error, Revision};

use crate::Result;
use crate::monitors::spawn;

/// Calico's.
const PERIOD: Duration = Duration::from_secs(600);

/// The last looks.
#[derive(Debug, Default)]
struct Looks(VecDeque<Revision>);

impl Looks {
    /// Takes in what a look saw: since when the history must still be there for it to go, and up to where.
    fn look(&mut self, current: Revision) -> Option<(Revision, Revision)> {
        self.0.push_back(current);
        let [since, upto, _] = *self.0.make_contiguous() else { return None };
        self.0.pop_front();
        (since < upto).then_some((since, upto))
    }
}

/// Looks as long as the process lives.
///
/// # Errors
/// If there is no thread for it.
pub fn keep_short(client: Client) -> Result<()> {
    spawn("history", move || {
        let mut looks = Looks::default();
        loop {
            let period = period(&client);
            sleep(period.unwrap_or(PERIOD));
            if period.is_none() {
                looks = Looks::default();
                continue;
            }
            match round(&client, &mut looks) {
                Ok(None) => {}
                Ok(Some(upto)) => tracing::info!(%upto, "the store has forgotten what is older"),
                Err(error) => tracing::warn!(%error, "old revisions of the store stay for now"),
            }
        }
    })?;
    Ok(())
}

/// Up to where the history went.
fn round(client: &Client, looks: &mut Looks) -> std::result::Result<Option<Revision>, Error> {
    let Some((since, upto)) = looks.look(client.store().revision()?) else { return Ok(None) };
    Ok(client.store().trim(since, upto)?.then_some(upto))
}

/// How often, as Calico's controllers are told; `None` if not at all.
fn period(client: &Client) -> Option<Duration> {
    let key = ResourceKey::cluster(Kind::KubeControllersConfiguration, "default");
    let said = client.get_as::<KubeControllersConfigurationSpec>(&key).ok();
    let said = said.and_then(|object| object.spec.etcd_v3_compaction_period);
    let period =
        said.map_or(PERIOD, |said| Duration::from_nanos(u64::try_from(said.nanoseconds).unwrap_or_default()));
    (!period.is_zero()).then_some(period)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use serde_json::json;
    use tortie_store::etcd::server::{Server, Start};
    use tortie_store::etcd::{Etcd, Options};

    use super::*;

    #[test]
    fn of_two_agents_one_forgets_what_is_older_than_a_look_and_nothing_younger() {
        let directory = tempfile::tempdir().unwrap();
        let start = Start { directory: directory.path().join("etcd"), ..Start::default() };
        let server = Server::start(start).unwrap();
        let client = || Client::new(Arc::new(Etcd::open(Options::new(vec![server.endpoint()])).unwrap()));
        let mut agents = [(client(), Looks::default()), (client(), Looks::default())];
        let writer = client();
        let mut seen = Vec::new();
        let mut gone = Vec::new();
        for number in 0..5 {
            for (which, (agent, looks)) in agents.iter_mut().enumerate() {
                writer.store().put("/calico/felix/v2/x", format!("{number} {which}").as_bytes()).unwrap();
                if which == 0 {
                    seen.push(writer.store().revision().unwrap());
                }
                gone.extend(round(agent, looks).unwrap().map(|upto| (which, upto)));
            }
        }
        assert_eq!(gone, [(0, seen[1]), (0, seen[2]), (0, seen[3])]);
        let at =
            |revision| writer.store().list(&tortie_store::List { at: Some(revision), ..Default::default() });
        assert!(matches!(at(Revision(seen[3].0 - 1)), Err(Error::Compacted { .. })));
        assert!(at(seen[3]).is_ok());
        // Without writes there is nothing to forget.
        for (agent, looks) in &mut agents {
            let rounds: Vec<_> = (0..4).map(|_| round(agent, looks).unwrap()).collect();
            assert_eq!(rounds[3], None);
        }
    }

    #[test]
    fn the_period_is_that_of_calicos_controllers() {
        let directory = tempfile::tempdir().unwrap();
        let options = tortie_store::embedded::Options::new(directory.path().join("db"));
        let store = tortie_store::embedded::Embedded::open(options).unwrap();
        let client = Client::new(Arc::new(store));
        assert_eq!(period(&client), Some(PERIOD));
        for (said, expected) in [("5m", Some(Duration::from_secs(300))), ("0s", None)] {
            let object = json!({
                "apiVersion": "projectcalico.org/v3", "kind": "KubeControllersConfiguration",
                "metadata": { "name": "default" }, "spec": { "etcdV3CompactionPeriod": said },
            });
            client.apply(object, tortie_store::resources::Labels::Merge).unwrap();
            assert_eq!(period(&client), expected, "{said}");
        }
        assert!(!client.store().trim(Revision(1), Revision(2)).unwrap(), "a file forgets by itself");
    }
}
