//! Where policy and addresses are in etcd beside a cluster: what of Kubernetes' objects is copied there, in Calico's form. Pure;
//! [`crate::write`] writes it.
//!
//! | Kubernetes | the copy |
//! |---|---|
//! | Namespace `N` | Profile `kns.N`: its labels under `pcns.`, everything allowed |
//! | ServiceAccount `N/A` | Profile `ksa.N.A`: its labels under `pcsa.`, no rules |
//! | NetworkPolicy `N/P` | NetworkPolicy `N/knp.default.P` |
//! | labels and service account of a Pod | those of its WorkloadEndpoint, which the CNI plugin has made |
//! | labels of a Node | those of Calico's, which an annotation tells from its own; a Node that is gone takes it along |
//!
//! What has such a name and isn't in Kubernetes any more goes; nothing else is touched.

use std::collections::BTreeMap;

use serde_json::json;
use tortie_api::core::{Namespace, ServiceAccount};
use tortie_api::endpoint::Node;
use tortie_api::kubernetes::KubernetesNetworkPolicy;
use tortie_api::meta::StringMap;
use tortie_api::policy::{NetworkPolicySpec, ProfileSpec, Rule};

/// What a copied policy's name begins with.
pub const POLICY: &str = "knp.default.";
/// What a namespace's profile's name begins with.
pub const NAMESPACE: &str = "kns.";
/// What a service account's profile's name begins with.
pub const ACCOUNT: &str = "ksa.";
/// The label of a namespace's and a service account's name.
const NAME: &str = "projectcalico.org/name";
/// The annotation of a node that says which of its labels are Kubernetes'.
const KUBE_LABELS: &str = "projectcalico.org/kube-labels";

/// The profile of a namespace: its name and what it says.
pub fn of_namespace(namespace: &Namespace) -> (String, ProfileSpec) {
    let allow = || vec![Rule { action: "Allow".to_owned(), ..Rule::default() }];
    let metadata = &namespace.metadata;
    let labels_to_apply = under("pcns.", &metadata.labels, &metadata.name);
    let spec = ProfileSpec { ingress: allow(), egress: allow(), labels_to_apply };
    (format!("{NAMESPACE}{}", metadata.name), spec)
}

/// The profile of a service account.
pub fn of_account(account: &ServiceAccount) -> (String, ProfileSpec) {
    let metadata = &account.metadata;
    let labels_to_apply = under("pcsa.", &metadata.labels, &metadata.name);
    let spec = ProfileSpec { labels_to_apply, ..ProfileSpec::default() };
    (format!("{ACCOUNT}{}.{}", metadata.namespace, metadata.name), spec)
}

fn under(prefix: &str, labels: &StringMap, name: &str) -> StringMap {
    let own = labels.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone()));
    own.chain([(format!("{prefix}{NAME}"), name.to_owned())]).collect()
}

/// The copy of a policy: its name and what it says. Without one if it can't be told which pods it applies to; a rule that
/// can't be converted allows nothing.
pub fn of_policy(policy: &KubernetesNetworkPolicy) -> Option<(String, NetworkPolicySpec)> {
    let name = format!("{POLICY}{}", policy.metadata.name);
    match policy.convert() {
        Ok(converted) => Some((name, converted.spec)),
        Err(error) => {
            tracing::warn!(%error, "a policy of Kubernetes is not copied");
            None
        }
    }
}

/// What is to be written at one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T> {
    /// This.
    Put(String, T),
    /// Nothing.
    Delete(String),
}

/// What makes of what is stored what is wanted.
pub fn differences<T: Clone + PartialEq>(
    wanted: &BTreeMap<String, T>,
    stored: &BTreeMap<String, T>,
) -> Vec<Change<T>> {
    let gone = stored.keys().filter(|key| !wanted.contains_key(*key)).cloned().map(Change::Delete);
    let differ = wanted.iter().filter(|(key, wanted)| stored.get(*key) != Some(wanted));
    gone.chain(differ.map(|(key, wanted)| Change::Put(key.clone(), wanted.clone()))).collect()
}

