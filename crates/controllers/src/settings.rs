//! Which controllers run and how: KubeControllersConfiguration `default`, and Calico's variables, which are stronger. Pure.
//!
//! What they come to is written into the object's status, so that whoever looks there sees what runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tortie_api::cluster::{
    AutoHostEndpointConfig, ControllersConfig, KubeControllersConfigurationSpec,
    KubeControllersConfigurationStatus, NamespaceControllerConfig, NodeControllerConfig,
    PolicyControllerConfig, ServiceAccountControllerConfig, WorkloadEndpointControllerConfig,
};
use tortie_api::duration::Duration as Span;

use crate::{Error, Result};

/// The variables that are read, as Calico's controllers have them.
pub const VARIABLES: [&str; 7] = [
    "LOG_LEVEL",
    "RECONCILER_PERIOD",
    "ENABLED_CONTROLLERS",
    "COMPACTION_PERIOD",
    "HEALTH_ENABLED",
    "SYNC_NODE_LABELS",
    "AUTO_HOST_ENDPOINTS",
];

const ENABLED: &str = "Enabled";
const DISABLED: &str = "Disabled";
/// How often everything is looked at though nothing has changed.
const PERIOD: Duration = Duration::from_secs(5 * 60);
/// How long what looks leaked is waited for.
const GRACE: Duration = Duration::from_secs(15 * 60);

/// What runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What looks after nodes and addresses.
    pub node: Option<NodeSettings>,
    /// Whether Kubernetes' policies are copied.
    pub policy: bool,
    /// Whether labels of pods are copied to their endpoints.
    pub endpoints: bool,
    /// Whether service accounts become profiles.
    pub accounts: bool,
    /// Whether namespaces become profiles.
    pub namespaces: bool,
    /// How often everything is looked at though nothing has changed.
    pub period: Duration,
    /// What is logged: `Info`, `Debug` and so on.
    pub severity: String,
    /// Whether it is looked at how the process is.
    pub health: bool,
}

/// What looks after nodes and addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSettings {
    /// Whether labels of Kubernetes' nodes are copied to Calico's.
    pub sync_labels: bool,
    /// Whether each node gets a host endpoint for all its interfaces.
    pub host_endpoints: bool,
    /// How long what looks leaked is waited for; none: nothing is released for being waited for.
    pub grace: Option<Duration>,
}

/// The object that is made where there is none.
pub fn default_object() -> Value {
    let period = json!({"reconcilerPeriod": "5m0s"});
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "KubeControllersConfiguration",
        "metadata": {"name": "default"},
        "spec": {
            "logSeverityScreen": "Info",
            "healthChecks": ENABLED,
            "etcdV3CompactionPeriod": "10m0s",
            "controllers": {
                "node": {
                    "reconcilerPeriod": "5m0s",
                    "syncLabels": ENABLED,
                    "hostEndpoint": {"autoCreate": DISABLED, "createDefaultHostEndpoint": ENABLED},
                    "leakGracePeriod": "15m0s",
                },
                "policy": period, "workloadEndpoint": period, "serviceAccount": period, "namespace": period,
                "loadBalancer": {"assignIPs": "AllServices"},
            },
        },
    })
}

