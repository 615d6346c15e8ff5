//! Which connections leave with the node's address: those from pools that say so to what is in no pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::resource::Resource;
use tortie_dataplane::network::Outgoing;

/// The pools, by name.
#[derive(Debug, Default)]
pub struct Pools(BTreeMap<Arc<str>, Pooled>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pooled {
    cidr: IpNet,
    /// Whether their connections leave with the node's address.
    leaves: bool,
    /// Whether their packets travel in VXLAN.
    vxlan: bool,
}

impl Pools {
    /// Takes in what is said of a pool; whether anything depends on it. Of one that can't be read any more, what was read
    /// last stays true.
    pub fn on_event(&mut self, event: &Event) -> bool {
        match event {
            Event::Upsert(Resource::IPPool(pool)) => {
                let Ok(cidr) = pool.spec.cidr.parse() else { return false };
                let vxlan = matches!(&*pool.spec.vxlan_mode, "Always" | "CrossSubnet");
                let pooled = Pooled { cidr, leaves: pool.spec.nat_outgoing, vxlan };
                self.0.insert(pool.key().name, pooled) != Some(pooled)
            }
            Event::Delete(ResourceKey { kind: Kind::IPPool, name, .. }) => self.0.remove(name).is_some(),
            _ => false,
        }
    }

    /// What follows from them.
    pub fn outgoing(&self) -> Outgoing {
        let mut inside: Vec<IpNet> = self.0.values().map(|pool| pool.cidr.trunc()).collect();
        let mut from: Vec<IpNet> =
            self.0.values().filter(|pool| pool.leaves).map(|pool| pool.cidr.trunc()).collect();
        inside.sort();
        from.sort();
        Outgoing { from, inside, vxlan: self.0.values().any(|pool| pool.vxlan) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pools_that_say_so_leave_with_the_nodes_address_except_to_pools() {
        let mut pools = Pools::default();
        let mut put = |name: &str, cidr: &str, leaves: bool, disabled: bool| {
            let vxlan = if name == "a" { "CrossSubnet" } else { "Never" };
            let spec = json!({"cidr": cidr, "natOutgoing": leaves, "disabled": disabled, "vxlanMode": vxlan});
            let object = json!({"metadata": {"name": name}, "spec": spec});
            let event = Event::Upsert(Resource::from_value(Kind::IPPool, &object).expect("a pool"));
            assert!(pools.on_event(&event));
            assert!(!pools.on_event(&event), "said twice it is no news");
        };
        put("b", "10.66.0.0/16", false, false);
        put("a", "10.65.0.0/16", true, false);
        put("six", "fd65::/64", true, true);
        let net = |text: &str| text.parse::<IpNet>().expect("one");
        let (four, other, six) = (net("10.65.0.0/16"), net("10.66.0.0/16"), net("fd65::/64"));
        assert_eq!(
            pools.outgoing(),
            Outgoing { from: vec![four, six], inside: vec![four, other, six], vxlan: true }
        );
        assert!(pools.on_event(&Event::Delete(ResourceKey::cluster(Kind::IPPool, "a"))));
        assert_eq!(pools.outgoing(), Outgoing { from: vec![six], inside: vec![other, six], vxlan: false });
    }
}
