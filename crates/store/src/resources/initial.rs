//! What an empty datastore gets, and the profile that always exists.

use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};

use super::{Client, Labels};
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

    /// Say of the cluster what Calico's users find in it: of which type it is and whose behaviour it has, where an older Calico
    /// was before, and the settings of all nodes, for `kubectl patch`. What is there of these stays. Called by the agent at its
    /// start, with what its manifest says of the type, parts separated by commas.
    ///
    /// # Errors
    /// Those of the datastore.
    pub fn ensure_described(&self, cluster_type: &str) -> Result<()> {
        let own = self.store().knows_pods().then_some("kdd");
        let parts: Vec<&str> =
            cluster_type.split(',').chain(own).map(str::trim).filter(|part| !part.is_empty()).collect();
        let id = ResourceKey::cluster(Kind::ClusterInformation, "default");
        let mut attempts = 0;
        loop {
            attempts += 1;
            let stored = self.get(&id)?;
            let mut object = stored.clone();
            describe(&mut object["spec"], &parts);
            if object == stored {
                break;
            }
            match self.update(object, Labels::Merge) {
                Err(Error::UpdateConflict { .. }) if attempts < ATTEMPTS => {}
                done => break drop(done?),
            }
        }
        let key = ResourceKey::cluster(Kind::FelixConfiguration, "default");
        if self.store().get(&keys::resource(&key))?.is_some() {
            return Ok(());
        }
        let settings = json!({
            "kind": "FelixConfiguration", "apiVersion": "projectcalico.org/v3", "metadata": { "name": "default" },
            "spec": { "logSeverityScreen": "Info", "reportingInterval": "0s" },
        });
        match self.create(settings) {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// How often a write is tried that others overtake.
const ATTEMPTS: usize = 5;

/// Completes what a `ClusterInformation` says. A newer version stays: its programs refuse an older one.
fn describe(spec: &mut Value, parts: &[&str]) {
    if version(spec["calicoVersion"].as_str().unwrap_or_default()) < version(COMPATIBLE_VERSION) {
        spec["calicoVersion"] = json!(COMPATIBLE_VERSION);
    }
    let said = spec["clusterType"].as_str().unwrap_or_default();
    let mut known: Vec<&str> = said.split(',').filter(|part| !part.is_empty()).collect();
    let before = known.len();
    for part in parts {
        if !known.contains(part) {
            known.push(part);
        }
    }
    if known.len() > before {
        spec["clusterType"] = json!(known.join(","));
    }
}

/// The numbers of `v3.33.0` or `v3.33.0-0.dev-12-gabcdef`; `None` is less than all others.
fn version(text: &str) -> Option<[u64; 3]> {
    let numbers = text.strip_prefix('v')?.split(['-', '+']).next()?;
    let numbers: Vec<u64> = numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;

    fn mk_client(directory: &tempfile::TempDir) -> Client {
        let options = crate::embedded::Options::new(directory.path().join("db"));
        Client::new(Arc::new(crate::embedded::Embedded::open(options).unwrap()))
    }

    fn spec(client: &Client, kind: Kind) -> Value {
        client.get(&ResourceKey::cluster(kind, "default")).unwrap()["spec"].clone()
    }

    #[test]
    fn a_cluster_says_its_type_and_version_once_and_what_a_newer_calico_said_stays() {
        let directory = tempfile::tempdir().unwrap();
        let client = mk_client(&directory);
        client.ensure_initialized().unwrap();
        let revision = || client.store().revision().unwrap();
        client.ensure_described("k8s,bgp,").unwrap();
        assert_eq!(spec(&client, Kind::ClusterInformation)["clusterType"], "k8s,bgp");
        let before = revision();
        client.ensure_described("k8s,bgp").unwrap();
        assert_eq!(revision(), before, "nothing is written twice");
        let id = ResourceKey::cluster(Kind::ClusterInformation, "default");
        for (found, left) in [
            ("v3.9.2", COMPATIBLE_VERSION),
            ("v3.32.1-0.dev-7-gabc", COMPATIBLE_VERSION),
            ("", COMPATIBLE_VERSION),
            ("v3.34.0", "v3.34.0"),
            ("v4.0.0", "v4.0.0"),
        ] {
            let mut object = client.get(&id).unwrap();
            object["spec"]["calicoVersion"] = json!(found);
            object["spec"]["clusterType"] = json!("typha,k8s");
            client.update(object, Labels::Merge).unwrap();
            client.ensure_described("k8s,kubeadm").unwrap();
            let spec = spec(&client, Kind::ClusterInformation);
            assert_eq!(
                (&spec["calicoVersion"], &spec["clusterType"]),
                (&json!(left), &json!("typha,k8s,kubeadm")),
                "{found}"
            );
            assert_eq!(spec["datastoreReady"], true);
        }
    }

    #[test]
    fn the_settings_of_all_nodes_are_made_as_calico_makes_them_and_then_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let client = mk_client(&directory);
        client.ensure_initialized().unwrap();
        client.ensure_described("").unwrap();
        let made = spec(&client, Kind::FelixConfiguration);
        assert_eq!((&made["logSeverityScreen"], &made["reportingInterval"]), (&json!("Info"), &json!("0s")));
        let id = ResourceKey::cluster(Kind::FelixConfiguration, "default");
        let mut object = client.get(&id).unwrap();
        object["spec"] = json!({"logSeverityScreen": "Debug"});
        client.update(object, Labels::Merge).unwrap();
        let changed = spec(&client, Kind::FelixConfiguration);
        client.ensure_described("").unwrap();
        assert_eq!(spec(&client, Kind::FelixConfiguration), changed);
    }
}
