//! Metadata of objects, and the object around a kind's `spec` and `status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::go_struct;
use crate::kind::{Kind, ResourceKey, Scope};
use crate::schema::{Field, Omit, Shape, Shaped, Struct};

/// Labels or annotations.
pub type StringMap = BTreeMap<String, String>;

go_struct! {
    /// Kubernetes' object metadata, in the order in which Go prints it.
    ObjectMeta {
        /// Unique in the kind, or in the kind and namespace.
        name: String = "name",
        /// A prefix for a generated name.
        generate_name: String = "generateName",
        /// Empty for objects of cluster scope.
        namespace: String = "namespace",
        /// Never comes back from Calico's client.
        self_link: String = "selfLink",
        /// Set by the client at create.
        uid: String = "uid",
        /// The store's revision of the last change; never stored itself.
        resource_version: String = "resourceVersion",
        /// A counter of changes to the spec.
        generation: i64 = "generation",
        /// RFC 3339, in whole seconds, UTC; set by the client at create.
        creation_timestamp: Option<String> = "creationTimestamp",
        /// RFC 3339; set while finalizers hold the object.
        deletion_timestamp: Option<String> = "deletionTimestamp",
        /// Seconds.
        deletion_grace_period_seconds: Option<i64> = "deletionGracePeriodSeconds",
        /// What selectors match.
        labels: StringMap = "labels",
        /// Free text for people and programs.
        annotations: StringMap = "annotations",
        /// Who owns the object.
        owner_references: Vec<serde_json::Value> = "ownerReferences",
        /// Who must agree to its deletion.
        finalizers: Vec<String> = "finalizers",
        /// Bookkeeping of server-side apply.
        managed_fields: Vec<serde_json::Value> = "managedFields",
    }
}

/// What stands in an object beside its metadata.
pub trait Spec: Shaped + Omit + Default {
    /// The kind whose `spec` this is.
    const KIND: Kind;
    /// The type of the kind's `status`; [`NoStatus`] where it has none.
    type Status: Shaped
        + Omit
        + Default
        + Clone
        + std::fmt::Debug
        + PartialEq
        + Serialize
        + for<'de> Deserialize<'de>;
}

/// The `status` of a kind that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoStatus {}

impl Omit for NoStatus {
    fn omit(&self) -> bool {
        true
    }
}

impl Shaped for NoStatus {
    const SHAPE: &'static Shape = &Shape::Struct(&Struct { go_name: "NoStatus", fields: &[] });
}

/// An object of a kind with a `spec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound = "S: Spec + Serialize + serde::de::DeserializeOwned", default)]
pub struct Object<S: Spec> {
    /// Name, namespace, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: S,
    /// What is.
    #[serde(skip_serializing_if = "tortie_api::schema::omit")]
    pub status: S::Status,
}

impl<S: Spec> Object<S> {
    /// The object's identity. The namespace of a kind of cluster scope is ignored.
    pub fn key(&self) -> ResourceKey {
        match S::KIND.scope() {
            Scope::Namespaced => {
                ResourceKey::namespaced(S::KIND, &self.metadata.namespace, &self.metadata.name)
            }
            Scope::Cluster => ResourceKey::cluster(S::KIND, &self.metadata.name),
        }
    }
}

impl<S: Spec> Shaped for Object<S> {
    const SHAPE: &'static Shape = &Shape::Struct(&Struct {
        go_name: S::KIND.name(),
        fields: &[
            Field { name: "kind", shape: &Shape::String, always: false, pointer: false },
            Field { name: "apiVersion", shape: &Shape::String, always: false, pointer: false },
            Field { name: "metadata", shape: ObjectMeta::SHAPE, always: true, pointer: false },
            Field { name: "spec", shape: S::SHAPE, always: true, pointer: false },
            Field {
                name: "status",
                shape: <S::Status as Shaped>::SHAPE,
                always: prints_status::<S>(),
                pointer: !prints_status::<S>(),
            },
        ],
    });
}

/// Whether Go prints an empty `status`: where there is one and it is no pointer.
const fn prints_status<S: Spec>() -> bool {
    let Shape::Struct(status) = <S::Status as Shaped>::SHAPE else { return false };
    !status.fields.is_empty() && !matches!(S::KIND, Kind::IPPool)
}

/// Names the kind and the status of a `spec` type.
macro_rules! specs {
    ($($spec:ty => $kind:ident $(, $status:ty)?;)*) => {$(
        impl $crate::meta::Spec for $spec {
            const KIND: $crate::kind::Kind = $crate::kind::Kind::$kind;
            type Status = $crate::meta::specs!(@status $($status)?);
        }
    )*};
    (@status $status:ty) => { $status };
    (@status) => { $crate::meta::NoStatus };
}
pub(crate) use specs;
