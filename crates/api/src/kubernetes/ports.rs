//! Ports of Kubernetes' rules: gathered by protocol, and neighbours made one range.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::FaultReason;
use crate::schema::{Omit, Shape, Shaped, reread};
use crate::value::{Port, Protocol};

/// A number or a text, as Kubernetes has them for ports. Whether it is a port is found when
/// the rule is converted, so that one bad port spoils its rule and not the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A text: a name, or digits.
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(formatter),
            Self::String(text) => text.fmt(formatter),
        }
    }
}

impl Shaped for IntOrString {
    const SHAPE: &'static Shape = &Shape::Custom {
        go_name: "IntOrString",
        expected: "a number or a text",
        read: reread::<IntOrString>,
    };
}

impl Omit for IntOrString {
    fn omit(&self) -> bool {
        false
    }
}

/// The ports of one rule by protocol, in the order of the protocols' names: the order of the
/// converted rules. No protocol (`None`, first) is any. No ports of a protocol: all of them.
#[derive(Debug, Default)]
pub(super) struct PortsByProtocol(BTreeMap<Option<String>, Vec<Port>>);

impl PortsByProtocol {
    /// Any protocol and any port.
    pub(super) fn any() -> Self {
        Self(BTreeMap::from([(None, Vec::new())]))
    }

    /// All ports of a protocol, whatever is or will be said of some.
    pub(super) fn add_all(&mut self, protocol: &str) {
        self.0.insert(Some(protocol_name(protocol)), Vec::new());
    }

    /// A port of a protocol, or of any protocol; no news if all of them are in already.
    pub(super) fn add(&mut self, protocol: Option<&str>, port: Port) {
        match self.0.entry(protocol.map(protocol_name)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(vec![port]);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                if !entry.get().is_empty() {
                    entry.get_mut().push(port);
                }
            }
        }
    }

    /// One pair for each rule to come.
    pub(super) fn into_rules(self) -> impl Iterator<Item = (Option<Protocol>, Vec<Port>)> {
        self.0.into_iter().map(|(protocol, ports)| {
            let protocol = protocol.map(|name| Protocol::Name(name.into()));
            (protocol, coalesce(ports))
        })
    }
}

/// A first port and perhaps a last one, as Calico reads them.
pub(super) fn port(first: &IntOrString, last: Option<i64>) -> Result<Port, FaultReason> {
    let text = match last {
        None => first.to_string(),
        Some(last) => format!("{first}:{last}"),
    };
    let fault = |reason: String| FaultReason::Port { found: text.clone(), reason };
    let name = || fault(format!("invalid name for named port ({text})"));
    if let Some((first, last)) = text.split_once(':') {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return Err(name());
        }
    }
    text.parse().map_err(|error: crate::value::ValueError| fault(error.to_string()))
}

/// A range of numbers.
pub(super) fn range(first: i64, last: i64) -> Result<Port, FaultReason> {
    let text = if first == last { first.to_string() } else { format!("{first}:{last}") };
    if first < 0 || last < 0 {
        let reason = "expected numbers from 0 to 65535".to_owned();
        return Err(FaultReason::Port { found: text, reason });
    }
    port(&IntOrString::String(text), None)
}

fn protocol_name(text: &str) -> String {
    match text.parse() {
        Ok(Protocol::Name(name)) => name.into(),
        Ok(Protocol::Number(_)) | Err(_) => text.to_owned(),
    }
}

/// Ranges that overlap or touch are made one. Names go first, and then the numbers in order,
/// unless there is one port number at most: then all stays as it was.
fn coalesce(ports: Vec<Port>) -> Vec<Port> {
    let numbers: usize = ports
        .iter()
        .map(|port| match port {
            Port::Range(first, last) => usize::from(last.saturating_sub(*first)) + 1,
            Port::Named(_) => 0,
        })
        .sum();
    if numbers <= 1 {
        return ports;
    }
    let mut names = Vec::new();
    let mut ranges = Vec::new();
    for port in ports {
        match port {
            Port::Range(first, last) => ranges.push((first, last)),
            name @ Port::Named(_) => names.push(name),
        }
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    names.extend(merged.into_iter().map(|(first, last)| Port::Range(first, last)));
    names
}
