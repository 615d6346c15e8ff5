//! Chains: base chains, which a hook of the kernel calls, and regular ones, which rules and verdict maps lead to.

use crate::kernel::*;
use tortie_netlink::{Attributes, Encoder};

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// At most 255 bytes.
    pub name: String,
    /// Where the kernel calls it; `None` for a regular chain.
    pub hook: Option<Hook>,
}

/// Where and in which order the kernel calls a base chain. Its policy is always accept: what a base chain of ours
/// drops, it drops by a rule, so that traffic that is none of our business passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// The hook.
    pub point: HookPoint,
    /// Order among the chains of a hook; lower is earlier. Connection tracking is at -200.
    pub priority: i32,
    /// What it may do there.
    pub kind: ChainKind,
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Judge each packet.
    Filter,
    /// Give the first packet of a connection other addresses.
    Nat,
}

impl ChainKind {
    fn name(self) -> &'static str {
        match self {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        }
    }
}

/// `NF_INET_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum HookPoint {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

impl Chain {
    /// A regular chain.
    #[must_use]
    pub fn regular(name: impl Into<String>) -> Self {
        Chain { name: name.into(), hook: None }
    }

    /// A base chain.
    #[must_use]
    pub fn base(name: impl Into<String>, point: HookPoint, priority: i32) -> Self {
        Chain { name: name.into(), hook: Some(Hook { point, priority, kind: ChainKind::Filter }) }
    }

    /// A base chain that changes addresses.
    #[must_use]
    pub fn nat(name: impl Into<String>, point: HookPoint, priority: i32) -> Self {
        Chain { name: name.into(), hook: Some(Hook { point, priority, kind: ChainKind::Nat }) }
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.put_text(NFTA_CHAIN_NAME, &self.name);
        if let Some(Hook { point, priority, kind }) = self.hook {
            encoder.nested(NFTA_CHAIN_HOOK, |encoder| {
                encoder.put_be32(NFTA_HOOK_HOOKNUM, point as u32);
                encoder.put(NFTA_HOOK_PRIORITY, &priority.to_be_bytes());
            });
            encoder.put_text(NFTA_CHAIN_TYPE, kind.name());
            encoder.put(NFTA_CHAIN_POLICY, &NF_ACCEPT.to_be_bytes());
        }
    }

    /// Reads a listed chain: its table and itself.
    pub(crate) fn read(attributes: Attributes<'_>) -> Option<(String, Chain)> {
        let (mut table, mut name, mut hook) = (None, None, None);
        let kind = attributes.clone().find_kind(NFTA_CHAIN_TYPE).and_then(|kind| kind.text().ok());
        let kind = if kind == Some(ChainKind::Nat.name()) { ChainKind::Nat } else { ChainKind::Filter };
        for attribute in attributes {
            match attribute.kind {
                NFTA_CHAIN_TABLE => table = Some(attribute.text().ok()?.to_owned()),
                NFTA_CHAIN_NAME => name = Some(attribute.text().ok()?.to_owned()),
                NFTA_CHAIN_HOOK => hook = Some(Hook::read(attribute.nested(), kind)?),
                _ => {}
            }
        }
        Some((table?, Chain { name: name?, hook }))
    }
}

impl Hook {
    fn read(attributes: Attributes<'_>, kind: ChainKind) -> Option<Hook> {
        use HookPoint::*;
        let number = attributes.find_kind(NFTA_HOOK_HOOKNUM)?.be32().ok()?;
        let priority = attributes.find_kind(NFTA_HOOK_PRIORITY)?.bytes().ok()?;
        Some(Hook {
            point: [Prerouting, Input, Forward, Output, Postrouting]
                .into_iter()
                .find(|point| *point as u32 == number)?,
            priority: i32::from_be_bytes(priority),
            kind,
        })
    }
}
