//! The move of a virtual machine from one host to another: LiveMigration.

use crate::go_struct;
use crate::meta::{Object, specs};

/// The move of a virtual machine.
pub type LiveMigration = Object<LiveMigrationSpec>;

specs! {
    LiveMigrationSpec => LiveMigration;
}

go_struct! {
    /// Who moves where.
    LiveMigrationSpec {
        /// Where from.
        source: Option<LiveMigrationSource> = "source",
        /// Where to.
        target: Option<LiveMigrationTarget> = "target",
    }

    /// Where a virtual machine comes from: one of the two.
    LiveMigrationSource {
        /// The workload.
        workload: Option<WorkloadIdentifier> = "workload",
        /// The endpoint.
        workload_endpoint: Option<WorkloadEndpointIdentifier> = "workloadEndpoint",
    }

    /// Where a virtual machine goes: one of the two.
    LiveMigrationTarget {
        /// The endpoints with these labels.
        selector: Option<String> = "selector",
        /// The endpoint.
        workload_endpoint: Option<WorkloadEndpointIdentifier> = "workloadEndpoint",
    }

    /// A workload by name.
    WorkloadIdentifier {
        /// Its host.
        hostname: String = "hostname" always,
        /// Its orchestrator.
        orchestrator_id: String = "orchestratorID" always,
        /// Its name there.
        workload_id: String = "workloadID" always,
    }

    /// An endpoint by name.
    WorkloadEndpointIdentifier {
        /// Its host.
        hostname: String = "hostname" always,
        /// Its orchestrator.
        orchestrator_id: String = "orchestratorID" always,
        /// Its workload's name there.
        workload_id: String = "workloadID" always,
        /// Its name.
        endpoint_id: String = "endpointID" always,
    }
}
