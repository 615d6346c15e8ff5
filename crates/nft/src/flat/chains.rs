//! The chains that do not depend on policy: base chains, and a generation's way from them to the stacks.
//!
//! ```text
//!  prerouting --cali*--> source                               (spoofing, before connection tracking)
//!  forward ----cali*--> workload -> port, iif -> egress17 ... return
//!                          |           \-> oif -> ingress4 ... return
//!                          |-> workload6
//!                          \-> marked -> judge, judge6          (a foreign mark is carried over)
//!  input ------cali*--> host -> workload, or judge
//! ```
//! Text above a rule is what `nft list ruleset` prints for it. DESIGN.md says what a first packet pays for.

use super::host_ports;
use super::keys::{self, ICMP4, ICMP6};
use super::layout::{DIRECTIONS, Generation, Map, PortProtocol, digit, side};
use super::outgoing;
use super::phrases::{self as say, Address, ESTABLISHED, INVALID, Interface, RELATED, rule};
use super::settings::{EndpointToHost, Settings};
use crate::expression::Verdict;
use crate::object::{Chain, HookPoint, Rule};
use tortie_api::policy::Direction;
use tortie_dataplane::policy::Family;

/// Packets with a source address that their interface does not have, or from an unknown interface; and VXLAN that no
/// node has sent.
pub const DROPPED_SPOOFED: &str = "dropped_spoofed";
/// Packets that connection tracking calls invalid.
pub const DROPPED_INVALID: &str = "dropped_invalid";
/// New connections of an interface that has no stack (yet).
pub const DROPPED_UNKNOWN: &str = "dropped_unknown";
/// New connections from workloads to this host that policy allowed and `endpoint_to_host` does not.
pub const DROPPED_TO_HOST: &str = "dropped_to_host";
/// New connections while the table was closed.
pub const DROPPED_CLOSED: &str = "dropped_closed";

/// The counters that belong to no generation.
pub const COUNTERS: [&str; 5] =
    [DROPPED_SPOOFED, DROPPED_INVALID, DROPPED_UNKNOWN, DROPPED_TO_HOST, DROPPED_CLOSED];

/// `masquerade` of kube-proxy: known to be read in postrouting, so it is put back even where the carrier is taken.
const MASQUERADE_BIT: u32 = 0x4000;
/// `NF_IP_PRI_RAW`: before connection tracking.
const PRIORITY_RAW: i32 = -300;
/// `NF_IP_PRI_FILTER`.
const PRIORITY_FILTER: i32 = 0;

/// ICMPv6 types that the host and its neighbours need to find each other: MLD query, reports and done; router
/// solicitation; neighbour solicitation and advertisement; MLDv2 report.
pub const NEIGHBOUR_TYPES: [u8; 7] = [130, 131, 132, 133, 135, 136, 143];

/// A chain and its rules.
pub type Filled = (Chain, Vec<Rule>);

/// What the base chains lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Nothing: what is new from or to a workload is dropped.
    Closed,
    /// Nothing, since the rules that Calico's agent has left judge; but IPv6 is dropped if they are for IPv4 alone.
    Beside {
        /// Whether they judge IPv6.
        judges_v6: bool,
    },
    /// A generation.
    To(Generation),
}

