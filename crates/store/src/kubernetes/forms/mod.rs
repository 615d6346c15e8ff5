//! Where each key stands in the Kubernetes API, and what its value looks like there. Pure; both ways.
//!
//! ```text
//! /calico/resources/v3/projectcalico.org/tiers/sec      tiers of crd.projectcalico.org/v1           custom
//! /calico/ipam/v2/...                                   ipamblocks, ipamhandles, blockaffinities    ipam
//! .../projectcalico.org/nodes/n1                        annotations of the core Node                node
//! .../projectcalico.org/workloadendpoints/ns/n1-k8s-..  derived from the core Pod                   pod
//! .../kubernetes.io/namespaces/ns                       the object itself, trimmed                  native
//! ```
//! A value that is read is the JSON that Calico's etcd driver would hold for the same object, so nothing above the store
//! knows the difference. An object that doesn't fit is an [`Unreadable`], never silence. Next hop: the datastore above,
//! which speaks HTTP.

mod custom;
mod ipam;
mod json;
mod metadata;
mod names;
mod native;
mod node;
mod pod;
mod qos;
pub mod raw;

use std::fmt;
use std::sync::LazyLock;

use serde_json::Value;
use tortie_api::kind::{Api, Kind, Scope};

use crate::keys;
pub(crate) use custom::converted_uid;
pub use pod::labels_of as pod_labels;

/// Kubernetes' core.
pub const CORE: &str = "/api/v1";

/// The group of Calico's custom resources.
const CUSTOM: &str = "/apis/crd.projectcalico.org/v1";

/// One collection of the Kubernetes API, and the keys that stand in it. Keys of different collections never begin alike.
#[derive(Debug)]
pub struct Collection {
    /// The path before the plural and the namespace, for example `/apis/crd.projectcalico.org/v1`.
    pub api: &'static str,
    /// The plural in the path.
    pub plural: &'static str,
    /// The kind of its objects there.
    pub kind: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What all its keys begin with. Two collections may share their objects, but no key.
    pub prefix: String,
    form: Form,
}

/// How an object and a value lead to each other.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// A kind of Calico's API, stored by a custom resource.
    Custom(Kind),
    Block,
    Handle,
    /// A claim to a block by an owner of this sort: `host` or `virtual`.
    Claim(&'static str),
    Settings,
    Node,
    Pod,
    /// A kind of Kubernetes'.
    Native(Kind),
    /// Anything, in a namespace: see [`raw`].
    Raw(&'static str),
}

/// The object that holds a key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The namespace; none in collections of cluster scope.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The key. It may be another than the one whose [`Place`] was asked for (a pod on another node, a handle with other
    /// capitals): then there is nothing at that one.
    pub key: String,
    /// The JSON that stands at the key on etcd.
    pub value: Vec<u8>,
    /// The object's `resourceVersion`.
    pub version: u64,
    /// The object's own `uid`, which for custom resources is not the one in the value. For preconditions.
    pub uid: String,
    /// Whether Calico has marked it as deleted and may have died before it deleted it. For its readers it is gone;
    /// whoever meets it deletes it.
    pub deleted: bool,
}

/// How a value is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// As the whole object: POST it, or PUT it in the place of what stands there.
    Object(Value),
    /// As a merge patch of the subresource `status` (which takes annotations too) of an object that others own.
    Patch(Value),
}

/// How a key is deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum Removal {
    /// By deleting the object.
    Delete,
    /// By a merge patch of the subresource `status`: the object is another's.
    Patch(Value),
    /// Not at all: the object is another's.
    Refused,
}

/// An object or a value that doesn't have the form that it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The key, if that much could be read.
    pub key: Option<String>,
    /// The object's `resourceVersion`, if that much could be read.
    pub version: Option<u64>,
    /// The field, for example `spec.cidr`.
    pub field: String,
    /// What was found there.
    pub found: String,
    /// What was expected.
    pub expected: &'static str,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.field, self.found, self.expected)
    }
}

impl std::error::Error for Unreadable {}

impl From<Unreadable> for crate::Error {
    fn from(fault: Unreadable) -> crate::Error {
        let cause = fault.to_string();
        crate::Error::Unreadable { key: fault.key.unwrap_or_default(), cause }
    }
}

impl Unreadable {
    fn at(field: impl Into<String>, found: impl fmt::Display, expected: &'static str) -> Unreadable {
        Unreadable { key: None, version: None, field: field.into(), found: found.to_string(), expected }
    }
}

