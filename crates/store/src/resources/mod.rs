//! Objects on a datastore, with the metadata that Calico's client gives them on etcd.
//!
//! An object is JSON ([`serde_json::Value`]), so that what a newer version stored comes back whole; programs that know a
//! kind use the typed calls. Fields that no type knows are kept. What an object means is validated before it comes here
//! (`tortie_api`); here are only the rules that need the datastore: what exists, what must not change, what is filled in.
//! Next hop: [`crate::Datastore`].

mod addresses;
mod canonical;
mod cluster;
mod defaults;
mod initial;
pub(crate) mod metadata;
mod nodes;
mod old;
mod rules;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey, Scope};
use tortie_api::meta::{Object, Spec};

use crate::ahead::Ahead;
use crate::{Datastore, Error, Listing, Read, Result, Revision, Write, json, keys};

pub use initial::{COMPATIBLE_VERSION, DEFAULT_ALLOW_PROFILE, default_allow_profile};
pub(crate) use metadata::is_tiered;
pub use metadata::{Labels, read_timestamp, timestamp};

/// How often a write without a resource version tries again when another writer was faster.
const ATTEMPTS: usize = 100;

/// All objects of a kind.
#[derive(Debug)]
pub struct Objects {
    /// The revision of which this is the state.
    pub revision: Revision,
    /// The objects, sorted by namespace and name.
    pub items: Vec<Value>,
    /// What is stored there but is no object, an [`Error::Unreadable`] each; the others are not held up by it.
    pub unreadable: Vec<Error>,
}

/// What else is known of objects that were told one after the other.
#[derive(Debug)]
pub struct Found {
    /// As in [`Objects`].
    pub revision: Revision,
    /// As in [`Objects`].
    pub unreadable: Vec<Error>,
}

/// A new object, ready to be written.
#[derive(Debug)]
pub struct Prepared {
    id: ResourceKey,
    value: Vec<u8>,
}

impl Prepared {
    /// The write that creates it.
    pub fn write(&self) -> Write {
        Write::create(&keys::resource(&self.id), &self.value)
    }

    /// The object as it is stored since `revision`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if it is no JSON, which it was made of.
    pub fn at(&self, revision: Revision) -> Result<Value> {
        read(&self.id, &self.value, revision)
    }
}

/// Objects on a datastore. Clones share it.
#[derive(Clone)]
pub struct Client {
    store: Arc<dyn Datastore>,
}

impl Client {
    /// Objects on `store`.
    pub fn new(store: Arc<dyn Datastore>) -> Client {
        Client { store }
    }

    /// The same objects, of which those at `keys` are read now, in one request, for who asks next. What can't be read
    /// together is read when it is asked for.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like: the datastore doesn't answer.
    pub fn ahead(&self, keys: Vec<String>) -> Result<Client> {
        match Ahead::of(Arc::clone(&self.store), keys.into_iter().map(Read::Key).collect()) {
            Ok(ahead) => Ok(Client::new(Arc::new(ahead))),
            Err(Error::Refused { .. }) => Ok(self.clone()),
            Err(error) => Err(error),
        }
    }

    /// The datastore below.
    pub fn store(&self) -> &Arc<dyn Datastore> {
        &self.store
    }

