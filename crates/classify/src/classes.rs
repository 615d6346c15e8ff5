//! Address classes: which addresses no rule can tell apart.
//!
//! A class is a family and a sorted list of memberships. A prefix that comes or goes is one
//! element; a class all of whose prefixes change alike keeps its number.

use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};
use tortie_dataplane::flat::ClassId;
use tortie_dataplane::policy::{Family, Member, SetId};

use crate::ids::Ids;

/// The memberships that make a class.
pub type Members = Arc<[Member]>;

/// One class.
#[derive(Debug, Clone)]
pub struct Class {
    /// Of which family.
    pub family: Family,
    /// What its addresses belong to, sorted; never empty.
    pub members: Members,
    /// How many prefixes are in it.
    prefixes: usize,
}

/// All address classes of the node.
#[derive(Debug)]
pub struct Classes {
    ids: Ids,
    classes: FxHashMap<ClassId, Class>,
    by_members: FxHashMap<(Family, Members), ClassId>,
    by_set: FxHashMap<SetId, FxHashSet<ClassId>>,
    of: FxHashMap<IpNet, ClassId>,
}

/// All numbers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

impl Default for Classes {
    fn default() -> Self {
        Self {
            ids: Ids::new(1, u32::from(ClassId::ANY.0) - 1),
            classes: FxHashMap::default(),
            by_members: FxHashMap::default(),
            by_set: FxHashMap::default(),
            of: FxHashMap::default(),
        }
    }
}

impl Classes {
    /// The class of a prefix, if it is in any set.
    pub fn of(&self, prefix: &IpNet) -> Option<ClassId> {
        self.of.get(prefix).copied()
    }

    /// What packets of the prefix meet: its own class's memberships, or those of the net around it.
    pub fn around(&self, prefix: &IpNet) -> &[Member] {
        self.classes.get(&self.met_by(prefix)).map_or(&[], |class| &class.members)
    }

    /// The class that packets of the prefix meet: its own, or that of the net around it, or none.
    pub fn met_by(&self, prefix: &IpNet) -> ClassId {
        crate::classifier::wider(*prefix).find_map(|net| self.of(&net)).unwrap_or(ClassId::NONE)
    }

    /// What the prefix belongs to as classes go; empty for none.
    pub fn members_of(&self, prefix: &IpNet) -> &[Member] {
        self.of(prefix).and_then(|id| self.classes.get(&id)).map_or(&[], |class| &class.members)
    }

    /// One class.
    pub fn get(&self, id: ClassId) -> Option<&Class> {
        self.classes.get(&id)
    }

    /// All classes.
    pub fn iter(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        self.classes.iter().map(|(id, class)| (*id, class))
    }

    /// All prefixes with their class.
    pub fn prefixes(&self) -> impl Iterator<Item = (&IpNet, ClassId)> {
        self.of.iter().map(|(prefix, id)| (prefix, *id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// The classes in a set.
    pub fn within(&self, set: SetId) -> impl Iterator<Item = ClassId> {
        self.by_set.get(&set).into_iter().flatten().copied()
    }

    /// How many prefixes are in a class.
    pub fn size(&self, id: ClassId) -> usize {
        self.classes.get(&id).map_or(0, |class| class.prefixes)
    }

    /// The class with these memberships.
    pub fn find(&self, family: Family, members: &Members) -> Option<ClassId> {
        self.by_members.get(&(family, Arc::clone(members))).copied()
    }

    /// A new class, without prefixes as yet.
    pub fn create(&mut self, family: Family, members: &Members) -> Result<ClassId, Exhausted> {
        let number = self.ids.take().and_then(|id| u16::try_from(id).ok()).ok_or(Exhausted)?;
        let id = ClassId(number);
        self.enter(id, Class { family, members: Arc::clone(members), prefixes: 0 });
        Ok(id)
    }

    /// Gives a class other memberships; its prefixes and its number stay.
    pub fn rename(&mut self, id: ClassId, members: &Members) {
        if let Some(class) = self.leave(id) {
            self.enter(id, Class { members: Arc::clone(members), ..class });
        }
    }

    /// Puts a prefix into a class, or into none. Gives the class that it left if that is empty now.
    pub fn assign(&mut self, prefix: IpNet, to: Option<ClassId>) -> Option<ClassId> {
        let left = match to {
            Some(id) => {
                if let Some(class) = self.classes.get_mut(&id) {
                    class.prefixes += 1;
                }
                self.of.insert(prefix, id)
            }
            None => self.of.remove(&prefix),
        }?;
        let class = self.classes.get_mut(&left)?;
        class.prefixes -= 1;
        (class.prefixes == 0).then_some(left)
    }

    /// Takes an empty class away; its number rests until [`Self::release`].
    pub fn remove(&mut self, id: ClassId) {
        self.leave(id);
        self.ids.put(u32::from(id.0));
    }

    /// The numbers that were freed since the last call.
    pub fn drain_freed(&mut self) -> Vec<u32> {
        self.ids.drain_quarantine()
    }

    /// These numbers may be given again.
    pub fn release(&mut self, ids: Vec<u32>) {
        self.ids.release(ids);
    }

    fn enter(&mut self, id: ClassId, class: Class) {
        for member in class.members.iter() {
            self.by_set.entry(set_of(*member)).or_default().insert(id);
        }
        self.by_members.insert((class.family, Arc::clone(&class.members)), id);
        self.classes.insert(id, class);
    }

    fn leave(&mut self, id: ClassId) -> Option<Class> {
        let class = self.classes.remove(&id)?;
        for member in class.members.iter() {
            if let Some(ids) = self.by_set.get_mut(&set_of(*member)) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_set.remove(&set_of(*member));
                }
            }
        }
        self.by_members.remove(&(class.family, Arc::clone(&class.members)));
        Some(class)
    }
}

/// The set that a membership speaks of.
pub const fn set_of(member: Member) -> SetId {
    match member {
        Member::Of(set) | Member::Port { set, .. } => set,
    }
}
