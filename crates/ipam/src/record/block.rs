//! A block of addresses: who has which, and in which order the free ones are given. Pure edits; the caller writes the
//! result back under the revision it read (`claim`, `assign`, `release`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use tortie_api::schema::null_is_default;

use super::{Extra, Sequences};
use crate::key::{HandleId, Owner};
use crate::net;
use crate::pool::Reservations;
use crate::time::{Now, Timestamp};

/// The handle of addresses that Windows keeps for itself; they don't count as use.
pub(crate) const WINDOWS_RESERVED: &str = "windows-reserved-ipam-handle";

/// Who has an address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// The handle, as it was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub handle_id: Option<String>,
    /// What the caller said of the owner: `pod`, `namespace`, `node`, `timestamp`, `type`.
    #[serde(
        rename = "secondary",
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default",
        default
    )]
    pub owner: BTreeMap<String, String>,
    /// The owner to be, while a virtual machine moves.
    #[serde(
        rename = "alternateOwnerAttrs",
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default",
        default
    )]
    pub alternate_owner: BTreeMap<String, String>,
    /// When it was released; it stays taken until it has cooled down.
    #[serde(rename = "releasedAt", skip_serializing_if = "Option::is_none", default)]
    pub released_at: Option<Timestamp>,
    /// Fields that aren't known.
    #[serde(flatten)]
    pub extra: Extra,
    #[serde(skip)]
    rendered: Rendered,
}

/// An attribute's JSON, made once: a block is written for each address, and its attributes are most of its text. A copy
/// begins without, since it is made to be changed.
#[derive(Default)]
struct Rendered(OnceLock<Box<RawValue>>);

impl Clone for Rendered {
    fn clone(&self) -> Self {
        Rendered::default()
    }
}

impl PartialEq for Rendered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "made" } else { "not made" })
    }
}

impl Attribute {
    fn json(&self) -> &RawValue {
        self.rendered.0.get_or_init(|| {
            to_raw_value(self).expect("an attribute is a map with text keys, which always has a JSON form")
        })
    }

    /// The handle without the tail that old releases wrote.
    pub fn handle(&self) -> Option<HandleId> {
        self.handle_id.as_deref().map(HandleId::new)
    }

    fn has_handle(&self, handle: &HandleId) -> bool {
        self.handle_id.as_deref().is_some_and(|id| id.split('\r').next() == Some(handle.as_str()))
    }
}

/// The attributes of a block. A block that was never assigned from has `null`, as Calico writes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(Option<Vec<Arc<Attribute>>>);

impl Attributes {
    /// All of them, by index.
    pub fn list(&self) -> &[Arc<Attribute>] {
        self.0.as_deref().unwrap_or_default()
    }

    fn find_or_add(&mut self, attribute: Attribute) -> u32 {
        let list = self.0.get_or_insert_default();
        let at = list.iter().position(|known| **known == attribute).unwrap_or_else(|| {
            list.push(Arc::new(attribute));
            list.len() - 1
        });
        at as u32
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            None => serializer.serialize_none(),
            Some(list) => serializer.collect_seq(list.iter().map(|attribute| attribute.json())),
        }
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Option::<Vec<Attribute>>::deserialize(deserializer)?;
        Ok(Attributes(list.map(|list| list.into_iter().map(Arc::new).collect())))
    }
}

/// A block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Its addresses.
    pub cidr: IpNet,
    /// `host:NAME` or `virtual:NAME` (see [`Owner`]); none if nobody claims it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub affinity: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub affinity_claim_time: Option<Timestamp>,
    /// By ordinal: the index of the attribute of who has it; one entry for each address (64 usually).
    pub allocations: Vec<Option<u32>>,
    /// The free ordinals, the one to give next first.
    #[serde(deserialize_with = "null_is_default")]
    pub unallocated: Vec<u32>,
    /// Who has addresses.
    pub attributes: Attributes,
    /// Grows with every write; begins with the nanoseconds since 1970, so that a block that is made anew has others.
    #[serde(rename = "sequenceNumber", default)]
    pub sequence_number: u64,
    /// By ordinal: the block's sequence number when it was given.
    #[serde(rename = "sequenceNumberForAllocation", default)]
    pub sequence_number_for_allocation: Sequences,
    /// Used by stores that can't delete by revision.
    #[serde(default)]
    pub deleted: bool,
    /// Fields that aren't known.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Addresses at the ends of each new block that aren't given (Windows needs some).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedEnds {
    /// Addresses at the start.
    pub start: u32,
    /// Addresses at the end.
    pub end: u32,
    /// The handle they are marked with; no handle object is written.
    pub handle: String,
    /// Free text.
    pub note: String,
}