    /// The identity of an object: its `apiVersion`, `kind`, `metadata.namespace` and `metadata.name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if one is missing or unknown.
    pub fn key_of(object: &Value) -> Result<ResourceKey> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        let kind = Kind::of(version, kind).ok_or_else(|| {
            Error::invalid(
                "Kind",
                Some(kind),
                format!("unknown resource type ({kind}) and/or version ({version})"),
            )
        })?;
        let name = text("/metadata/name");
        if name.is_empty() {
            return Err(Error::invalid("Metadata.Name", Some(""), "field must be set for a Create request"));
        }
        match kind.scope() {
            Scope::Cluster => Ok(ResourceKey::cluster(kind, name)),
            Scope::Namespaced => match text("/metadata/namespace") {
                "" => Err(Error::invalid(
                    "Metadata.Namespace",
                    None,
                    "namespace is not specified on namespaced resource",
                )),
                namespace => Ok(ResourceKey::namespaced(kind, namespace, name)),
            },
        }
    }

    /// The keys that a write of this object looks at first, for a [`crate::Batch`].
    pub fn keys_of(id: &ResourceKey, object: &Value) -> Vec<String> {
        let mut keys = vec![keys::resource(id)];
        if metadata::is_tiered(id.kind) {
            let tier = object.pointer("/spec/tier").and_then(Value::as_str).unwrap_or(rules::DEFAULT_TIER);
            keys.push(keys::resource(&ResourceKey::cluster(Kind::Tier, tier)));
        }
        keys
    }

    /// The object with this identity.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Unreadable`] if what is stored is no object.
    pub fn get(&self, id: &ResourceKey) -> Result<Value> {
        match self.store.get(&keys::resource(id))? {
            Some(kv) => addresses::shown(self, id, read(id, &kv.value, kv.revision)?),
            None if initial::is_default_allow(id) => Ok(default_allow_profile()),
            None if id.kind == Kind::Profile => cluster::profile(self, id),
            None => old::shown(self, id),
        }
    }

    /// All objects of a kind, of one namespace or of all.
    ///
    /// # Errors
    /// Those of the datastore.
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Objects> {
        let mut items = Vec::new();
        let Found { revision, unreadable } = self.each(kind, namespace, |object| items.push(object))?;
        Ok(Objects { revision, items, unreadable })
    }

    /// The same, one after the other: the trees of thousands take ten times what is stored.
    ///
    /// # Errors
    /// Those of the datastore.
    pub fn each(&self, kind: Kind, namespace: Option<&str>, mut item: impl FnMut(Value)) -> Result<Found> {
        let prefix = match namespace {
            Some(namespace) => keys::namespace_prefix(kind, namespace),
            None => keys::kind_prefix(kind),
        };
        let Listing { revision, items, .. } = self.store.list_all(&prefix)?;
        let mut unreadable = Vec::new();
        if kind == Kind::Profile {
            item(default_allow_profile());
            cluster::each_profile(self, &mut item)?;
        }
        for kv in items {
            // A key of another shape under the kind's prefix is nobody's object.
            if let Some(id) = keys::parse_resource(&kv.key) {
                let object = read(&id, &kv.value, kv.revision);
                match object.and_then(|object| addresses::shown(self, &id, object)) {
                    Ok(object) => item(object),
                    Err(error) => unreadable.push(error),
                }
            }
        }
        Ok(Found { revision, unreadable })
    }

    /// Create an object and return it as it is stored, with its resource version. Of the metadata, name, namespace,
    /// labels and annotations count; uid and creation time are set.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Invalid`], and [`Error::Missing`] for what it refers to.
    pub fn create(&self, object: Value) -> Result<Value> {
        self.create_if(Draft::new_object(object)?, |id, object| rules::on_create(self, id, object))
    }

    /// The same without regard to other objects: for the parts of a pool, beside the pool that they are the parts of.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] and [`Error::Invalid`].
    pub fn create_beside(&self, object: Value) -> Result<Value> {
        self.create_if(Draft::new_object(object)?, |_, _| Ok(()))
    }

    /// An object as [`Client::create`] would write it, for callers that write it together with something else.
    ///
    /// # Errors
    /// As [`Client::create`], but for what is known at the write.
    pub fn prepare(&self, object: Value) -> Result<Prepared> {
        prepare_if(Draft::new_object(object)?, |id, object| rules::on_create(self, id, object))
    }

    fn create_if(
        &self,
        draft: Draft,
        allowed: impl FnOnce(&ResourceKey, &Value) -> Result<()>,
    ) -> Result<Value> {
        let prepared = prepare_if(draft, allowed)?;
        match self.store.create(&keys::resource(&prepared.id), &prepared.value) {
            Ok(revision) => self.written(&prepared.id, prepared.at(revision)?),
            Err(Error::Exists { .. }) => Err(Error::AlreadyExists { id: prepared.id }),
            Err(error) => Err(error),
        }
    }

    /// Replace an object that exists. Its uid and creation time stay, whatever `object` says. If `object` has a resource
    /// version, it must be the stored one; if not, the last writer wins.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UpdateConflict`], [`Error::Invalid`].
    pub fn update(&self, object: Value, labels: Labels) -> Result<Value> {
        self.update_from(Draft::of(object, rules::updatable)?, labels, Unchanged::Written)
    }

    fn update_from(&self, draft: Draft, labels: Labels, unchanged: Unchanged) -> Result<Value> {
        let Draft { id, given, object: wanted } = draft;
        rules::before_defaults(&id, &wanted)?;
        cluster::refuse(self, &id, cluster::UPDATE)?;
        let mut attempts = 0;
        loop {
            let (at, kv) = match self.store.get(&keys::resource(&id))? {
                Some(kv) => (id.clone(), kv),
                None => old::stored(self, &id)?.ok_or_else(|| Error::Missing { id: id.clone() })?,
            };
            let key = keys::resource(&at);
            let conflict = |given: &Option<String>, latest| Error::UpdateConflict {
                id: id.clone(),
                given: given.clone().unwrap_or_default(),
                latest,
            };
            if given.as_ref().is_some_and(|given| *given != kv.revision.to_string()) {
                return Err(conflict(&given, kv.revision));
            }
            let old = read(&at, &kv.value, kv.revision)?;
            let mut object = metadata::updated(&old, wanted.clone(), labels);
            defaults::fill(id.kind, &mut object);
            rules::on_update(&id, &old, &object)?;
            addresses::check(&id, &object)?;
            let mut stored = metadata::stored(id.kind, object);
            stored["metadata"]["name"] = json!(*at.name);
            let value = json::to_bytes(id.kind, &stored);
            if unchanged == Unchanged::Left && given.is_none() && value == kv.value {
                return self.written(&id, old);
            }
            match self.store.update(&key, &value, kv.revision) {
                Ok(revision) => return self.written(&id, read(&at, &value, revision)?),
                Err(Error::Conflict { found, .. }) if given.is_some() || attempts >= ATTEMPTS => {
                    return Err(conflict(&given, found));
                }
                Err(Error::Conflict { .. }) => attempts += 1,
                Err(Error::NotFound { .. }) => return Err(Error::Missing { id }),
                Err(error) => return Err(error),
            }
        }
    }

    /// What follows from an object that was written.
    fn written(&self, id: &ResourceKey, object: Value) -> Result<Value> {
        addresses::written(self, id, &object)?;
        Ok(object)
    }

    /// Create an object or, if it exists, update it. What is stored already as it should be, and comes without a resource
    /// version, isn't written again: files are applied over and over.
    ///
    /// # Errors
    /// As [`Client::create`] and [`Client::update`].
    pub fn apply(&self, object: Value, labels: Labels) -> Result<Value> {
        let draft = match Draft::of(object.clone(), rules::creatable) {
            Ok(draft) => draft,
            Err(Error::AlreadyExists { .. }) => return self.update(object, labels),
            Err(error) => return Err(error),
        };
        let absent = |id: &ResourceKey| match self.store.get(&keys::resource(id))? {
            Some(_) => Err(Error::AlreadyExists { id: id.clone() }),
            None => Ok(()),
        };
        let allowed = |id: &ResourceKey, object: &Value| {
            rules::on_create(self, id, object)?;
            absent(id)
        };
        match self.create_if(draft.clone(), allowed) {
            // A node of a cluster isn't ours to create, but what is there can be updated.
            Err(Error::AlreadyExists { .. } | Error::NotSupported { operation: cluster::CREATE, .. }) => {
                rules::updatable(&draft.id)?;
                self.update_from(draft, labels, Unchanged::Left)
            }
            outcome => outcome,
        }
    }

    /// Delete an object (a pool with its claims to blocks, after it was disabled; a node with all that is its own), which must have resource version `expected` if one is given. Returns what was deleted.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UpdateConflict`], [`Error::NotSupported`].
    pub fn delete(&self, id: &ResourceKey, expected: Option<&str>) -> Result<Value> {
        rules::on_delete(self, id)?;
        if id.kind == Kind::Node {
            self.delete_of_node(id, expected)?;
        }
        let expected = addresses::before_delete(self, id, expected.map(str::to_owned))?;
        let expected = expected.as_deref();
        let conflict =
            |given: &str, latest| Error::UpdateConflict { id: id.clone(), given: given.to_owned(), latest };
        let key = keys::resource(id);
        let revision = match expected.map(|expected| (expected, expected.parse::<Revision>())) {
            None => None,
            Some((_, Ok(revision))) => Some(revision),
            // No resource version of ours looks like that.
            Some((given, Err(_))) => {
                return match self.store.get(&key)? {
                    Some(kv) => Err(conflict(given, kv.revision)),
                    None => Err(Error::Missing { id: id.clone() }),
                };
            }
        };
        match self.store.delete(&key, revision) {
            Ok(kv) => {
                let gone = read(id, &kv.value, kv.revision)?;
                addresses::after_delete(self, id, &gone)?;
                Ok(gone)
            }
            Err(Error::NotFound { .. }) => match old::stored(self, id)? {
                Some((before, _)) => self.delete(&before, expected),
                None => Err(Error::Missing { id: id.clone() }),
            },
            Err(Error::Conflict { expected, found, .. }) => Err(conflict(&expected.to_string(), found)),
            Err(error) => Err(error),
        }
    }

    /// Delete an object and nothing else: what belongs to a pool stays, for the pools that take its place.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn delete_alone(&self, id: &ResourceKey) -> Result<()> {
        match self.store.delete(&keys::resource(id), None) {
            Ok(_) => Ok(()),
            Err(Error::NotFound { .. }) => Err(Error::Missing { id: id.clone() }),
            Err(error) => Err(error),
        }
    }

    /// Delete what goes with a node, unless the node itself is not to go.
    fn delete_of_node(&self, id: &ResourceKey, expected: Option<&str>) -> Result<()> {
        let stored = self.store.get(&keys::resource(id))?;
        let latest = stored.map(|kv| kv.revision);
        match (expected, latest) {
            (Some(given), Some(latest)) if given != latest.to_string() => {
                Err(Error::UpdateConflict { id: id.clone(), given: given.to_owned(), latest })
            }
            _ => nodes::empty(self, id),
        }
    }

    /// [`Client::get`] as a type.
    ///
    /// # Errors
    /// Also [`Error::Unreadable`] if the stored object does not fit the type.
    pub fn get_as<S: Spec + Serialize + DeserializeOwned>(&self, id: &ResourceKey) -> Result<Object<S>> {
        typed(id, self.get(id)?)
    }

    /// [`Client::list`] as a type.
    ///
    /// # Errors
    /// Also [`Error::Unreadable`] if a stored object does not fit the type.
    pub fn list_as<S: Spec + Serialize + DeserializeOwned>(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<Object<S>>> {
        let Objects { revision: _, items, unreadable } = self.list(S::KIND, namespace)?;
        if let Some(error) = unreadable.into_iter().next() {
            return Err(error);
        }
        items.into_iter().map(|object| typed(&Client::key_of(&object)?, object)).collect()
    }

    /// An object with a type as JSON, for the calls that write.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it has no JSON form (a number that is not finite).
    pub fn to_json<S: Spec + Serialize + DeserializeOwned>(object: &Object<S>) -> Result<Value> {
        let mut value =
            serde_json::to_value(object).map_err(|error| Error::invalid("Spec", None, error.to_string()))?;
        value["kind"] = json!(S::KIND.name());
        value["apiVersion"] = json!(S::KIND.api().version());
        Ok(value)
    }
}