impl Collection {
    fn of_kind(kind: Kind) -> Collection {
        let (api, plural, form) = match kind {
            Kind::IPAMConfiguration => (CUSTOM, "ipamconfigs", Form::Custom(kind)),
            Kind::Node => (CORE, "nodes", Form::Node),
            Kind::WorkloadEndpoint => (CORE, "pods", Form::Pod),
            Kind::KubernetesNetworkPolicy => {
                ("/apis/networking.k8s.io/v1", "networkpolicies", Form::Native(kind))
            }
            Kind::KubernetesClusterNetworkPolicy => {
                ("/apis/policy.networking.k8s.io/v1alpha2", "clusternetworkpolicies", Form::Native(kind))
            }
            Kind::EndpointSlice => ("/apis/discovery.k8s.io/v1", "endpointslices", Form::Native(kind)),
            kind if kind.api() == Api::Calico => (CUSTOM, kind.plural(), Form::Custom(kind)),
            kind => (CORE, kind.plural(), Form::Native(kind)),
        };
        let name = match kind {
            Kind::IPAMConfiguration => "IPAMConfig",
            Kind::WorkloadEndpoint => "Pod",
            kind => kind.name(),
        };
        Collection {
            api,
            plural,
            kind: name,
            namespaced: kind.scope() == Scope::Namespaced,
            prefix: keys::kind_prefix(kind),
            form,
        }
    }

    fn of_ipam(prefix: String, plural: &'static str, kind: &'static str, form: Form) -> Collection {
        Collection { api: CUSTOM, plural, kind, namespaced: false, prefix, form }
    }

    /// The `apiVersion` of its objects, for example `crd.projectcalico.org/v1`.
    pub fn api_version(&self) -> &'static str {
        self.api.trim_start_matches("/apis/").trim_start_matches("/api/")
    }

    /// Where the object stands that holds `key`; `None` if no object can.
    pub fn place(&self, key: &str) -> Option<Place> {
        let rest = key.strip_prefix(self.prefix.as_str())?;
        match self.form {
            Form::Raw(namespace) => Some(raw::place(namespace, rest)),
            Form::Block => Some(Place { namespace: None, name: ipam::block_name(rest)? }),
            Form::Handle => names::simple(rest).map(|id| Place { namespace: None, name: id.to_lowercase() }),
            Form::Claim(_) => Some(Place { namespace: None, name: ipam::claim_name(rest)? }),
            Form::Settings => rest.is_empty().then(|| Place { namespace: None, name: "default".to_owned() }),
            Form::Pod => {
                let (namespace, name) = rest.split_once('/')?;
                let (_, pod) = names::endpoint_parts(names::simple(name)?)?;
                Some(Place { namespace: Some(names::simple(namespace)?.to_owned()), name: pod })
            }
            Form::Custom(_) | Form::Node | Form::Native(_) if self.namespaced => {
                let (namespace, name) = rest.split_once('/')?;
                Some(Place {
                    namespace: Some(names::simple(namespace)?.to_owned()),
                    name: names::simple(name)?.to_owned(),
                })
            }
            Form::Custom(_) | Form::Node | Form::Native(_) => {
                names::simple(rest).map(|name| Place { namespace: None, name: name.to_owned() })
            }
        }
    }

    /// The namespace whose keys all begin with `prefix`, which itself is longer than the collection's; `None` if there is
    /// no such.
    pub fn namespace_of(&self, prefix: &str) -> Option<String> {
        if let Form::Raw(namespace) = self.form {
            return Some(namespace.to_owned());
        }
        if !self.namespaced {
            return None;
        }
        let (namespace, _) = prefix.strip_prefix(self.prefix.as_str())?.split_once('/')?;
        names::simple(namespace).map(str::to_owned)
    }

    /// What an object holds; `None` if it is none of ours: a pod in its host's network or not on a node yet, a claim of
    /// another sort of owner.
    ///
    /// # Errors
    /// [`Unreadable`] names the key as soon as that is known.
    pub fn read(&self, object: &[u8]) -> Result<Option<Read>, Unreadable> {
        match self.form {
            Form::Raw(_) => raw::read(object).map(Some),
            Form::Pod => pod::read(&self.prefix, object),
            Form::Node => node::read(&self.prefix, object).map(Some),
            Form::Native(kind) => native::read(&self.prefix, kind, object).map(Some),
            Form::Custom(kind) => custom::read(&self.prefix, kind, object).map(Some),
            Form::Block => ipam::read_block(&self.prefix, object).map(Some),
            Form::Handle => ipam::read_handle(&self.prefix, object).map(Some),
            Form::Claim(owner) => ipam::read_claim(&self.prefix, owner, object),
            Form::Settings => ipam::read_settings(&self.prefix, object).map(Some),
        }
    }

    /// What to send so that `value` stands at `key`. `standing` is the object that is in the [`Place`] now: an object that
    /// takes its place keeps what isn't Calico's to say, and its `uid` and `resourceVersion` as preconditions.
    ///
    /// # Errors
    /// [`Unreadable`] if the value doesn't have the form of its kind, or the collection is only read.
    pub fn write(&self, key: &str, value: &[u8], standing: Option<&Value>) -> Result<Written, Unreadable> {
        let written = || {
            let place = self.place(key).ok_or_else(|| {
                Unreadable::at(
                    "key",
                    format!("{key:?}"),
                    "a key that an object of the Kubernetes API can hold",
                )
            })?;
            match self.form {
                Form::Raw(_) => Ok(Written::Object(raw::write(self, &place, value))),
                Form::Pod => pod::write(value).map(Written::Patch),
                Form::Node => node::write(value).map(Written::Patch),
                Form::Native(kind) => {
                    Err(Unreadable::at("kind", kind.name(), "a kind that is Calico's to write"))
                }
                Form::Custom(kind) => custom::write(self, kind, &place, value, standing).map(Written::Object),
                Form::Block => ipam::write_block(self, &place, value, standing).map(Written::Object),
                Form::Handle => {
                    let id = key.strip_prefix(self.prefix.as_str()).unwrap_or_default();
                    ipam::write_handle(self, &place, id, value, standing).map(Written::Object)
                }
                Form::Claim(owner) => {
                    let rest = key.strip_prefix(self.prefix.as_str()).unwrap_or_default();
                    ipam::write_claim(self, &place, (owner, rest), value, standing).map(Written::Object)
                }
                Form::Settings => ipam::write_settings(self, &place, value, standing).map(Written::Object),
            }
        };
        written().map_err(|fault| Unreadable { key: Some(key.to_owned()), ..fault })
    }

    /// Whether [`Collection::write`] wants to know what stands there. Blocks, handles and claims are Calico's alone: for them
    /// a `resourceVersion` in the metadata is enough, and nothing is read before.
    pub fn keeps_standing(&self) -> bool {
        matches!(self.form, Form::Custom(_) | Form::Settings)
    }

    /// How a key is deleted.
    pub fn removal(&self) -> Removal {
        match self.form {
            Form::Pod => Removal::Patch(pod::removal()),
            Form::Node | Form::Native(_) => Removal::Refused,
            Form::Custom(_) | Form::Block | Form::Handle | Form::Claim(_) | Form::Settings | Form::Raw(_) => {
                Removal::Delete
            }
        }
    }

    /// Whether its objects are told as those of another collection: pods, as workload endpoints. It is read by who asks for
    /// it, and no part of a list or watch of all.
    pub fn is_told_elsewhere(&self) -> bool {
        matches!(self.form, Form::Native(Kind::Pod))
    }

    /// Whether values are written here; the others are Kubernetes' own. Of these, nodes and workload endpoints are changed
    /// but never created: without the node or pod there is nothing to write to.
    pub fn writable(&self) -> bool {
        !matches!(self.form, Form::Native(_))
    }

    /// Whether a key is created by creating its object.
    pub fn creatable(&self) -> bool {
        !matches!(self.form, Form::Native(_) | Form::Node | Form::Pod)
    }
}

