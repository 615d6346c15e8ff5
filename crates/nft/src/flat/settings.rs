//! What an operator can choose about the flat table.

use crate::object::TableId;

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
            owned: Ownership::IfAvailable,
            smallest_map: 1024,
        }
    }
}
