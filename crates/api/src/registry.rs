//! From a kind to its type: the shape that input is decoded against, and its normal form.
//!
//! The one list of all kinds with their Rust types. A kind that is missing here can't be read.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kind::Kind;
use crate::schema::{Shape, Shaped, complete};
use crate::{
    bgp, block, cluster, core, endpoint, felix, kubernetes, migration, node_status, policy, pool, set, staged,
};

macro_rules! registry {
    ($($kind:ident => $type:ty,)*) => {
        /// The shape of a kind's objects.
        pub fn shape(kind: Kind) -> &'static Shape {
            match kind {
                $(Kind::$kind => <$type>::SHAPE,)*
            }
        }

        /// An object in the form in which Calico stores it: through its Rust type, zero values left
        /// out where Go leaves them out, fields in their own form (`TCP`, `2m5s`). Fields that the
        /// type doesn't have are lost: for input that was decoded strictly.
        ///
        /// # Errors
        /// What the type's own decoder says of JSON that doesn't fit.
        pub fn normalise(kind: Kind, json: &Value) -> Result<Value, serde_json::Error> {
            match kind {
                $(Kind::$kind => through::<$type>(json),)*
            }
        }
    };
}

registry! {
    NetworkPolicy => policy::NetworkPolicy,
    GlobalNetworkPolicy => policy::GlobalNetworkPolicy,
    Tier => policy::Tier,
    Profile => policy::Profile,
    NetworkSet => set::NetworkSet,
    GlobalNetworkSet => set::GlobalNetworkSet,
    HostEndpoint => endpoint::HostEndpoint,
    WorkloadEndpoint => endpoint::WorkloadEndpoint,
    Node => endpoint::Node,
    IPPool => pool::IpPool,
    IPReservation => pool::IpReservation,
    IPAMConfiguration => pool::IpamConfiguration,
    StagedNetworkPolicy => staged::StagedNetworkPolicy,
    StagedGlobalNetworkPolicy => staged::StagedGlobalNetworkPolicy,
    StagedKubernetesNetworkPolicy => staged::StagedKubernetesNetworkPolicy,
    IPAMBlock => block::IpamBlock,
    IPAMHandle => block::IpamHandle,
    BlockAffinity => block::BlockAffinity,
    BGPConfiguration => bgp::BgpConfiguration,
    BGPPeer => bgp::BgpPeer,
    BGPFilter => bgp::BgpFilter,
    FelixConfiguration => felix::FelixConfiguration,
    KubeControllersConfiguration => cluster::KubeControllersConfiguration,
    ClusterInformation => cluster::ClusterInformation,
    CalicoNodeStatus => node_status::CalicoNodeStatus,
    LiveMigration => migration::LiveMigration,
    KubernetesNetworkPolicy => kubernetes::KubernetesNetworkPolicy,
    KubernetesClusterNetworkPolicy => kubernetes::KubernetesClusterNetworkPolicy,
    Namespace => core::Namespace,
    ServiceAccount => core::ServiceAccount,
    Pod => core::Pod,
    Service => core::Service,
    EndpointSlice => core::EndpointSlice,
}

fn through<T: Shaped + Serialize + DeserializeOwned>(json: &Value) -> Result<Value, serde_json::Error> {
    let head = ["kind", "apiVersion"].map(|name| (name, json.get(name).cloned()));
    let mut json = serde_json::to_value(T::deserialize(json)?)?;
    if let Value::Object(object) = &mut json {
        for (name, value) in head {
            object.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    complete(&mut json, T::SHAPE);
    Ok(json)
}
