//! What isn't understood is told on the object, by events and conditions that a real API server takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::Value;
use tortie_store::kubernetes::{Kubernetes, reports};

use crate::help::{Api, PATIENCE};

const KINDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds.yaml");

/// The kind as far as a status is concerned; the upstream definition would refuse what is wrong here.
const CLUSTER_NETWORK_POLICIES: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: clusternetworkpolicies.policy.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, for a test"}
spec:
  group: policy.networking.k8s.io
  scope: Cluster
  names: {kind: ClusterNetworkPolicy, listKind: ClusterNetworkPolicyList, plural: clusternetworkpolicies, singular: clusternetworkpolicy}
  versions:
  - name: v1alpha2
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status:
            type: object
            required: [conditions]
            properties:
              conditions:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [type]
                items:
                  type: object
                  required: [lastTransitionTime, message, reason, status, type]
                  properties:
                    lastTransitionTime: {type: string, format: date-time}
                    message: {type: string}
                    observedGeneration: {type: integer, format: int64}
                    reason: {type: string, minLength: 1, pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"}
                    status: {type: string, enum: ["True", "False", Unknown]}
                    type: {type: string}
"#;

fn cluster_policy(action: &str) -> String {
    format!(
        "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: admin}}, \
         spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]}}}}"
    )
}

/// Tells until `wanted` gives something.
fn telling<T>(store: &Kubernetes, instance: &str, wanted: impl Fn() -> Option<T>) -> T {
    let on = AtomicBool::new(true);
    let goes_on = &on;
    std::thread::scope(|scope| {
        let goes = move || goes_on.load(Ordering::Relaxed);
        let teller = scope.spawn(move || reports::run(store, instance, tortie_calc::complaint, goes));
        let begin = Instant::now();
        let found = loop {
            match wanted() {
                Some(found) => break Some(found),
                None if begin.elapsed() > PATIENCE || teller.is_finished() => break None,
                None => {}
            }
        };
        goes_on.store(false, Ordering::Relaxed);
        found.expect("what was to be told")
    })
}

#[test]
fn what_is_not_understood_is_told_on_the_object_by_one_and_once() {
    let api = Api::start(&[]);
    api.kubectl(&["apply", "--server-side", "-f", KINDS], "");
    api.kubectl(&["apply", "-f", "-"], CLUSTER_NETWORK_POLICIES);
    api.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], "");
    api.kubectl(&["create", "namespace", "shop"], "");
    // They pass the schemas, and mean nothing to us.
    api.kubectl(
        &["create", "-f", "-"],
        "{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy, metadata: {name: web, namespace: shop}, spec: {selector: app ==}}\n---\n\
         {apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy, metadata: {name: good, namespace: shop}, spec: {selector: all()}}\n---\n\
         {apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkPolicy, metadata: {name: nets}, spec: {namespaceSelector: has(}}\n",
    );
    api.kubectl(&["create", "-f", "-"], &cluster_policy("Nonsense"));
    let store = Kubernetes::open(api.server.options().unwrap()).unwrap();
    let events = |namespace: &str| -> Vec<Value> {
        let said = api.kubectl(&["-n", namespace, "get", "events.events.k8s.io", "-o", "json"], "");
        let list: Value = serde_json::from_str(&said).unwrap();
        let ours = list["items"].as_array().unwrap().iter();
        ours.filter(|event| event["reportingController"] == "projectcalico.org/tortie").cloned().collect()
    };
    let condition = || {
        let said = api.kubectl(&["get", "clusternetworkpolicies", "admin", "-o", "json"], "");
        let policy: Value = serde_json::from_str(&said).unwrap();
        policy.pointer("/status/conditions/0").cloned()
    };
    let all = || {
        let (shop, default) = (events("shop"), events("default"));
        (shop.len() == 1 && default.len() == 2 && condition().is_some()).then_some((shop, default))
    };
    let (shop, default) = telling(&store, "first", all);
    let [event] = shop.as_slice() else { panic!("{shop:?}") };
    assert_eq!((&event["type"], &event["reason"]), (&"Warning".into(), &"NotEnforcedAsWritten".into()));
    assert_eq!(event["regarding"]["name"], "web");
    assert_eq!(event["regarding"]["kind"], "NetworkPolicy");
    let uid = api.kubectl(
        &[
            "-n",
            "shop",
            "get",
            "networkpolicies.crd.projectcalico.org",
            "web",
            "-o",
            "jsonpath={.metadata.uid}",
        ],
        "",
    );
    assert_eq!(event["regarding"]["uid"], uid.as_str());
    assert!(
        event["note"].as_str().unwrap().starts_with("denies in its place: selector: selector \"app ==\""),
        "{event}"
    );
    let mut of: Vec<&str> =
        default.iter().map(|event| event["regarding"]["name"].as_str().unwrap()).collect();
    of.sort_unstable();
    assert_eq!(of, ["admin", "nets"]);
    // kubectl shows it where people look.
    let described =
        api.kubectl(&["-n", "shop", "describe", "networkpolicies.crd.projectcalico.org", "web"], "");
    assert!(described.contains("NotEnforcedAsWritten"), "{described}");
    let said = condition().unwrap();
    assert_eq!((&said["type"], &said["status"]), (&"Accepted".into(), &"False".into()));
    assert!(
        said["message"].as_str().unwrap().contains("unsupported cluster network policy action Nonsense"),
        "{said}"
    );

    // The next one who tells counts the same events up.
    let counted = telling(&store, "second", || {
        let events = events("shop");
        events[0].pointer("/series/count").is_some().then_some(events)
    });
    assert_eq!((counted.len(), &counted[0]["series"]["count"]), (1, &2.into()));

    // And what is well again is told as well.
    api.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &cluster_policy("Accept"));
    let well = telling(&store, "third", || condition().filter(|said| said["status"] == "True"));
    assert_eq!(
        (&well["reason"], &well["message"], &well["observedGeneration"]),
        (&"Enforced".into(), &"".into(), &2.into())
    );
}
