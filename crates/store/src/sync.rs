//! All objects that take part in policy, as events: first what is there, then what changes.
//!
//! ```text
//! list, page by page -> Upsert ... InSync -> watch -> Upsert, Delete ...
//!        ^                                     |
//!        '---- the history is gone: again, and Delete for what went meanwhile
//! ```
//! An object that cannot be read becomes an event too, never silence. The profile that always exists is told like a stored
//! one. Kubernetes' policies come in Calico's form; nothing else is interpreted or derived here. Next hop: the agent's
//! core, and through it the calculation.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::resource::Resource;

use crate::resources::{DEFAULT_ALLOW_PROFILE, default_allow_profile};
use crate::{Change, Datastore, Error, KeyValue, List, Result, Revision, Watch, keys};

/// How many objects one call returns at most while listing.
const PAGE: usize = 1_000;

/// The stream of events. It begins at the first call of [`Feed::next`].
pub struct Feed {
    store: Arc<dyn Datastore>,
    /// What the keys begin with.
    prefix: String,
    state: State,
    /// What the receiver believes to exist, and the revision that it was told.
    told: HashMap<ResourceKey, Revision>,
    in_sync: bool,
}

enum State {
    /// Reading pages of the state at `at`, behind the key `after`. `found` is what this pass has seen.
    Listing {
        at: Option<Revision>,
        after: Option<String>,
        found: HashMap<ResourceKey, Revision>,
    },
    Watching(Box<dyn Watch>),
}

impl State {
    fn start() -> State {
        State::Listing { at: None, after: None, found: HashMap::new() }
    }
}

impl Feed {
    /// The events of `store`.
    pub fn new(store: Arc<dyn Datastore>) -> Feed {
        Feed::of(store, keys::RESOURCES.to_owned())
    }

    /// The events of those objects alone whose keys begin so.
    pub fn of(store: Arc<dyn Datastore>, prefix: String) -> Feed {
        Feed { store, prefix, state: State::start(), told: HashMap::new(), in_sync: false }
    }

    /// Go on with another store, or the same one opened again: what it doesn't have is reported as deleted, after its
    /// objects. [`Event::InSync`] is not repeated.
    pub fn reopen(&mut self, store: Arc<dyn Datastore>) {
        self.store = store;
        // Revisions of another store mean nothing, so everything is told again.
        self.start_again();
        self.told.values_mut().for_each(|revision| *revision = Revision::ZERO);
    }

    /// List again. What an unfinished list has told is told.
    fn start_again(&mut self) {
        if let State::Listing { found, .. } = std::mem::replace(&mut self.state, State::start()) {
            self.told.extend(found);
        }
    }