/// What the object's spec and the variables come to, and the status that says so. `is_kubernetes`: the datastore is
/// Kubernetes' own API, where nothing need be copied.
///
/// # Errors
/// [`Error::Setting`] for a variable that can't work.
pub fn merge(
    variables: &BTreeMap<String, String>,
    is_kubernetes: bool,
    spec: &KubeControllersConfigurationSpec,
) -> Result<(Settings, KubeControllersConfigurationStatus)> {
    let mut told = BTreeMap::new();
    let mut said = |name: &'static str| {
        let found = variables.get(name)?.clone();
        told.insert(name.to_owned(), found.clone());
        Some(found)
    };
    let severity = match said("LOG_LEVEL") {
        Some(found) => severity(&found)?,
        None if spec.log_severity_screen.is_empty() => "Info".to_owned(),
        None => spec.log_severity_screen.clone(),
    };
    let mut running = ControllersConfig::default();
    let given = &spec.controllers;
    match said("ENABLED_CONTROLLERS") {
        Some(list) => named(&list, &mut running)?,
        None => {
            running.node = given.node.as_ref().map(|_| NodeControllerConfig::default());
            running.policy = given.policy.as_ref().map(|_| PolicyControllerConfig::default());
            running.workload_endpoint =
                given.workload_endpoint.as_ref().map(|_| WorkloadEndpointControllerConfig::default());
            running.service_account =
                given.service_account.as_ref().map(|_| ServiceAccountControllerConfig::default());
            running.namespace = given.namespace.as_ref().map(|_| NamespaceControllerConfig::default());
        }
    }
    let all = said("RECONCILER_PERIOD").map(|found| duration("RECONCILER_PERIOD", &found)).transpose()?;
    set_periods(&mut running, given, all);
    let compaction = match said("COMPACTION_PERIOD") {
        Some(found) => duration("COMPACTION_PERIOD", &found)?,
        None => spec.etcd_v3_compaction_period.unwrap_or(Span { nanoseconds: 600_000_000_000 }),
    };
    let health = match said("HEALTH_ENABLED") {
        Some(found) => flag("HEALTH_ENABLED", &found)?,
        None => spec.health_checks != DISABLED,
    };
    let mut settings = Settings {
        node: None,
        policy: running.policy.is_some(),
        endpoints: running.workload_endpoint.is_some(),
        accounts: running.service_account.is_some(),
        namespaces: running.namespace.is_some(),
        period: all
            .or(given.node.as_ref().and_then(|node| node.reconciler_period))
            .and_then(positive)
            .unwrap_or(PERIOD),
        severity: severity.clone(),
        health,
    };
    if let Some(node) = &mut running.node {
        let given = given.node.clone().unwrap_or_default();
        let sync_labels = match (is_kubernetes, said("SYNC_NODE_LABELS")) {
            (true, _) => false,
            (false, Some(found)) => flag("SYNC_NODE_LABELS", &found)?,
            (false, None) => given.sync_labels != DISABLED,
        };
        let (create, for_all) = match said("AUTO_HOST_ENDPOINTS") {
            Some(found) => (enabled("AUTO_HOST_ENDPOINTS", &found)?, true),
            None => given.host_endpoint.as_ref().map_or((false, true), |auto| {
                (auto.auto_create == ENABLED, auto.create_default_host_endpoint != DISABLED)
            }),
        };
        node.sync_labels = word(sync_labels);
        node.host_endpoint = Some(AutoHostEndpointConfig {
            auto_create: word(create),
            create_default_host_endpoint: word(for_all),
            ..AutoHostEndpointConfig::default()
        });
        node.leak_grace_period = given.leak_grace_period;
        settings.node = Some(NodeSettings {
            sync_labels,
            host_endpoints: create && for_all,
            grace: match given.leak_grace_period {
                Some(period) => positive(period),
                None => Some(GRACE),
            },
        });
    }
    if is_kubernetes {
        told.insert("DATASTORE_TYPE".to_owned(), "kubernetes".to_owned());
    }
    let running = KubeControllersConfigurationSpec {
        log_severity_screen: severity,
        health_checks: word(health),
        etcd_v3_compaction_period: Some(compaction),
        controllers: running,
        ..KubeControllersConfigurationSpec::default()
    };
    let status = KubeControllersConfigurationStatus {
        running_config: Some(running),
        environment_vars: told.into_iter().collect(),
    };
    Ok((settings, status))
}

fn word(is_on: bool) -> String {
    if is_on { ENABLED } else { DISABLED }.to_owned()
}

fn positive(span: Span) -> Option<Duration> {
    u64::try_from(span.nanoseconds).ok().filter(|span| *span > 0).map(Duration::from_nanos)
}

/// The controllers that a list names.
fn named(list: &str, running: &mut ControllersConfig) -> Result<()> {
    for name in list.split(',') {
        match name {
            "node" => running.node = Some(NodeControllerConfig::default()),
            "policy" => running.policy = Some(PolicyControllerConfig::default()),
            "workloadendpoint" => {
                running.workload_endpoint = Some(WorkloadEndpointControllerConfig::default())
            }
            "serviceaccount" => running.service_account = Some(ServiceAccountControllerConfig::default()),
            "profile" | "namespace" => running.namespace = Some(NamespaceControllerConfig::default()),
            "loadbalancer" => tracing::warn!("ENABLED_CONTROLLERS: loadbalancer is not there yet"),
            found => {
                let expected = "node, policy, workloadendpoint, serviceaccount, namespace (or profile), separated by commas";
                return Err(Error::Setting {
                    name: "ENABLED_CONTROLLERS",
                    found: found.to_owned(),
                    expected,
                });
            }
        }
    }
    Ok(())
}

/// The periods of those that run: one for all, or what the object says of each.
fn set_periods(running: &mut ControllersConfig, given: &ControllersConfig, all: Option<Span>) {
    macro_rules! set {
        ($($field:ident),*) => {$(
            if let Some(one) = &mut running.$field {
                one.reconciler_period = all.or(given.$field.as_ref().and_then(|given| given.reconciler_period));
            }
        )*};
    }
    set!(policy, workload_endpoint, service_account, namespace);
}

fn duration(name: &'static str, found: &str) -> Result<Span> {
    found.parse().map_err(|_| Error::Setting {
        name,
        found: found.to_owned(),
        expected: "a span of time as 5m or 1h30m",
    })
}

fn flag(name: &'static str, found: &str) -> Result<bool> {
    match found {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Error::Setting { name, found: found.to_owned(), expected: "true or false" }),
    }
}

