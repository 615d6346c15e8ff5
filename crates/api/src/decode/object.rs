//! A decoded object: its kind, its JSON in normal form, and where each field stands in the file.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use serde_json::Value;

use crate::fault::Fault;
use crate::kind::{Kind, ResourceKey, Scope};
use crate::resource::{Resource, ResourceError};
use crate::yaml::tree::Mark;

/// An object that a user wrote.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// All of it, with `kind` and `apiVersion`, as Calico stores it.
    pub json: Value,
    /// Where its fields stand.
    pub places: Places,
}

impl Object {
    pub(super) fn new(kind: Kind, json: Value, mut places: Places) -> Self {
        places.complete();
        Self { kind, json, places }
    }

    /// `metadata.name`; empty if there is none.
    pub fn name(&self) -> &str {
        self.metadata("name")
    }

    /// `metadata.namespace`; empty if there is none.
    pub fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    fn metadata(&self, field: &str) -> &str {
        self.json
            .get("metadata")
            .and_then(|metadata| metadata.get(field))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The object's identity. A kind of cluster scope has no namespace, whatever was written.
    pub fn key(&self) -> ResourceKey {
        match self.kind.scope() {
            Scope::Namespaced => ResourceKey::namespaced(self.kind, self.namespace(), self.name()),
            Scope::Cluster => ResourceKey::cluster(self.kind, self.name()),
        }
    }

    /// The object as a typed value, for the kinds that take part in policy or address management.
    ///
    /// # Errors
    /// [`ResourceError`] for any other kind.
    pub fn resource(&self) -> Result<Resource, ResourceError> {
        Resource::from_value(self.kind, &self.json)
    }

    /// The faults with the places of their fields in the file.
    pub fn place(&self, faults: Vec<Fault>) -> Vec<Fault> {
        self.places.place(faults)
    }
}

/// Where each field of an object stands, by its path.
///
/// Of a path only the hash is kept: a file may hold thousands of objects, and none of them is likely to be wrong.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// What stands before the object's own paths: `items[3].` in a list.
    pub prefix: String,
    marks: Vec<Place>,
}

/// A path's hash, and its line and column.
type Place = (u64, u32, u32);

impl Places {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix, marks: Vec::new() }
    }

    pub(super) fn insert(&mut self, path: &str, mark: Mark) {
        // Who has more lines is told of the last that fits.
        let small = |number| u32::try_from(number).unwrap_or(u32::MAX);
        self.marks.push((hash(path), small(mark.line), small(mark.column)));
    }

    /// Gives back memory that was kept for more fields.
    pub(super) fn complete(&mut self) {
        self.marks.shrink_to_fit();
    }

    fn at(&self, path: &str) -> Option<Mark> {
        let hash = hash(path);
        let (_, line, column) = self.marks.iter().rev().find(|(known, ..)| *known == hash)?;
        Some(Mark { line: *line as usize, column: *column as usize })
    }

    /// The faults with the places of their fields in the file.
    pub fn place(&self, faults: Vec<Fault>) -> Vec<Fault> {
        let placed = |mut fault: Fault| {
            let mark = self.find(&fault.field);
            fault.field.insert_str(0, &self.prefix);
            fault.at(mark)
        };
        faults.into_iter().map(placed).collect()
    }

    /// The place of a field, or of the nearest thing around it if it isn't written.
    pub fn find(&self, path: &str) -> Mark {
        let mut path = path;
        loop {
            if let Some(mark) = self.at(path) {
                return mark;
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = &path[..at],
                None => return self.at("").unwrap_or_default(),
            }
        }
    }
}

fn hash(path: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(path)
}