/// All collections, sorted by prefix.
pub fn collections() -> &'static [Collection] {
    static ALL: LazyLock<Vec<Collection>> = LazyLock::new(|| {
        // Kinds of Calico's that stand in none: profiles are made from namespaces and service accounts, the states of
        // address management have keys of their own, and moves of virtual machines are KubeVirt's.
        let elsewhere = |kind: &&Kind| {
            !matches!(
                kind,
                Kind::Profile
                    | Kind::IPAMBlock
                    | Kind::IPAMHandle
                    | Kind::BlockAffinity
                    | Kind::LiveMigration
            )
        };
        let mut all: Vec<Collection> =
            Kind::ALL.iter().filter(elsewhere).map(|kind| Collection::of_kind(*kind)).collect();
        let claims = |owner| {
            let prefix = format!("{}{owner}/", keys::IPAM);
            Collection::of_ipam(prefix, "blockaffinities", "BlockAffinity", Form::Claim(owner))
        };
        all.extend([
            Collection::of_ipam(keys::IPAM_BLOCKS.to_owned(), "ipamblocks", "IPAMBlock", Form::Block),
            Collection::of_ipam(keys::IPAM_HANDLES.to_owned(), "ipamhandles", "IPAMHandle", Form::Handle),
            Collection::of_ipam(keys::IPAM_CONFIG.to_owned(), "ipamconfigs", "IPAMConfig", Form::Settings),
            claims("host"),
            claims("virtual"),
        ]);
        all.sort_by(|one, other| one.prefix.cmp(&other.prefix));
        all
    });
    &ALL
}

/// Of `all` the collections in which keys stand that begin with `prefix`: all that begin with it, or the one that it begins with.
pub fn under<'a>(all: &'a [Collection], prefix: &str) -> Vec<&'a Collection> {
    let concerns = |collection: &&Collection| {
        (collection.prefix.starts_with(prefix) && !collection.is_told_elsewhere())
            || prefix.starts_with(&collection.prefix)
    };
    all.iter().filter(concerns).collect()
}

/// Of `all`, which are sorted, the collection in which a key stands.
pub fn of_key<'a>(all: &'a [Collection], key: &str) -> Option<&'a Collection> {
    let after = all.partition_point(|collection| collection.prefix.as_str() <= key);
    all[..after].last().filter(|collection| key.starts_with(&collection.prefix))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
