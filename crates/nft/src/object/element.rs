//! Elements of sets and maps.

use crate::expression::{Verdict, write_value};
use crate::kernel::*;
use tortie_netlink::{Attributes, Encoder};

/// One element.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    /// The key, or where its range begins; fields of a key of several start at multiples of four. Empty: every key
    /// that has no element of its own.
    pub key: Vec<u8>,
    /// Last key of a range, inclusive; only in interval sets of several fields.
    pub last: Option<Vec<u8>>,
    /// This element is where a range ends, exclusive; only in interval sets of one field.
    pub is_end: bool,
    /// What the key leads to.
    pub value: Value,
}

/// What a key leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// Nothing: an element of a set, or the end of a range.
    None,
    /// Bytes, in the byte order of the map's data type.
    Bytes(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
    /// The counter of this name.
    Counter(String),
}

impl Element {
    /// An exact key.
    #[must_use]
    pub fn exact(key: impl Into<Vec<u8>>, value: Value) -> Self {
        Element { key: key.into(), last: None, is_end: false, value }
    }

    /// What every key has that has no element of its own (`*`). Not counted in a set's size.
    #[must_use]
    pub fn catch_all(value: Value) -> Self {
        Element::exact([], value)
    }

    /// Appends this element to a list; without `value` for a deletion or a get, which go by key.
    pub(crate) fn write(&self, encoder: &mut Encoder, with_value: bool) {
        encoder.nested(NFTA_LIST_ELEM, |encoder| {
            if self.key.is_empty() {
                encoder.put_be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_CATCHALL);
            } else {
                if self.is_end {
                    encoder.put_be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
                }
                write_value(encoder, NFTA_SET_ELEM_KEY, &self.key);
            }
            if let Some(last) = &self.last {
                write_value(encoder, NFTA_SET_ELEM_KEY_END, last);
            }
            match &self.value {
                Value::Bytes(bytes) if with_value => write_value(encoder, NFTA_SET_ELEM_DATA, bytes),
                Value::Verdict(verdict) if with_value => verdict.write(encoder, NFTA_SET_ELEM_DATA),
                Value::Counter(name) if with_value => encoder.put_text(NFTA_SET_ELEM_OBJREF, name),
                Value::None | Value::Bytes(_) | Value::Verdict(_) | Value::Counter(_) => {}
            }
        });
    }

    /// Most bytes that the element takes in a list, so that lists are cut before a nest overflows.
    pub(crate) fn encoded_bound(&self) -> usize {
        let value = match &self.value {
            Value::None => 0,
            Value::Bytes(bytes) => bytes.len(),
            Value::Counter(name) => name.len() + 1,
            Value::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => chain.len() + 32,
            Value::Verdict(_) => 16,
        };
        64 + self.key.len() + self.last.as_ref().map_or(0, |last| last.len() + 16) + value
    }

    /// Reads `NFTA_SET_ELEM_LIST_ELEMENTS`.
    pub(crate) fn read_list(list: Attributes<'_>) -> impl Iterator<Item = Option<Element>> {
        list.map(|attribute| Self::read(attribute.nested()))
    }

    fn read(attributes: Attributes<'_>) -> Option<Element> {
        let mut element = Element { key: Vec::new(), last: None, is_end: false, value: Value::None };
        let mut catches_all = false;
        for attribute in attributes {
            let bytes = || Some(attribute.nested().find_kind(NFTA_DATA_VALUE)?.payload.to_vec());
            match attribute.kind {
                NFTA_SET_ELEM_KEY => element.key = bytes()?,
                NFTA_SET_ELEM_KEY_END => element.last = Some(bytes()?),
                NFTA_SET_ELEM_FLAGS => {
                    let flags = attribute.be32().ok()?;
                    element.is_end = flags & NFT_SET_ELEM_INTERVAL_END != 0;
                    catches_all = flags & NFT_SET_ELEM_CATCHALL != 0;
                }
                NFTA_SET_ELEM_DATA => {
                    element.value = match attribute.nested().find_kind(NFTA_DATA_VERDICT) {
                        Some(verdict) => Value::Verdict(Verdict::read(verdict.nested())?),
                        None => Value::Bytes(bytes()?),
                    }
                }
                NFTA_SET_ELEM_OBJREF => element.value = Value::Counter(attribute.text().ok()?.to_owned()),
                _ => {}
            }
        }
        (element.key.is_empty() == catches_all).then_some(element)
    }
}