    /// A descriptor that polls readable when [`Feed::next`] should be called; `None` while it has something to say at
    /// once.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Listing { .. } => None,
            State::Watching(watch) => Some(watch.fd()),
        }
    }

    /// The next events, or none after `timeout`. Events of one object come in the order of its changes; a change may be
    /// left out if a later one of the same object is told.
    ///
    /// # Errors
    /// Those of the datastore; nothing is lost, the call may be repeated. After [`Error::Replaced`] the store has to be
    /// opened again, see [`Feed::reopen`].
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<Event>> {
        match &mut self.state {
            State::Listing { .. } => self.list(),
            State::Watching(watch) => match watch.next(timeout) {
                Ok(changes) => Ok(changes.into_iter().filter_map(|change| self.change(change)).collect()),
                Err(error) => self.again(error),
            },
        }
    }

    /// Begin again if the history is gone, or was another one.
    fn again(&mut self, error: Error) -> Result<Vec<Event>> {
        match error {
            Error::Compacted { .. } | Error::Future { .. } => {
                tracing::info!(%error, "listing all objects again");
                self.start_again();
                Ok(Vec::new())
            }
            error => Err(error),
        }
    }

    /// Read a page, or begin to watch behind the last.
    fn list(&mut self) -> Result<Vec<Event>> {
        let State::Listing { at, after, found } = &mut self.state else { return Ok(Vec::new()) };
        let request = List { prefix: self.prefix.clone(), at: *at, after: after.clone(), limit: Some(PAGE) };
        let page = match self.store.list(&request) {
            Ok(page) => page,
            Err(error) => return self.again(error),
        };
        let mut events = Vec::new();
        let default_allow = ResourceKey::cluster(Kind::Profile, DEFAULT_ALLOW_PROFILE);
        let is_told = at.is_none() && keys::resource(&default_allow).starts_with(&self.prefix);
        if is_told && !self.told.contains_key(&default_allow) {
            events.extend(default_allow_event());
        }
        if is_told {
            found.insert(default_allow, Revision::ZERO);
        }
        for kv in &page.items {
            let Some(id) = taking_part(&kv.key) else { continue };
            found.insert(id.clone(), kv.revision);
            if self.told.get(&id) != Some(&kv.revision) {
                events.push(upsert(id, kv));
            }
        }
        if page.more {
            *at = Some(page.revision);
            *after = page.items.last().map(|kv| kv.key.clone());
            return Ok(events);
        }
        let watch = match self.store.watch(&self.prefix, page.revision) {
            Ok(watch) => watch,
            Err(error) => return self.again(error),
        };
        let told = std::mem::replace(&mut self.told, std::mem::take(found));
        events.extend(told.into_keys().filter(|id| !self.told.contains_key(id)).map(Event::Delete));
        if !self.in_sync {
            self.in_sync = true;
            events.push(Event::InSync);
        }
        self.state = State::Watching(watch);
        Ok(events)
    }

    fn change(&mut self, change: Change) -> Option<Event> {
        let id = taking_part(change.key())?;
        match change {
            Change::Put(kv) => {
                self.told.insert(id.clone(), kv.revision);
                Some(upsert(id, &kv))
            }
            Change::Delete { .. } if *id.name == *DEFAULT_ALLOW_PROFILE && id.kind == Kind::Profile => {
                default_allow_event()
            }
            Change::Delete { .. } => {
                self.told.remove(&id);
                Some(Event::Delete(id))
            }
        }
    }
}

/// The identity at a key, if its kind takes part.
fn taking_part(key: &str) -> Option<ResourceKey> {
    keys::parse_resource(key).filter(|id| Resource::KINDS.contains(&id.kind))
}

/// What a stored object is to the receiver. Its identity is its key's, whatever its JSON says.
fn upsert(id: ResourceKey, kv: &KeyValue) -> Event {
    let error = match Resource::from_json(id.kind, &kv.value) {
        Ok(resource) if resource.key() == id => return Event::Upsert(resource),
        Ok(resource) => format!("the stored object says that it is {}", resource.key()),
        Err(error) => error.to_string(),
    };
    tracing::warn!(%id, %error, "a stored object cannot be read");
    Event::Unreadable { key: id, json: serde_json::from_slice(&kv.value).ok(), error }
}

