//! The workload endpoints of this node: what is told of each, and what must be looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_api::endpoint::WorkloadEndpoint;
use tortie_api::kind::ResourceKey;
use tortie_dataplane::policy::Endpoint;

use crate::error::Fault;
use crate::expression::ExpressionId;
use crate::inheritance::ProfileSlot;
use crate::parse;

/// A workload endpoint of this node.
pub(crate) struct Local {
    pub(crate) key: ResourceKey,
    pub(crate) interface: Arc<str>,
    pub(crate) addresses: Box<[IpAddr]>,
    pub(crate) allowed_sources: Box<[IpNet]>,
    pub(crate) profiles: Box<[ProfileSlot]>,
    /// The policies' selectors that pick it, sorted.
    pub(crate) matched: Vec<ExpressionId>,
    pub(crate) told: Option<Arc<Endpoint>>,
}

impl Local {
    /// Reads what of an endpoint only its own node needs to know.
    ///
    /// # Errors
    /// An address that can't be read.
    pub(crate) fn read(endpoint: &WorkloadEndpoint) -> Result<Self, Fault> {
        let spec = &endpoint.spec;
        let address = |text: &String| match text.parse::<IpNet>() {
            Ok(net) => Ok(net.addr()),
            Err(_) => parse::net("spec.ipNetworks", text).map(|net| net.addr()),
        };
        Ok(Self {
            key: endpoint.key(),
            interface: spec.interface_name.as_str().into(),
            addresses: spec.ip_networks.iter().map(address).collect::<Result<_, _>>()?,
            allowed_sources: parse::nets(
                "spec.allowSpoofedSourcePrefixes",
                &spec.allow_spoofed_source_prefixes,
            )?
            .into(),
            profiles: Box::default(),
            matched: Vec::new(),
            told: None,
        })
    }
}

/// All of them, by item number.
#[derive(Default)]
pub(crate) struct Locals {
    pub(crate) entries: BTreeMap<u32, Local>,
    /// Whom other selectors may pick.
    pub(crate) rematch: BTreeSet<u32>,
    /// Whose stacks may be others, or who itself is another.
    pub(crate) restack: BTreeSet<u32>,
    /// Who was told and is gone.
    pub(crate) gone: BTreeMap<ResourceKey, Arc<Endpoint>>,
}