/// The base chains. Their policy is accept: what does not concern a workload is none of our business.
#[must_use]
pub fn base(settings: &Settings, lead: Lead) -> Vec<Filled> {
    // ct state established,related accept
    let established = rule([say::ct_state(ESTABLISHED | RELATED), say::verdict(Verdict::Accept)]);
    let (mut prerouting, mut forward, mut input) = (Vec::new(), vec![established.clone()], vec![established]);
    if let Lead::To(_) = lead
        && settings.outgoing.vxlan.is_some()
    {
        let vxlan = outgoing::vxlan(settings);
        forward.extend(vxlan.forward);
        input.extend(vxlan.input);
    }
    if let Lead::To(_) = lead {
        input.extend(host_ports::input(settings));
    }
    for prefix in &settings.interface_prefixes {
        match lead {
            Lead::Beside { judges_v6: true } => {}
            Lead::Beside { judges_v6: false } => {
                // meta nfproto ipv6 iifname "cali*" counter name "dropped_closed" drop
                // meta nfproto ipv6 oifname "cali*" counter name "dropped_closed" drop
                let closed = |interface| {
                    let dropped = [say::count(DROPPED_CLOSED), say::verdict(Verdict::Drop)].concat();
                    rule([say::family(Family::V6), interface, dropped])
                };
                forward.push(closed(say::from_interface(prefix)));
                forward.push(closed(say::to_interface(prefix)));
                input.push(closed(say::from_interface(prefix)));
            }
            Lead::Closed => {
                // iifname "cali*" counter name "dropped_closed" drop
                // oifname "cali*" counter name "dropped_closed" drop
                let closed = || [say::count(DROPPED_CLOSED), say::verdict(Verdict::Drop)].concat();
                forward.push(rule([say::from_interface(prefix), closed()]));
                forward.push(rule([say::to_interface(prefix), closed()]));
                input.push(rule([say::from_interface(prefix), closed()]));
            }
            Lead::To(generation) => {
                // iifname "cali*" goto source.3
                let source = say::goto(generation.name("source"));
                prerouting.push(rule([say::from_interface(prefix), source]));
                // iifname "cali*" goto workload.3
                // oifname "cali*" goto workload.3
                let workload = || say::goto(generation.name("workload"));
                forward.push(rule([say::from_interface(prefix), workload()]));
                forward.push(rule([say::to_interface(prefix), workload()]));
                // iifname "cali*" goto host.3
                input.push(rule([say::from_interface(prefix), say::goto(generation.name("host"))]));
            }
        }
    }
    vec![
        (Chain::base("prerouting", HookPoint::Prerouting, PRIORITY_RAW), prerouting),
        (Chain::base("forward", HookPoint::Forward, PRIORITY_FILTER), forward),
        (Chain::base("input", HookPoint::Input, PRIORITY_FILTER), input),
    ]
}

/// A generation's chains but for its stacks and logs; a chain comes after those that it leads to.
#[must_use]
pub fn generation(settings: &Settings, generation: Generation) -> Vec<Filled> {
    let mut chains = vec![source(generation)];
    for direction in DIRECTIONS {
        chains.push(unknown(settings, direction, generation));
        chains.extend([Family::V6, Family::V4].map(|family| by_own(direction, family, generation)));
    }
    chains.extend([icmp(Family::V4, generation), icmp(Family::V6, generation), l4(generation)]);
    chains.extend(judge(generation));
    chains.extend(carriers(generation));
    chains.extend(workload(generation));
    chains.push(host(settings, generation));
    chains
}

/// Every packet of a workload interface, before connection tracking.
fn source(generation: Generation) -> Filled {
    let accept = || say::verdict(Verdict::Accept);
    let mut rules = Vec::new();
    for family in [Family::V4, Family::V6] {
        // iif . ip saddr @source4.3 accept
        let known = Map::Source(family).name(generation);
        rules.push(rule([say::interface_and_address_in(Address::Source, family, known), accept()]));
    }
    for family in [Family::V4, Family::V6] {
        // iif . ip saddr @source_net4.3 accept
        let known = Map::SourceNet(family).name(generation);
        rules.push(rule([say::interface_and_address_within(Address::Source, family, known), accept()]));
    }
    let mut link_local_mask = [0; 16];
    let mut link_local = [0; 16];
    [link_local_mask[0], link_local_mask[1]] = [0xff, 0xc0];
    [link_local[0], link_local[1]] = [0xfe, 0x80];
    for (mask, value) in [(link_local_mask, link_local), ([0xff; 16], [0; 16])] {
        // ip6 saddr fe80::/10 icmpv6 type @neighbour_types.3 iif @interfaces.3 accept
        // ip6 saddr :: icmpv6 type @neighbour_types.3 iif @interfaces.3 accept
        rules.push(rule([
            say::source6_is(mask, value),
            say::icmp6_type_in(Map::NeighbourTypes.name(generation)),
            say::input_interface_in(Map::Interfaces.name(generation)),
            accept(),
        ]));
    }
    // counter name "dropped_spoofed" drop
    rules.push(rule([say::count(DROPPED_SPOOFED), say::verdict(Verdict::Drop)]));
    (Chain::regular(generation.name("source")), rules)
}

/// Name of the chain of interfaces that have no stack.
#[must_use]
pub fn unknown_name(direction: Direction, generation: Generation) -> String {
    generation.name(&format!("{}_unknown", side(direction)))
}