/// What a release did to a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Addresses that were released now, by handle.
    pub by_handle: BTreeMap<HandleId, u32>,
    /// How many there are in all.
    pub count: u32,
}

impl Block {
    /// A new block with all addresses free but the reserved ends.
    pub fn new(cidr: IpNet, owner: &Owner, ends: Option<&ReservedEnds>, now: Now) -> Self {
        let size = net::size(&cidr);
        let mut block = Block {
            cidr,
            affinity: Some(owner.to_string()),
            affinity_claim_time: Some(now.stamp()),
            allocations: vec![None; size as usize],
            unallocated: (0..size).collect(),
            attributes: Attributes::default(),
            sequence_number: now.0,
            sequence_number_for_allocation: Sequences::default(),
            deleted: false,
            extra: Extra::new(),
        };
        if let Some(ends) = ends {
            let attribute = Attribute {
                handle_id: Some(ends.handle.clone()),
                owner: [("note".to_owned(), ends.note.clone())].into(),
                ..Attribute::default()
            };
            let index = block.attributes.find_or_add(attribute);
            let reserved = |ordinal: u32| ordinal < ends.start || ordinal >= size.saturating_sub(ends.end);
            block.unallocated.retain(|ordinal| !reserved(*ordinal));
            for ordinal in (0..size).filter(|ordinal| reserved(*ordinal)) {
                block.allocations[ordinal as usize] = Some(index);
            }
        }
        block
    }

    /// Reads stored JSON and checks that all its indexes are in range.
    ///
    /// # Errors
    /// What is wrong with it, naming the field.
    pub fn decode(value: &[u8]) -> Result<Self, serde_json::Error> {
        let block: Block = serde_json::from_slice(value)?;
        let fault = |text: String| Err(serde::de::Error::custom(text));
        let (size, found) = (net::size(&block.cidr), block.allocations.len());
        if found != size as usize {
            return fault(format!(
                "allocations: found {found} entries, expected {size} as {} has",
                block.cidr
            ));
        }
        let attributes = block.attributes.list().len();
        if let Some(index) = block.allocations.iter().flatten().find(|index| **index as usize >= attributes) {
            return fault(format!("allocations: found attribute {index}, expected less than {attributes}"));
        }
        if let Some(ordinal) = block.unallocated.iter().find(|ordinal| **ordinal >= size) {
            return fault(format!("unallocated: found ordinal {ordinal}, expected less than {size}"));
        }
        Ok(block)
    }

    /// About how long its JSON is, in bytes: a little too long rather than too short.
    pub(super) fn usual_length(&self) -> usize {
        256 + 32 * self.allocations.len() + 256 * self.attributes.list().len()
    }

    /// Whether `owner` has it.
    pub fn is_of(&self, owner: &Owner) -> bool {
        self.affinity.as_deref().is_some_and(|text| {
            text.split_once(':').is_some_and(|(kind, name)| {
                name == owner.name() && (kind == "host") == matches!(owner, Owner::Host(_))
            })
        })
    }

    /// Whose it is, if anybody's.
    pub fn owner(&self) -> Option<Owner> {
        self.affinity.as_deref().and_then(Owner::parse)
    }

    /// How many addresses can be given.
    pub fn free(&self, reservations: &Reservations) -> u32 {
        if reservations.overlap(&self.cidr) {
            let free = |ordinal: &&u32| !reservations.contain(net::nth(&self.cidr, **ordinal));
            self.unallocated.iter().filter(free).count() as u32
        } else {
            self.unallocated.len() as u32
        }
    }

    /// Whether nobody has an address (addresses in cooldown are had).
    pub fn is_empty(&self) -> bool {
        self.allocations.iter().flatten().all(|index| {
            let handle = self.attributes.list()[*index as usize].handle_id.as_deref();
            handle.is_some_and(|handle| handle.eq_ignore_ascii_case(WINDOWS_RESERVED))
        })
    }

    /// Gives up to `count` of the free addresses that have been free longest.
    pub fn give(
        &mut self,
        count: u32,
        handle: Option<&HandleId>,
        owner: &BTreeMap<String, String>,
        reservations: &Reservations,
    ) -> Vec<IpAddr> {
        let some_reserved = reservations.overlap(&self.cidr);
        let mut given = Vec::new();
        self.unallocated.retain(|ordinal| {
            let may = given.len() < count as usize
                && !(some_reserved && reservations.contain(net::nth(&self.cidr, *ordinal)));
            if may {
                given.push(*ordinal);
            }
            !may
        });
        if given.is_empty() {
            return Vec::new();
        }
        let index = self.attribute_for(handle, owner);
        for ordinal in &given {
            self.allocations[*ordinal as usize] = Some(index);
            self.sequence_number_for_allocation.set(*ordinal, self.sequence_number);
        }
        given.into_iter().map(|ordinal| net::nth(&self.cidr, ordinal)).collect()
    }

