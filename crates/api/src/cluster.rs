//! The cluster as a whole: its identity and the settings of its controllers.

use crate::duration::Duration;
use crate::go_struct;
use crate::meta::{Object, StringMap, specs};

/// Identity, type and version of the cluster; there is one, `default`.
pub type ClusterInformation = Object<ClusterInformationSpec>;
/// Settings of the cluster's controllers; there is one, `default`.
pub type KubeControllersConfiguration = Object<KubeControllersConfigurationSpec>;

specs! {
    ClusterInformationSpec => ClusterInformation;
    KubeControllersConfigurationSpec => KubeControllersConfiguration, KubeControllersConfigurationStatus;
}

go_struct! {
    /// Identity, type and version of the cluster.
    ClusterInformationSpec {
        /// 32 hexadecimal digits, made once.
        cluster_guid: String = "clusterGUID",
        /// A list of words, separated by commas.
        cluster_type: String = "clusterType",
        /// The version that wrote this.
        calico_version: String = "calicoVersion",
        /// False while the datastore is locked; nothing is changed then.
        datastore_ready: Option<bool> = "datastoreReady",
        /// The product.
        variant: String = "variant",
    }

    /// Settings of the cluster's controllers.
    KubeControllersConfigurationSpec {
        /// `None`, `Debug`, `Info`, `Warning`, `Error`, `Fatal` or `Panic`; empty for `Info`.
        log_severity_screen: String = "logSeverityScreen",
        /// `Enabled` or `Disabled`; empty for `Enabled`.
        health_checks: String = "healthChecks",
        /// How often etcd is compacted; 10 minutes if unset, 0 for never.
        etcd_v3_compaction_period: Option<Duration> = "etcdV3CompactionPeriod",
        /// The port of the metrics; 9094 if unset, 0 for none.
        prometheus_metrics_port: Option<i64> = "prometheusMetricsPort",
        /// The controllers that run.
        controllers: ControllersConfig = "controllers" always,
        /// The port of the profiler; none for none.
        debug_profile_port: Option<i32> = "debugProfilePort",
    }

    /// The controllers that run, with their settings.
    ControllersConfig {
        /// Cleans up after hosts.
        node: Option<NodeControllerConfig> = "node",
        /// Copies Kubernetes' policies.
        policy: Option<PolicyControllerConfig> = "policy",
        /// Keeps labels of endpoints.
        workload_endpoint: Option<WorkloadEndpointControllerConfig> = "workloadEndpoint",
        /// Makes profiles of service accounts.
        service_account: Option<ServiceAccountControllerConfig> = "serviceAccount",
        /// Makes profiles of namespaces.
        namespace: Option<NamespaceControllerConfig> = "namespace",
        /// Gives services their addresses.
        load_balancer: Option<LoadBalancerControllerConfig> = "loadBalancer",
        /// Brings old objects to their present form.
        migration: Option<MigrationControllerConfig> = "migration",
    }

    /// Brings old objects to their present form.
    MigrationControllerConfig {
        /// `Enabled` or `Disabled`: policy names with their tier in front.
        policy_name_migrator: String = "policyNameMigrator",
    }

    /// Cleans up after hosts.
    NodeControllerConfig {
        /// How often everything is looked at; 5 minutes if unset.
        reconciler_period: Option<Duration> = "reconcilerPeriod",
        /// `Enabled` or `Disabled`: labels of Kubernetes' nodes on Calico's; empty for `Enabled`.
        sync_labels: String = "syncLabels",
        /// Host endpoints that are made by themselves.
        host_endpoint: Option<AutoHostEndpointConfig> = "hostEndpoint",
        /// How long a leaked address is waited for; 15 minutes if unset.
        leak_grace_period: Option<Duration> = "leakGracePeriod",
    }

    /// Host endpoints that are made by themselves.
    AutoHostEndpointConfig {
        /// `Enabled` or `Disabled`; empty for `Disabled`.
        auto_create: String = "autoCreate",
        /// `Enabled` or `Disabled`: one for all interfaces of each host.
        create_default_host_endpoint: String = "createDefaultHostEndpoint",
        /// More, for some interfaces of some hosts.
        templates: Vec<Template> = "templates",
    }

    /// Host endpoints for some interfaces of some hosts.
    Template {
        /// The end of their names.
        generate_name: String = "generateName",
        /// Interfaces with an address in one of these.
        interface_cidrs: Vec<String> = "interfaceCIDRs",
        /// Interfaces whose name matches this regular expression.
        interface_pattern: String = "interfacePattern",
        /// Labels that they get.
        labels: StringMap = "labels",
        /// Annotations that they get.
        annotations: StringMap = "annotations",
        /// The hosts.
        node_selector: String = "nodeSelector",
    }

    /// Copies Kubernetes' policies.
    PolicyControllerConfig {
        /// How often everything is looked at; 5 minutes if unset.
        reconciler_period: Option<Duration> = "reconcilerPeriod",
    }

    /// Keeps labels of endpoints.
    WorkloadEndpointControllerConfig {
        /// How often everything is looked at; 5 minutes if unset.
        reconciler_period: Option<Duration> = "reconcilerPeriod",
    }

    /// Makes profiles of service accounts.
    ServiceAccountControllerConfig {
        /// How often everything is looked at; 5 minutes if unset.
        reconciler_period: Option<Duration> = "reconcilerPeriod",
    }

    /// Makes profiles of namespaces.
    NamespaceControllerConfig {
        /// How often everything is looked at; 5 minutes if unset.
        reconciler_period: Option<Duration> = "reconcilerPeriod",
    }

    /// Gives services their addresses.
    LoadBalancerControllerConfig {
        /// `AllServices` or `RequestedServicesOnly`.
        assign_ips: String = "assignIPs",
    }

    /// What the controllers say of themselves.
    KubeControllersConfigurationStatus {
        /// The settings that they run with.
        running_config: Option<KubeControllersConfigurationSpec> = "runningConfig",
        /// The environment variables that changed them.
        environment_vars: StringMap = "environmentVars",
    }
}
