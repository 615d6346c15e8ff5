//! Pods that were there before the agent: what is gone of their wiring on the host is put back, and what the kernel remembers
//! of ports that lead to them by now is forgotten, once.

use std::sync::Arc;

use tortie_api::endpoint::WorkloadEndpointSpec;
use tortie_api::kind::ResourceKey;
use tortie_classify::Classifier;
use tortie_cni::mend::Host;
use tortie_cni::wiring::forget_ports;
use tortie_dataplane::network::HostPort;
use tortie_dataplane::policy::Endpoint;
use tortie_netlink::rtnetlink::Mac;
use tortie_store::resources::Client;

use crate::Result;
use crate::monitors::spawn;

/// To be called when policy is in force: a route lets packets through. Holds up nothing: a thread does it.
///
/// # Errors
/// If there is no thread for it.
pub fn mend(classifier: &Classifier, client: &Client, ports: Vec<HostPort>) -> Result<()> {
    let client = client.clone();
    let pods: Vec<(ResourceKey, Arc<Endpoint>)> =
        classifier.endpoints().iter().map(|(key, endpoint)| (key.clone(), Arc::clone(endpoint))).collect();
    spawn("pods", move || {
        if let Err(error) = forget_ports(&ports) {
            tracing::warn!(%error, "old connections may go on past the host's ports of pods");
        }
        let mut host = match Host::read() {
            Ok(host) => host,
            Err(error) => {
                tracing::warn!(%error, "routes of the pods could not be read");
                return;
            }
        };
        for (key, endpoint) in pods {
            let has_ports = ports.iter().any(|port| endpoint.addresses.contains(&port.to.ip()));
            let mac = || mac_of(&client, &key);
            match host.mend(&endpoint.interface, &endpoint.addresses, has_ports, mac) {
                Ok(done) if done.is_empty() => {}
                Ok(done) => {
                    tracing::warn!(endpoint = %key, missing = done.join(", "), "put back on the host");
                }
                Err(error) => {
                    tracing::warn!(%error, endpoint = %key, "what is missing on the host could not be put back");
                }
            }
        }
    })?;
    Ok(())
}

/// A pod's own hardware address, as it is stored.
fn mac_of(client: &Client, endpoint: &ResourceKey) -> Option<Mac> {
    client.get_as::<WorkloadEndpointSpec>(endpoint).ok()?.spec.mac.parse().ok()
}