/// An interface that has no stack, and is a workload's. Others are none of our business.
fn unknown(settings: &Settings, direction: Direction, generation: Generation) -> Filled {
    let workload = |prefix: &String| match direction {
        // iifname "cali*" counter name "dropped_unknown" drop
        Direction::Egress => say::from_interface(prefix),
        // oifname "cali*" counter name "dropped_unknown" drop
        Direction::Ingress => say::to_interface(prefix),
    };
    let dropped = |prefix| rule([workload(prefix), say::count(DROPPED_UNKNOWN), say::verdict(Verdict::Drop)]);
    (
        Chain::regular(unknown_name(direction, generation)),
        settings.interface_prefixes.iter().map(dropped).collect(),
    )
}

/// From the endpoint's own address to the stack, where its addresses differ.
fn by_own(direction: Direction, family: Family, generation: Generation) -> Filled {
    let (interface, own) = match direction {
        Direction::Egress => (Interface::Input, Address::Source),
        Direction::Ingress => (Interface::Output, Address::Destination),
    };
    let map = Map::DispatchOwn(direction, family).name(generation);
    (
        Chain::regular(keys::own_name(direction, family, generation)),
        vec![
            // iif . ip saddr vmap @egress_own4.3
            rule([say::interface_and_address_verdict(interface, own, family, map)]),
            // counter name "dropped_unknown" drop
            rule([say::count(DROPPED_UNKNOWN), say::verdict(Verdict::Drop)]),
        ],
    )
}

/// The L4 class into the priority.
fn ports(generation: Generation) -> [Rule; 2] {
    [
        // meta priority set meta l4proto . th dport map @l4_port.3
        rule([say::set_priority_by_port(Map::Port.name(generation))]),
        // meta priority none jump l4.3
        rule([say::priority_is(0), say::jump(generation.name("l4"))]),
    ]
}

/// Asks both sides: drops, or goes on. An interface without a stack is in its map too, as what no other key is.
fn sides(family: Family, generation: Generation) -> [Rule; 2] {
    let stack = |direction| Map::Dispatch(direction, family).name(generation);
    [
        // iif vmap @egress_stack4.3
        rule([say::interface_verdict(Interface::Input, stack(Direction::Egress))]),
        // oif vmap @ingress_stack4.3
        rule([say::interface_verdict(Interface::Output, stack(Direction::Ingress))]),
    ]
}

/// meta nfproto ipv6 goto NAME
fn divert6(name: String) -> Rule {
    rule([say::family(Family::V6), say::goto(name)])
}

/// A packet whose transport header is too short to have a port keeps its priority, which might be a foreign L4 class.
///
/// meta priority set none
fn declassify() -> Rule {
    rule([say::set_priority(0)])
}

/// The first packets of connections, from any hook: the L4 class, then both sides. Drops, or returns.
fn judge(generation: Generation) -> [Filled; 2] {
    let mut rules = vec![declassify()];
    rules.extend(ports(generation));
    rules.push(divert6(generation.name("judge6")));
    rules.extend(sides(Family::V4, generation));
    [
        (Chain::regular(generation.name("judge6")), sides(Family::V6, generation).into()),
        (Chain::regular(generation.name("judge")), rules),
    ]
}

/// What has no exact port: ranges, ICMP.
fn l4(generation: Generation) -> Filled {
    let mut rules = Vec::new();
    for protocol in PortProtocol::ALL {
        // meta priority set tcp dport map @l4_range_tcp.3
        let map = Map::PortRange(protocol).name(generation);
        rules.push(rule([say::set_priority_by_port_of(protocol as u8, map)]));
    }
    for (family, number) in [(Family::V4, ICMP4), (Family::V6, ICMP6)] {
        // meta l4proto icmp goto l4_icmp4.3
        let chain = generation.name(&format!("l4_icmp{}", digit(family)));
        rules.push(rule([say::protocol(number), say::goto(chain)]));
    }
    (Chain::regular(generation.name("l4")), rules)
}

/// Type and code, which take the place of a port.
fn icmp(family: Family, generation: Generation) -> Filled {
    let number = match family {
        Family::V4 => ICMP4,
        Family::V6 => ICMP6,
    };
    let rules = vec![
        // meta priority set icmp type map @l4_icmp_type4.3
        rule([say::set_priority_by_icmp_type(number, Map::IcmpType(family).name(generation))]),
        // meta priority set icmp type . icmp code map @l4_icmp4.3
        rule([say::set_priority_by_icmp(number, Map::Icmp(family).name(generation))]),
    ];
    (Chain::regular(generation.name(&format!("l4_icmp{}", digit(family)))), rules)
}