fn default_allow_event() -> Option<Event> {
    let json = default_allow_profile().to_string();
    Resource::from_json(Kind::Profile, json.as_bytes()).ok().map(Event::Upsert)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::embedded::{Durability, Embedded, Options};
    use serde_json::json;

    fn mk_store() -> (tempfile::TempDir, Arc<dyn Datastore>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tortie.db");
        let store = Embedded::open(Options { durability: Durability::Normal, ..Options::new(path) }).unwrap();
        (directory, Arc::new(store))
    }

    fn tier_key(name: &str) -> String {
        keys::resource(&ResourceKey::cluster(Kind::Tier, name))
    }

    fn put_tier(store: &dyn Datastore, name: &str, order: u32) {
        let tier = json!({"metadata": {"name": name}, "spec": {"order": order}});
        store.put(&tier_key(name), tier.to_string().as_bytes()).unwrap();
    }

    /// What a receiver makes of the events: names of tiers and their orders, other objects with order -1.
    #[derive(Default)]
    struct Receiver {
        objects: HashMap<String, i64>,
        in_sync: usize,
        events: Vec<String>,
    }

    impl Receiver {
        fn take(&mut self, events: Vec<Event>) {
            for event in events {
                let line = match &event {
                    Event::Upsert(resource) => {
                        let order = match resource {
                            Resource::Tier(tier) => tier.spec.order.unwrap() as i64,
                            _ => -1,
                        };
                        self.objects.insert(resource.key().to_string(), order);
                        format!("+{}", resource.key())
                    }
                    Event::Delete(id) => {
                        assert!(self.objects.remove(&id.to_string()).is_some(), "{id} was not there");
                        format!("-{id}")
                    }
                    Event::Unreadable { key, json, .. } => {
                        self.objects.insert(key.to_string(), -2);
                        format!("?{key} {}", json.is_some())
                    }
                    Event::InSync => {
                        self.in_sync += 1;
                        "InSync".to_owned()
                    }
                };
                self.events.push(line);
            }
        }

        /// Take events until there are none.
        fn drain(&mut self, sync: &mut Feed) {
            loop {
                let listing = sync.fd().is_none();
                let events = sync.next(Duration::ZERO).unwrap();
                if events.is_empty() && !listing && sync.fd().is_some() {
                    return;
                }
                self.take(events);
            }
        }
    }

    #[test]
    fn what_is_there_is_told_before_in_sync_and_what_changes_after() {
        let (_directory, store) = mk_store();
        put_tier(&*store, "a", 1);
        store.put("/calico/resources/v3/projectcalico.org/bgppeers/p", b"{}").unwrap();
        store.put("/calico/ipam/v2/config", b"{}").unwrap();
        let (mut sync, mut receiver) = (Feed::new(Arc::clone(&store)), Receiver::default());
        receiver.drain(&mut sync);
        assert_eq!(receiver.events, ["+Profile(projectcalico-default-allow)", "+Tier(a)", "InSync"]);
        receiver.events.clear();
        put_tier(&*store, "b", 2);
        put_tier(&*store, "a", 3);
        store.delete(&tier_key("b"), None).unwrap();
        receiver.drain(&mut sync);
        assert_eq!(receiver.events, ["+Tier(b)", "+Tier(a)", "-Tier(b)"]);
        assert_eq!(receiver.objects["Tier(a)"], 3);
    }

    #[test]
    fn an_object_that_cannot_be_read_is_told_with_what_there_is() {
        let (_directory, store) = mk_store();
        store.put(&tier_key("broken"), b"{not json").unwrap();
        store.put(&tier_key("wrong"), br#"{"metadata":{"name":"wrong"},"spec":{"order":"high"}}"#).unwrap();
        store.put(&tier_key("liar"), br#"{"metadata":{"name":"other"},"spec":{"order":1}}"#).unwrap();
        let (mut sync, mut receiver) = (Feed::new(Arc::clone(&store)), Receiver::default());
        receiver.drain(&mut sync);
        assert_eq!(
            receiver.events[1..],
            ["?Tier(broken) false", "?Tier(liar) true", "?Tier(wrong) true", "InSync"]
        );
        receiver.events.clear();
        put_tier(&*store, "wrong", 5);
        receiver.drain(&mut sync);
        assert_eq!(receiver.events, ["+Tier(wrong)"]);
    }

    #[test]
    fn kubernetes_policies_are_told_in_calicos_form() {
        let (_directory, store) = mk_store();
        let id = ResourceKey::namespaced(Kind::KubernetesNetworkPolicy, "shop", "web");
        let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}});
        store.put(&keys::resource(&id), policy.to_string().as_bytes()).unwrap();
        let subject =
            json!({"metadata": {"name": "bad"}, "spec": {"tier": "Nobility", "subject": {"namespaces": {}}}});
        let bad = ResourceKey::cluster(Kind::KubernetesClusterNetworkPolicy, "bad");
        store.put(&keys::resource(&bad), subject.to_string().as_bytes()).unwrap();
        let mut sync = Feed::new(store);
        let events = sync.next(Duration::ZERO).unwrap();
        let told = events.iter().find_map(|event| match event {
            Event::Upsert(Resource::KubernetesNetworkPolicy(policy)) => Some(policy),
            _ => None,
        });
        let told = told.unwrap();
        assert_eq!(told.key, id);
        assert!(told.spec.selector.contains("app == 'web'"), "{}", told.spec.selector);
        assert!(events.iter().any(|event| matches!(event, Event::Unreadable { key, .. } if *key == bad)));
    }

    #[test]
    fn after_a_compaction_the_difference_is_told_and_nothing_twice() {
        let (_directory, store) = mk_store();
        for (name, order) in [("same", 1), ("changed", 1), ("gone", 1)] {
            put_tier(&*store, name, order);
        }
        let (mut sync, mut receiver) = (Feed::new(Arc::clone(&store)), Receiver::default());
        receiver.drain(&mut sync);
        receiver.events.clear();
        put_tier(&*store, "changed", 2);
        put_tier(&*store, "new", 2);
        store.delete(&tier_key("gone"), None).unwrap();
        store.compact(store.revision().unwrap()).unwrap();
        receiver.drain(&mut sync);
        assert_eq!(receiver.events, ["+Tier(changed)", "+Tier(new)", "-Tier(gone)"]);
        assert_eq!(receiver.in_sync, 1, "in sync is said once");
    }

    #[test]
    fn a_list_of_many_pages_is_overtaken_by_writes_and_compactions_and_still_ends_right() {
        let (_directory, store) = mk_store();
        for number in 0..2_300 {
            put_tier(&*store, &format!("t{number:04}"), 0);
        }
        let (mut sync, mut receiver) = (Feed::new(Arc::clone(&store)), Receiver::default());
        let mut expected: HashMap<String, i64> = (0..2_300).map(|n| (format!("Tier(t{n:04})"), 0)).collect();
        for round in 1..6 {
            receiver.take(sync.next(Duration::ZERO).unwrap());
            assert_eq!(receiver.in_sync, 0, "a list that was not read to its end is not in sync");
            let (changed, gone) = (format!("t{:04}", round * 200), format!("t{:04}", round * 300 + 1));
            put_tier(&*store, &changed, round);
            expected.insert(format!("Tier({changed})"), i64::from(round));
            store.delete(&tier_key(&gone), None).unwrap();
            expected.remove(&format!("Tier({gone})"));
            store.compact(store.revision().unwrap()).unwrap();
        }
        receiver.drain(&mut sync);
        expected.insert("Profile(projectcalico-default-allow)".to_owned(), -1);
        assert!(receiver.objects == expected, "the receiver believes something else");
        assert_eq!(receiver.in_sync, 1);
    }

    #[test]
    fn after_another_store_was_opened_only_its_objects_remain() {
        let (_directory, store) = mk_store();
        put_tier(&*store, "old", 1);
        let (mut sync, mut receiver) = (Feed::new(Arc::clone(&store)), Receiver::default());
        receiver.drain(&mut sync);
        let (_other_directory, other) = mk_store();
        // At the same revision as the old one, and yet another object.
        put_tier(&*other, "old", 7);
        put_tier(&*other, "new", 1);
        put_tier(&*store, "gone", 1);
        receiver.drain(&mut sync);
        sync.reopen(Arc::clone(&other));
        receiver.drain(&mut sync);
        let mut names: Vec<&String> = receiver.objects.keys().collect();
        names.sort();
        assert_eq!(names, ["Profile(projectcalico-default-allow)", "Tier(new)", "Tier(old)"]);
        assert_eq!(receiver.objects["Tier(old)"], 7);
        assert_eq!(receiver.in_sync, 1, "in sync is said once");
    }
}
