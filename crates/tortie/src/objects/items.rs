//! The objects that a command is about.

use std::sync::Arc;

use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey, Scope};

use crate::packed::Packed;

/// An object that a command is about.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its kind.
    pub kind: Kind,
    /// The object, or only its name if it stood on the command line.
    pub json: Value,
    /// Where it comes from, to place faults.
    pub source: Option<Source>,
}

/// The place of an object in a file.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file's name; `-` for standard input.
    pub file: Arc<str>,
    /// Where its fields stand.
    pub places: tortie_api::decode::Places,
}

impl Item {
    /// Its identity; the name may be empty.
    pub fn id(&self) -> ResourceKey {
        let text = |name: &str| self.json["metadata"][name].as_str().unwrap_or_default();
        match self.kind.scope() {
            Scope::Cluster => ResourceKey::cluster(self.kind, text("name")),
            Scope::Namespaced => ResourceKey::namespaced(self.kind, text("namespace"), text("name")),
        }
    }

    /// The resource version that it carries, if it does.
    pub fn resource_version(&self) -> Option<&str> {
        self.json["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty())
    }
}

/// All of them, in order.
#[derive(Debug, Clone, Default)]
pub struct Items(Vec<Folded>);

#[derive(Debug, Clone)]
struct Folded {
    kind: Kind,
    json: Packed,
    source: Option<Source>,
}

impl Items {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kind of all of them, if it is one.
    pub fn single_kind(&self) -> Option<Kind> {
        let first = self.0.first()?.kind;
        self.0.iter().all(|item| item.kind == first).then_some(first)
    }

    /// The same in parts of `most` objects; the last may be smaller.
    pub fn in_parts(self, most: usize) -> impl Iterator<Item = Items> {
        let mut rest = self.0.into_iter();
        std::iter::from_fn(move || {
            let part: Vec<Folded> = rest.by_ref().take(most).collect();
            (!part.is_empty()).then_some(Items(part))
        })
    }

    /// One by one, only what says where they stand in a datastore ([`tortie_store::resources::Client::keys_of`]): a
    /// hundred of them take what one whole object does.
    pub fn heads(&self) -> impl Iterator<Item = Item> {
        self.0.iter().map(|Folded { kind, json, .. }| Item { kind: *kind, json: json.head(), source: None })
    }

    /// One by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Item> {
        let unfold = |Folded { kind, json, source }: &Folded| Item {
            kind: *kind,
            json: json.value(),
            source: source.clone(),
        };
        self.0.iter().map(unfold)
    }
}

impl Extend<Item> for Items {
    fn extend<T: IntoIterator<Item = Item>>(&mut self, items: T) {
        let fold = |Item { kind, json, source }| Folded { kind, json: json.into(), source };
        self.0.extend(items.into_iter().map(fold));
    }
}

impl FromIterator<Item> for Items {
    fn from_iter<T: IntoIterator<Item = Item>>(items: T) -> Items {
        let mut all = Items::default();
        all.extend(items);
        all
    }
}