    /// Gives this one address; false if somebody has it. The ordinal is one of this block.
    pub fn give_one(
        &mut self,
        ordinal: u32,
        handle: Option<&HandleId>,
        owner: &BTreeMap<String, String>,
    ) -> bool {
        if self.allocations[ordinal as usize].is_some() {
            return false;
        }
        self.unallocated.retain(|free| *free != ordinal);
        let index = self.attribute_for(handle, owner);
        self.allocations[ordinal as usize] = Some(index);
        self.sequence_number_for_allocation.set(ordinal, self.sequence_number);
        true
    }

    /// Who has an address; `None` also when it cools down.
    pub fn holder(&self, ordinal: u32) -> Option<&Arc<Attribute>> {
        let index = *self.allocations.get(ordinal as usize)?;
        let attribute = &self.attributes.list()[index? as usize];
        attribute.released_at.is_none().then_some(attribute)
    }

    /// How many addresses were released and cool down.
    pub fn cooling(&self) -> u32 {
        let list = self.attributes.list();
        let indexes = self.allocations.iter().flatten();
        indexes.filter(|index| list[**index as usize].released_at.is_some()).count() as u32
    }

    /// The ordinals that a handle has.
    pub fn of_handle(&self, handle: &HandleId) -> Vec<u32> {
        let list = self.attributes.list();
        let ours: Vec<bool> = list.iter().map(|attribute| attribute.has_handle(handle)).collect();
        let taken = (0..).zip(&self.allocations);
        taken.filter_map(|(ordinal, index)| ours[(*index)? as usize].then_some(ordinal)).collect()
    }

    /// Releases these ordinals, which somebody has. They are free for others after `cooldown` seconds.
    pub fn release(&mut self, ordinals: &[u32], now: Now, cooldown: u32) -> Taken {
        let mut taken = Taken::default();
        for ordinal in ordinals {
            let Some(holder) = self.holder(*ordinal) else { continue };
            taken.count += 1;
            if let Some(handle) = holder.handle() {
                *taken.by_handle.entry(handle).or_insert(0) += 1;
            }
            let released = Attribute { released_at: Some(now.stamp()), ..Attribute::default() };
            let index = self.attributes.find_or_add(released);
            self.allocations[*ordinal as usize] = Some(index);
        }
        self.collect(now, cooldown);
        taken
    }

    /// Frees what has cooled down and drops attributes that nobody uses.
    pub fn collect(&mut self, now: Now, cooldown: u32) {
        let list = self.attributes.list();
        let cool = |attribute: &Arc<Attribute>| {
            attribute.released_at.is_some_and(|at| at.age(now) >= u64::from(cooldown))
        };
        let cooled: Vec<bool> = list.iter().map(cool).collect();
        if cooled.contains(&true) {
            for (ordinal, index) in (0..).zip(&mut self.allocations) {
                if index.is_some_and(|index| cooled[index as usize]) {
                    *index = None;
                    self.unallocated.push(ordinal);
                    self.sequence_number_for_allocation.clear(ordinal);
                }
            }
        }
        self.drop_unused_attributes();
    }

    fn drop_unused_attributes(&mut self) {
        let Some(list) = &mut self.attributes.0 else { return };
        let mut used = vec![false; list.len()];
        for index in self.allocations.iter().flatten() {
            used[*index as usize] = true;
        }
        if !used.contains(&false) {
            return;
        }
        let mut next = 0;
        let moved: Vec<u32> = used
            .iter()
            .map(|used| {
                let to = next;
                next += u32::from(*used);
                to
            })
            .collect();
        for index in self.allocations.iter_mut().flatten() {
            *index = moved[*index as usize];
        }
        let mut kept = used.into_iter();
        list.retain(|_| kept.next().unwrap_or(false));
    }

    fn attribute_for(&mut self, handle: Option<&HandleId>, owner: &BTreeMap<String, String>) -> u32 {
        self.attributes.find_or_add(Attribute {
            handle_id: handle.map(|handle| handle.as_str().to_owned()),
            owner: owner.clone(),
            ..Attribute::default()
        })
    }
}
