//! Which pools a pod asks for: its own annotation, else its namespace's, else the network configuration's, else none, so
//! that selectors choose. Pure; the CNI plugin calls it before [`crate::auto_assign`].

use ipnet::IpNet;
use tortie_api::meta::StringMap;

use crate::net::Family;
use crate::pool::View;

/// A list of pools that can't be read or resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// An annotation isn't a JSON list of texts.
    #[error(
        "annotation {annotation}: found {found:?}, expected a list of pools as [\"10.0.0.0/16\", \"my-pool\"]"
    )]
    Annotation {
        /// Its name.
        annotation: &'static str,
        /// Its value.
        found: String,
    },
    /// Neither addresses nor the name of a pool.
    #[error("error parsing pool {0:?}: invalid CIDR address: {0}")]
    Unknown(String),
    /// Of the other family.
    #[error("{found:?} isn't a IPv{wanted} address")]
    Family {
        /// The network's address.
        found: String,
        /// 4 or 6.
        wanted: u8,
    },
}

/// Where a request for pools may stand.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The pod's annotations.
    pub pod: &'a StringMap,
    /// Its namespace's annotations.
    pub namespace: &'a StringMap,
    /// `ipv4_pools` or `ipv6_pools` of the network configuration.
    pub configuration: &'a [String],
}

/// The pools to pass to [`crate::AutoAssign`]; empty if nothing asks for any.
///
/// # Errors
/// See [`ChoiceError`]. Whether the pools are enabled is judged when addresses are assigned.
pub fn choose_pools(view: &View, family: Family, sources: Sources<'_>) -> Result<Vec<IpNet>, ChoiceError> {
    let annotation = match family {
        Family::V4 => "cni.projectcalico.org/ipv4pools",
        Family::V6 => "cni.projectcalico.org/ipv6pools",
    };
    let Sources { pod, namespace, configuration } = sources;
    let annotated = [pod, namespace].into_iter().find_map(|annotations| annotations.get(annotation));
    let names = match annotated {
        Some(text) => serde_json::from_str::<Vec<String>>(text)
            .map_err(|_| ChoiceError::Annotation { annotation, found: text.clone() })?,
        None => configuration.to_vec(),
    };
    names.into_iter().map(|name| resolve(view, family, name)).collect()
}

fn resolve(view: &View, family: Family, name: String) -> Result<IpNet, ChoiceError> {
    let by_name = || view.pools().iter().find(|pool| pool.name == name).map(|pool| pool.cidr);
    let cidr =
        name.parse::<IpNet>().ok().or_else(by_name).ok_or_else(|| ChoiceError::Unknown(name.clone()))?;
    if Family::of(cidr.addr()) != family {
        return Err(ChoiceError::Family { found: cidr.addr().to_string(), wanted: family.number() });
    }
    Ok(cidr.trunc())
}
