//! What an empty datastore gets, and the profile that always exists.

use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};

use super::Client;
use crate::{Error, Result, keys};

/// The version of Calico that `ClusterInformation` names: the one whose behaviour is ours. Calico's programs refuse a
/// datastore of another version.
pub const COMPATIBLE_VERSION: &str = "v3.33.0";

/// The profile that allows everything. It exists without being stored.
pub const DEFAULT_ALLOW_PROFILE: &str = "projectcalico-default-allow";

/// The profile that allows everything, as the API shows it.
pub fn default_allow_profile() -> Value {
    json!({
        "kind": "Profile",
        "apiVersion": "projectcalico.org/v3",
        "metadata": { "name": DEFAULT_ALLOW_PROFILE, "resourceVersion": "1" },
        "spec": { "ingress": [{ "action": "Allow" }], "egress": [{ "action": "Allow" }] },
    })
}

/// Whether this is that profile.
pub fn is_default_allow(id: &ResourceKey) -> bool {
    id.kind == Kind::Profile && &*id.name == DEFAULT_ALLOW_PROFILE
}

impl Client {
    /// Make the tiers that always are and the cluster's own record, each if it is missing; another process may do the
    /// same at the same time. Called before the first object is written, and by the agent at its start.
    ///
    /// # Errors
    /// Those of the datastore.
    pub fn ensure_initialized(&self) -> Result<()> {
        let tier = |name: &str, order: u32, action: &str| {
            json!({
                "kind": "Tier", "apiVersion": "projectcalico.org/v3", "metadata": { "name": name },
                "spec": { "order": order, "defaultAction": action },
            })
        };
        let information = json!({
            "kind": "ClusterInformation", "apiVersion": "projectcalico.org/v3", "metadata": { "name": "default" },
            "spec": {
                "clusterGUID": uuid::Uuid::new_v4().simple().to_string(),
                "calicoVersion": COMPATIBLE_VERSION,
                "datastoreReady": true,
            },
        });
        let objects = [
            information,
            tier("default", 1_000_000, "Deny"),
            tier("kube-admin", 1_000, "Pass"),
            tier("kube-baseline", 10_000_000, "Pass"),
        ];
        // Reading first: all but the first call only read.
        let key = |object| Ok(keys::resource(&Client::key_of(object)?));
        let keys: Vec<String> = objects.iter().map(key).collect::<Result<_>>()?;
        let found = self.store().get_all(&keys)?;
        for (object, _) in objects.into_iter().zip(found).filter(|(_, found)| found.is_none()) {
            match self.create(object) {
                Ok(_) | Err(Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
