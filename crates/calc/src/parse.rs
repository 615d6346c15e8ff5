//! Texts of objects as values: selectors, nets, names.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use tortie_api::selector::Selector;

use crate::error::Fault;

/// How many selectors a [`Parser`] remembers.
const REMEMBERED: usize = 1024;

/// Reads selectors, and remembers those that it read last: policies say the same often.
#[derive(Default)]
pub(crate) struct Parser {
    known: FxHashMap<Box<str>, Arc<Selector>>,
}

impl Parser {
    /// Reads a selector; `None` if the field is empty.
    pub(crate) fn optional(
        &mut self,
        field: &'static str,
        text: &str,
    ) -> Result<Option<Arc<Selector>>, Fault> {
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(selector) = self.known.get(text) {
            return Ok(Some(Arc::clone(selector)));
        }
        let selector =
            Selector::parse(text).map_err(|source| Fault::Selector { field, found: text.into(), source })?;
        let selector = Arc::new(selector);
        if self.known.len() == REMEMBERED {
            self.known.clear();
        }
        self.known.insert(text.into(), Arc::clone(&selector));
        Ok(Some(selector))
    }
}

/// The selector of what is in a namespace.
pub(crate) fn in_namespace(namespace: &str) -> Result<Arc<Selector>, Fault> {
    if namespace.contains('"') && namespace.contains('\'') {
        return Err(Fault::Name { field: "namespace", found: namespace.into() });
    }
    Ok(Arc::new(Selector::in_namespace(namespace)))
}

/// What all of the selectors pick; `None` of none.
pub(crate) fn all_of(selectors: impl IntoIterator<Item = Option<Arc<Selector>>>) -> Option<Arc<Selector>> {
    let and =
        |one: Arc<Selector>, other| Arc::new(Arc::unwrap_or_clone(one).and(Arc::unwrap_or_clone(other)));
    selectors.into_iter().flatten().reduce(and)
}

/// Reads a CIDR or an address; without the bits behind the prefix.
pub(crate) fn net(field: &'static str, text: &str) -> Result<IpNet, Fault> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => Some(net.trunc()),
        Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
    };
    net.ok_or_else(|| Fault::Net { field, found: text.into() })
}

/// Reads CIDRs and addresses: sorted, without doubles.
pub(crate) fn nets(field: &'static str, texts: &[String]) -> Result<Vec<IpNet>, Fault> {
    let mut nets = texts.iter().map(|text| net(field, text)).collect::<Result<Vec<_>, _>>()?;
    nets.sort_unstable();
    nets.dedup();
    Ok(nets)
}
