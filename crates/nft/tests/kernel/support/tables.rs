//! Small tables by hand.

use std::net::IpAddr;
use std::sync::Arc;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::*;
use tortie_dataplane::policy::{Family, PolicyId};

/// All levels, no log.
pub const LEVELS: Levels = Levels {
    class_l4: true,
    class_protocol: true,
    class_any: true,
    any_l4: true,
    any_protocol: true,
    allow: true,
    deny: true,
    log: false,
};

/// Entries of classes have an L4 class, so that ports can be open to everyone.
pub const PORTS_ONLY: Levels =
    Levels { class_protocol: false, class_any: false, any_protocol: false, ..LEVELS };

pub fn mk_path(number: u32, logs: bool) -> Arc<Path> {
    let rule = RuleRef::Rule { policy: PolicyId(number), direction: Direction::Ingress, index: 0 };
    Arc::new(Path {
        passed: if logs { [rule].into() } else { [].into() },
        logged: if logs { [rule].into() } else { [].into() },
        decided: rule,
    })
}

pub fn allow(path: u32) -> Verdict {
    Verdict { outcome: Outcome::Allow, path: PathId(path) }
}

pub fn deny(path: u32) -> Verdict {
    Verdict { outcome: Outcome::Deny, path: PathId(path) }
}

pub fn entry(stack: u16, class: ClassId, l4: L4Key) -> EntryKey {
    EntryKey { stack: StackId(stack), class, l4 }
}

pub fn l4(protocol: u8, index: u16) -> L4ClassId {
    L4ClassId { protocol, index }
}

pub fn mk_stack(direction: Direction, family: Family, default: Verdict) -> StackChain {
    StackChain { direction, family, levels: LEVELS, default }
}

/// Stacks by id for the four ways.
pub fn mk_endpoint(addresses: &[IpAddr], ingress: (u16, u16), egress: (u16, u16)) -> Arc<EndpointPorts> {
    let stack = |id| Dispatch::Stack(StackId(id));
    Arc::new(EndpointPorts {
        addresses: addresses.into(),
        allowed_sources: [].into(),
        ingress_v4: stack(ingress.0),
        ingress_v6: stack(ingress.1),
        egress_v4: stack(egress.0),
        egress_v6: stack(egress.1),
    })
}