/// The name of the node in Kubernetes that a node of Calico's stands for.
pub fn machine_of(node: &Node) -> Option<&str> {
    let of_kubernetes = node.spec.orch_refs.iter().find(|of| of.orchestrator == "k8s");
    of_kubernetes.map(|of| of.node_name.as_str()).filter(|name| !name.is_empty())
}

/// A node's labels and annotations when Kubernetes' labels are on it; `None` if they are already, or if it can't be told
/// which were.
pub fn labelled(node: &Node, labels: &StringMap) -> Option<(StringMap, StringMap)> {
    let mut found = node.metadata.labels.clone();
    let mut annotations = node.metadata.annotations.clone();
    let before: Option<StringMap> = match annotations.get(KUBE_LABELS) {
        None => None,
        Some(text) => match serde_json::from_str(text) {
            Ok(before) => before,
            Err(error) => {
                tracing::warn!(node = node.metadata.name, %error, "the annotation {KUBE_LABELS} cannot be read");
                return None;
            }
        },
    };
    before
        .unwrap_or_default()
        .keys()
        .filter(|key| !labels.contains_key(*key))
        .for_each(|key| drop(found.remove(key)));
    found.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    if found == node.metadata.labels {
        return None;
    }
    annotations.insert(KUBE_LABELS.to_owned(), json!(labels).to_string());
    Some((found, annotations))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde_json::Value;

    #[test]
    fn profiles_are_named_labelled_and_ruled_as_calicos() {
        let namespace: Namespace = serde_json::from_value(
            json!({"metadata": {"name": "shop", "labels": {"team": "red"}}, "spec": {}}),
        )
        .unwrap();
        let (name, spec) = of_namespace(&namespace);
        assert_eq!(name, "kns.shop");
        let rule = json!([{"action": "Allow"}]);
        let labels = json!({"pcns.team": "red", "pcns.projectcalico.org/name": "shop"});
        assert_eq!(
            serde_json::to_value(spec).unwrap(),
            json!({"ingress": rule, "egress": rule, "labelsToApply": labels})
        );
        let account: ServiceAccount = serde_json::from_value(
            json!({"metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}}, "spec": {}}),
        )
        .unwrap();
        let (name, spec) = of_account(&account);
        assert_eq!(name, "ksa.shop.web");
        let labels = json!({"pcsa.a": "b", "pcsa.projectcalico.org/name": "web"});
        assert_eq!(serde_json::to_value(spec).unwrap(), json!({"labelsToApply": labels}));
    }

    #[test]
    fn only_what_differs_is_written() {
        let map =
            |pairs: &[(&str, u8)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        let found = differences(
            &map(&[("same", 1), ("new", 2), ("other", 3)]),
            &map(&[("same", 1), ("other", 9), ("gone", 4)]),
        );
        let expected = [
            Change::Delete("gone".to_owned()),
            Change::Put("new".to_owned(), 2),
            Change::Put("other".to_owned(), 3),
        ];
        assert_eq!(found, expected);
    }

    fn node(labels: Value, annotation: Option<&str>) -> Node {
        let annotations = annotation.map(|text| json!({KUBE_LABELS: text})).unwrap_or_default();
        serde_json::from_value(
            json!({"metadata": {"name": "n", "labels": labels, "annotations": annotations}, "spec": {}}),
        )
        .unwrap()
    }

    #[test]
    fn a_nodes_own_labels_stay_and_kubernetes_come_and_go() {
        let map = |labels: Value| serde_json::from_value::<StringMap>(labels).unwrap();
        let first = node(json!({"own": "1"}), None);
        let (labels, annotations) = labelled(&first, &map(json!({"zone": "a"}))).unwrap();
        assert_eq!(labels, map(json!({"own": "1", "zone": "a"})));
        assert_eq!(annotations[KUBE_LABELS], r#"{"zone":"a"}"#);
        let second = node(json!({"own": "1", "zone": "a"}), Some(r#"{"zone":"a"}"#));
        assert_eq!(labelled(&second, &map(json!({"zone": "a"}))), None, "nothing to do");
        let (labels, _) = labelled(&second, &map(json!({"rack": "9"}))).unwrap();
        assert_eq!(labels, map(json!({"own": "1", "rack": "9"})), "zone was Kubernetes'");
        assert_eq!(labelled(&node(json!({}), Some("{")), &map(json!({"zone": "a"}))), None);
    }
}
