//! Where addresses come from: pools, reservations and the settings of address management.

use crate::go_struct;
use crate::meta::{Object, specs};

/// A pool of addresses.
pub type IpPool = Object<IpPoolSpec>;
/// Addresses that aren't assigned automatically.
pub type IpReservation = Object<IpReservationSpec>;
/// Settings of address management.
pub type IpamConfiguration = Object<IpamConfigurationSpec>;

specs! {
    IpPoolSpec => IPPool, IpPoolStatus;
    IpReservationSpec => IPReservation;
    IpamConfigurationSpec => IPAMConfiguration;
}

go_struct! {
    /// A pool of addresses.
    IpPoolSpec as "IPPoolSpec" {
        /// All its addresses.
        cidr: String = "cidr" always,
        /// `Never`, `Always` or `CrossSubnet`.
        vxlan_mode: String = "vxlanMode",
        /// `Never`, `Always` or `CrossSubnet`; IPv4 only.
        ipip_mode: String = "ipipMode",
        /// Whether packets to elsewhere leave with the host's address.
        nat_outgoing: bool = "natOutgoing",
        /// Whether nothing is assigned from it.
        disabled: bool = "disabled",
        /// Whether BGP keeps quiet about it.
        disable_bgp_export: bool = "disableBGPExport",
        /// The prefix length of its blocks: 20 to 32 (26), or 116 to 128 (122).
        block_size: i64 = "blockSize",
        /// The hosts that may use it; empty for all.
        node_selector: String = "nodeSelector",
        /// The namespaces that may use it; empty for all.
        namespace_selector: String = "namespaceSelector",
        /// `Workload`, `Tunnel`, `LoadBalancer`.
        allowed_uses: Vec<String> = "allowedUses",
        /// `Automatic` or `Manual`.
        assignment_mode: Option<String> = "assignmentMode",
    }

    /// What a controller says of a pool.
    IpPoolStatus as "IPPoolStatus" {
        /// Kubernetes conditions.
        conditions: Vec<serde_json::Value> = "conditions",
    }

    /// Addresses that aren't assigned automatically.
    IpReservationSpec as "IPReservationSpec" {
        /// The addresses.
        reserved_cidrs: Vec<String> = "reservedCIDRs",
    }

    /// Settings of address management.
    IpamConfigurationSpec as "IPAMConfigurationSpec" {
        /// Whether addresses only come from the host's own blocks.
        strict_affinity: bool = "strictAffinity" always,
        /// Blocks that one host may hold; 0 for the default of 20.
        max_blocks_per_host: i32 = "maxBlocksPerHost",
        /// Whether hosts claim blocks by themselves.
        auto_allocate_blocks: bool = "autoAllocateBlocks" always,
        /// `Enabled` or `Disabled`.
        kube_virt_vm_address_persistence: Option<String> = "kubeVirtVMAddressPersistence",
        /// Seconds for which a released address isn't given again, up to 1200.
        ip_cooldown_seconds: i32 = "ipCooldownSeconds",
    }
}
