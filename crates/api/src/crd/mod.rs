//! The CustomResourceDefinitions of `crd.projectcalico.org/v1`: Calico's kinds in Kubernetes' API, made of our own types.
//!
//! ```text
//! shape of a kind -> schema      types, fields, what is required
//!   its checks    -> conditions  enums, patterns, ranges, sizes, formats
//!   its rules     -> cel         rules across fields, with Calico's messages; and what Calico asks beyond its schemas
//!   exceptions    -> exceptions  where the stored form isn't the one that users write, or an older one
//! ```
//! The API server throws away what a schema doesn't name, so the schemas name every field that Calico's tools write.
//! Names, scopes and what there isn't (short names, a subresource `status`: a PUT would lose the status) are Calico's.
//! Pure; the binary prints the result (`tortie crds`).

mod beyond;
mod cel;
mod conditions;
mod exceptions;
mod schema;

use serde_json::{Value, json};

use crate::kind::{Api, Kind, Scope};
use crate::registry;
use crate::schema::{Shape, Struct};
use crate::yaml;

/// The group of the definitions.
pub const GROUP: &str = "crd.projectcalico.org";

/// A kind that has a definition.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// The kind of Calico's API whose objects it holds.
    pub holds: Kind,
    /// The kind in the definition.
    pub kind: &'static str,
    /// The plural in lower case.
    pub plural: &'static str,
}

impl Definition {
    /// All of them, by their plurals.
    pub fn all() -> Vec<Definition> {
        let elsewhere = |kind: Kind| {
            matches!(kind, Kind::Profile | Kind::Node | Kind::WorkloadEndpoint | Kind::LiveMigration)
        };
        let mut all: Vec<Definition> = Kind::ALL
            .iter()
            .filter(|kind| kind.api() == Api::Calico && !elsewhere(**kind))
            .map(|kind| match kind {
                Kind::IPAMConfiguration => {
                    Definition { holds: *kind, kind: "IPAMConfig", plural: "ipamconfigs" }
                }
                kind => Definition { holds: *kind, kind: kind.name(), plural: kind.plural() },
            })
            .collect();
        all.sort_by_key(|definition| definition.plural);
        all
    }

    /// The CustomResourceDefinition.
    pub fn object(self) -> Value {
        let Definition { holds, kind, plural } = self;
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{GROUP}")},
            "spec": {
                "group": GROUP,
                "names": {
                    "kind": kind,
                    "listKind": format!("{kind}List"),
                    "plural": plural,
                    "singular": kind.to_lowercase(),
                },
                "scope": match holds.scope() {
                    Scope::Cluster => "Cluster",
                    Scope::Namespaced => "Namespaced",
                },
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": self.schema()},
                }],
            },
        })
    }

    /// The schema of its objects.
    fn schema(self) -> Value {
        let mut properties = json!({
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
        });
        let Shape::Struct(Struct { fields, .. }) = registry::shape(self.holds) else { return properties };
        for field in fields.iter().filter(|field| ["spec", "status"].contains(&field.name)) {
            match field.shape {
                Shape::Struct(Struct { fields: [], .. }) => {}
                // What a controller says isn't judged, only kept.
                shape if field.name == "status" => properties["status"] = schema::kept(shape),
                shape => properties["spec"] = schema::judged(shape),
            }
        }
        let mut schema = json!({"type": "object", "properties": properties});
        schema::add_rules(&mut schema, self.holds.name());
        schema
    }
}

/// All definitions as one YAML file.
pub fn yaml() -> String {
    let mut out =
        "# Calico's kinds in the Kubernetes API. Made by `tortie crds`; not to be edited.\n".to_owned();
    for definition in Definition::all() {
        out += "---\n";
        out += &yaml::to_string(&definition.object());
    }
    out
}

#[cfg(test)]
mod tests;
