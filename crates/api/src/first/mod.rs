//! Calico's first API (`apiVersion: v1`, before release 3), and what its objects became.
//!
//! ```text
//! text -> yaml::tree -> by the kind's shape -> types -> check    Calico's conditions on what was written
//!                                                    -> objects  the object of projectcalico.org/v3
//! ```
//! Nothing of this API is stored or enforced: `calicoctl convert` reads it, and that is all. Names that the new API doesn't
//! take are changed as Calico changes them (`names`), so that converted objects find each other.

mod check;
mod names;
mod objects;
mod rules;
mod types;

use serde_json::Value;

use crate::decode::{self, Document};
use crate::fault::Fault;
use crate::kind::Kind;

/// The version that the objects name.
const VERSION: &str = "v1";

/// One object of a text.
#[derive(Debug)]
pub enum Item {
    /// Of the first API: its kind and JSON in `projectcalico.org/v3`, or all that is wrong with it.
    Old(Result<(Kind, Value), Vec<Fault>>),
    /// Of any other, as [`decode`] reads it.
    Other(Document),
}

/// Reads a text that may hold objects of both APIs, in any number of documents; and returns what makes the text no YAML.
pub fn decode(text: &str) -> (Vec<Item>, Vec<Fault>) {
    let mut items = Vec::new();
    let faults = decode::each_node(text, |node, path, api_version, kind| {
        let old = (api_version == VERSION).then(|| objects::read(node, &path, kind)).flatten();
        items.push(match old {
            Some(read) => Item::Old(read),
            None => Item::Other(decode::document(node, path, api_version, kind)),
        });
    });
    (items, faults)
}

#[cfg(test)]
mod tests;