fn enabled(name: &'static str, found: &str) -> Result<bool> {
    match found.to_ascii_lowercase().as_str() {
        "enabled" => Ok(true),
        "disabled" => Ok(false),
        _ => Err(Error::Setting { name, found: found.to_owned(), expected: "enabled or disabled" }),
    }
}

fn severity(found: &str) -> Result<String> {
    let known = ["Debug", "Info", "Warning", "Error", "Fatal", "Panic"];
    let same = |known: &&str| {
        known.eq_ignore_ascii_case(found) || (found.eq_ignore_ascii_case("warn") && *known == "Warning")
    };
    known.into_iter().find(same).map(str::to_owned).ok_or_else(|| Error::Setting {
        name: "LOG_LEVEL",
        found: found.to_owned(),
        expected: "debug, info, warning, error, fatal or panic",
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(spec: Value) -> KubeControllersConfigurationSpec {
        serde_json::from_value(spec).unwrap()
    }

    fn merged(variables: &[(&str, &str)], is_kubernetes: bool, spec: Value) -> Result<(Settings, Value)> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (settings, status) = merge(&variables, is_kubernetes, &of(spec))?;
        Ok((settings, serde_json::to_value(status).unwrap()))
    }

    #[test]
    fn the_object_that_is_made_first_runs_everything_and_says_so() {
        let (settings, status) = merged(&[], false, default_object()["spec"].clone()).unwrap();
        let node = settings.node.unwrap();
        assert_eq!(node, NodeSettings { sync_labels: true, host_endpoints: false, grace: Some(GRACE) });
        assert!(settings.policy && settings.endpoints && settings.accounts && settings.namespaces);
        assert_eq!(settings.period, PERIOD);
        let running = &status["runningConfig"];
        assert_eq!(running["logSeverityScreen"], "Info");
        assert_eq!(running["controllers"]["node"]["hostEndpoint"]["autoCreate"], "Disabled");
        assert_eq!(running["controllers"]["node"]["leakGracePeriod"], "15m0s");
        assert_eq!(running["controllers"]["policy"]["reconcilerPeriod"], "5m0s");
    }

    #[test]
    fn on_kubernetes_no_labels_are_copied_and_the_status_tells_why() {
        let (settings, status) = merged(&[], true, default_object()["spec"].clone()).unwrap();
        assert!(!settings.node.unwrap().sync_labels);
        assert_eq!(status["environmentVars"], json!({"DATASTORE_TYPE": "kubernetes"}));
        assert_eq!(status["runningConfig"]["controllers"]["node"]["syncLabels"], "Disabled");
    }

    #[test]
    fn variables_are_stronger_than_the_object() {
        let variables = [
            ("ENABLED_CONTROLLERS", "node,profile"),
            ("AUTO_HOST_ENDPOINTS", "Enabled"),
            ("SYNC_NODE_LABELS", "false"),
            ("RECONCILER_PERIOD", "90s"),
            ("LOG_LEVEL", "warn"),
        ];
        let (settings, status) = merged(&variables, false, default_object()["spec"].clone()).unwrap();
        let node = settings.node.unwrap();
        assert!(node.host_endpoints && !node.sync_labels);
        assert!(settings.namespaces && !settings.policy && !settings.endpoints && !settings.accounts);
        assert_eq!((settings.period.as_secs(), settings.severity.as_str()), (90, "Warning"));
        assert_eq!(status["environmentVars"].as_object().unwrap().len(), variables.len());
        assert_eq!(status["runningConfig"]["controllers"]["namespace"]["reconcilerPeriod"], "1m30s");
    }

    #[test]
    fn zero_grace_is_none_and_unset_grace_is_calicos() {
        for (given, grace) in
            [(json!("0s"), None), (json!(null), Some(GRACE)), (json!("1s"), Some(Duration::from_secs(1)))]
        {
            let spec = json!({"controllers": {"node": {"leakGracePeriod": given}}});
            assert_eq!(merged(&[], true, spec).unwrap().0.node.unwrap().grace, grace);
        }
        let nothing = merged(&[], true, json!({"controllers": {}})).unwrap().0;
        assert_eq!(nothing.node, None, "what the object doesn't name doesn't run");
    }

    #[test]
    fn a_variable_that_cannot_work_is_refused_by_its_name() {
        for (name, found) in [
            ("ENABLED_CONTROLLERS", "node,flannel"),
            ("AUTO_HOST_ENDPOINTS", "yes"),
            ("RECONCILER_PERIOD", "5"),
            ("LOG_LEVEL", "loud"),
            ("HEALTH_ENABLED", "perhaps"),
        ] {
            let error = merged(&[(name, found)], true, json!({"controllers": {"node": {}}})).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{name}: found ")), "{error}");
        }
    }
}