/// The object that a draft becomes where nothing is stored.
fn prepare_if(
    Draft { id, mut object, .. }: Draft,
    allowed: impl FnOnce(&ResourceKey, &Value) -> Result<()>,
) -> Result<Prepared> {
    rules::before_defaults(&id, &object)?;
    defaults::fill(id.kind, &mut object);
    allowed(&id, &object)?;
    addresses::check(&id, &object)?;
    metadata::created(&mut object, std::time::SystemTime::now());
    let value = json::to_bytes(id.kind, &metadata::stored(id.kind, object));
    Ok(Prepared { id, value })
}

/// What becomes of a write that would change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unchanged {
    /// It is made, as Calico does: a new revision.
    Written,
    /// It isn't, unless it names a resource version: who watches has nothing to do.
    Left,
}

/// An object that is to be written.
#[derive(Clone)]
struct Draft {
    id: ResourceKey,
    /// The resource version that it came with.
    given: Option<String>,
    /// In canonical form.
    object: Value,
}

impl Draft {
    /// Of an object of any version, if its name is `allowed`.
    fn of(mut object: Value, allowed: impl FnOnce(&ResourceKey) -> Result<()>) -> Result<Draft> {
        let id = Client::key_of(&object)?;
        let given = resource_version(&object);
        allowed(&id)?;
        tortie_api::defaults::apply_before_types(id.kind, &mut object);
        let object = canonical::canonical(id.kind, object)?;
        Ok(Draft { id, given, object })
    }

    /// Of an object that isn't stored yet, and so has no version.
    fn new_object(object: Value) -> Result<Draft> {
        match resource_version(&object) {
            Some(version) => Err(Error::invalid(
                "Metadata.ResourceVersion",
                Some(&version),
                "field must not be set for a Create request",
            )),
            None => Draft::of(object, rules::creatable),
        }
    }
}

fn typed<S: Spec + Serialize + DeserializeOwned>(id: &ResourceKey, object: Value) -> Result<Object<S>> {
    serde_json::from_value(object)
        .map_err(|error| Error::Unreadable { key: keys::resource(id), cause: error.to_string() })
}

/// A stored object as the API shows it.
fn read(id: &ResourceKey, value: &[u8], revision: Revision) -> Result<Value> {
    let unreadable = |cause: String| Error::Unreadable { key: keys::resource(id), cause };
    let object: Value = serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))?;
    if !object.is_object() {
        return Err(unreadable("expected a JSON object".to_owned()));
    }
    Ok(metadata::with_version(metadata::shown(id, object), revision))
}

/// The resource version that an object carries, if it does.
fn resource_version(object: &Value) -> Option<String> {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str)?;
    (!version.is_empty()).then(|| version.to_owned())
}
