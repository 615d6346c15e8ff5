//! What an operator can choose about the flat table.

use super::Flat;
use super::chains;
use crate::Result;
use crate::batch::Place;
use crate::object::TableId;
use tortie_dataplane::network::Outgoing;

/// Comment of every table of ours: by it a process with no memory knows the table, and its format.
pub const TABLE_COMMENT: &str = "tortie flat 1";
/// What the comments of all versions begin with.
pub const TABLE_COMMENT_PREFIX: &str = "tortie ";

/// Settings of the flat table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The table; `inet tortie`.
    pub table: TableId,
    /// What the names of workload interfaces begin with (Calico's `InterfacePrefix`): at least one, each at most
    /// 15 bytes.
    pub interface_prefixes: Vec<String>,
    /// What happens to packets from a workload to this host after the workload's egress policy allowed them
    /// (Calico's `DefaultEndpointToHostAction`).
    pub endpoint_to_host: EndpointToHost,
    /// Where Log rules send packets.
    pub log: LogTarget,
    /// Which connections leave with this host's address, and whether VXLAN is in use.
    pub outgoing: Outgoing,
    /// The UDP port of VXLAN: while that is in use, packets to it are dropped that no node has sent.
    pub vxlan_port: u16,
    /// Workloads may send them, to others than this host.
    pub vxlan_of_workloads: bool,
    /// Use table ownership if the kernel has it: other processes can't change the table, and it outlives us.
    pub owned: Ownership,
    /// Fewest elements that a sized map is made for; maps are made for twice what they hold at first.
    pub smallest_map: u32,
}

/// Calico's `DefaultEndpointToHostAction`. Its `Return` and `Accept` are one here: our chain ends, and chains of
/// other tables still see the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointToHost {
    /// The packet is dropped; the default.
    Drop,
    /// The packet goes on to the host.
    Accept,
}

impl Flat {
    /// Changes what happens to packets from workloads to this host: at once where tables of this process judge, in one
    /// transaction that writes the chains anew that say so; else with the next [`Flat::install`].
    pub fn set_endpoint_to_host(&mut self, action: EndpointToHost) -> Result<()> {
        let before = self.settings.clone();
        self.settings.endpoint_to_host = action;
        let Some(generation) = self.current.as_ref().map(|current| current.generation) else { return Ok(()) };
        let mut batch = self.batch();
        let was = chains::generation(&before, generation);
        for (filled, was) in chains::generation(&self.settings, generation).into_iter().zip(was) {
            if filled != was {
                let (chain, rules) = filled;
                batch.flush_chain(&chain.name);
                rules.iter().for_each(|rule| batch.add_rule(&chain.name, rule, Place::End));
            }
        }
        self.client.commit(batch)
    }
}

/// Where Log rules send packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// An nflog group, with the path in the prefix ([`super::Flat::logged_path`]).
    Group(u16),
    /// The kernel's log.
    Kernel,
}

/// Whether the table belongs to this process's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// If the kernel can (6.9).
    IfAvailable,
    /// Never: anyone may change the table, and a [`crate::Monitor`] hears of it.
    Never,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            table: TableId::inet("tortie"),
            interface_prefixes: vec!["cali".into()],
            endpoint_to_host: EndpointToHost::Drop,
            log: LogTarget::Group(9),
            outgoing: Outgoing::default(),
            vxlan_port: 4789,
            vxlan_of_workloads: false,
            owned: Ownership::IfAvailable,
            smallest_map: 1024,
        }
    }
}