/// Puts back what the judge's carriers overwrote: the mark and, of IPv4, the priority that the kernel made of the TOS
/// just before the hook.
fn carriers(generation: Generation) -> Vec<Filled> {
    let judge = || rule([say::jump(generation.name("judge"))]);
    let restore = || rule([say::goto(generation.name("restore"))]);
    let tos = |value: u8, priority: u32| rule([say::type_of_service(value), say::set_priority(priority)]);
    vec![
        (
            Chain::regular(generation.name("tos")),
            // ip: TC_PRIO_BULK, TC_PRIO_INTERACTIVE, TC_PRIO_INTERACTIVE_BULK (rt_tos2priority)
            // @nh,8,8 & 0x18 == 0x08 meta priority set 0:2
            vec![tos(0x08, 2), tos(0x10, 6), tos(0x18, 4)],
        ),
        (
            Chain::regular(generation.name("restore")),
            vec![
                // meta priority set none
                declassify(),
                // meta nfproto ipv4 goto tos.3
                rule([say::family(Family::V4), say::goto(generation.name("tos"))]),
            ],
        ),
        (
            Chain::regular(generation.name("carried")),
            vec![
                // ct mark set meta mark
                rule([say::save_mark()]),
                judge(),
                // meta mark set ct mark
                rule([say::restore_mark()]),
                // ct mark set 0x00000000
                rule([say::clear_ct_mark()]),
                restore(),
            ],
        ),
        (
            Chain::regular(generation.name("masquerade")),
            vec![
                judge(),
                // meta mark set 0x00004000
                rule([say::set_mark(MASQUERADE_BIT)]),
                restore(),
            ],
        ),
        (
            Chain::regular(generation.name("marked")),
            vec![
                // ct mark 0x00000000 goto carried.3
                rule([say::ct_is_unmarked(), say::goto(generation.name("carried"))]),
                // meta mark & 0x00004000 != 0x00000000 goto masquerade.3
                rule([say::mark_has(MASQUERADE_BIT), say::goto(generation.name("masquerade"))]),
                judge(),
                // meta mark set 0x00000000
                rule([say::set_mark(0)]),
                restore(),
            ],
        ),
    ]
}

/// ct state invalid counter name "dropped_invalid" drop
fn invalid() -> Rule {
    rule([say::ct_state(INVALID), say::count(DROPPED_INVALID), say::verdict(Verdict::Drop)])
}

/// What is new among the forwarded packets from or to a workload: judges, with the mark and the priority as they were
/// when it is through. Nearly every first packet goes here, so [`judge`] is written out.
fn workload(generation: Generation) -> [Filled; 2] {
    let mut six = vec![declassify()];
    six.extend(ports(generation));
    six.extend(sides(Family::V6, generation));
    // meta mark set 0x00000000 meta priority set none
    six.push(rule([say::clear_carriers()]));
    let mut rules = vec![
        invalid(),
        // meta mark != 0x00000000 goto marked.3
        rule([say::is_marked(), say::goto(generation.name("marked"))]),
        divert6(generation.name("workload6")),
    ];
    // The kernel has made a priority below 7 of the TOS: no L4 class.
    rules.extend(ports(generation));
    rules.extend(sides(Family::V4, generation));
    rules.push(rule([say::clear_carriers()]));
    // @nh,8,8 != 0x00 goto tos.3
    rules.push(rule([say::has_type_of_service(), say::goto(generation.name("tos"))]));
    [
        (Chain::regular(generation.name("workload6")), six),
        (Chain::regular(generation.name("workload")), rules),
    ]
}

/// What is new from a workload to this host.
fn host(settings: &Settings, generation: Generation) -> Filled {
    let mut rules = vec![
        // icmpv6 type @neighbour_types.3 accept
        rule([say::icmp6_type_in(Map::NeighbourTypes.name(generation)), say::verdict(Verdict::Accept)]),
        invalid(),
    ];
    match settings.endpoint_to_host {
        EndpointToHost::Drop => {
            rules.push(rule([say::jump(generation.name("judge"))]));
            // counter name "dropped_to_host" drop
            rules.push(rule([say::count(DROPPED_TO_HOST), say::verdict(Verdict::Drop)]));
        }
        EndpointToHost::Accept => {
            // meta priority set none
            rules.push(declassify());
            // goto workload.3
            rules.push(rule([say::goto(generation.name("workload"))]));
        }
    }
    (Chain::regular(generation.name("host")), rules)
}
