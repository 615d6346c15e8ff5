//! The stored settings that concern this node: FelixConfiguration `default`, the one that selects it by its labels, and
//! `node.NAME`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tortie_api::endpoint::NodeSpec;
use tortie_api::event::Event;
use tortie_api::felix::{FelixConfiguration, FelixConfigurationSpec};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::meta::StringMap;
use tortie_api::resource::Resource;
use tortie_api::selector::Selector;
use tortie_store::Error;
use tortie_store::resources::Client;

use super::Source;

const EVERYONE: &str = "default";
/// What the names of single nodes' configurations begin with.
const SINGLE: &str = "node.";

/// What is stored. A configuration that can't be read says nothing; the agent's core tells of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    node: Arc<str>,
    labels: StringMap,
    /// By name, without those of other single nodes. Few.
    configurations: BTreeMap<Arc<str>, Configuration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Configuration {
    /// RFC 3339, UTC, whole seconds: compared as text. Empty is the oldest.
    created: String,
    selector: String,
    /// Values by the field's name.
    fields: BTreeMap<String, String>,
}

impl Stored {
    /// Nothing yet, for the node of this name.
    pub fn new(node: &str) -> Self {
        Self { node: node.into(), ..Self::default() }
    }

    /// What the store holds now: for the start, before the first event comes.
    ///
    /// # Errors
    /// Those of the datastore. What is stored but can't be read is passed over.
    pub fn read(client: &Client, node: &str) -> Result<Self, Error> {
        let mut stored = Self::new(node);
        match client.get_as::<NodeSpec>(&ResourceKey::cluster(Kind::Node, node)) {
            Ok(object) => stored.labels = object.metadata.labels,
            Err(Error::Missing { .. } | Error::Unreadable { .. }) => {}
            Err(error) => return Err(error),
        }
        for object in client.list(Kind::FelixConfiguration, None)?.items {
            if let Ok(object) = serde_json::from_value(object) {
                stored.put(&object);
            }
        }
        Ok(stored)
    }

    /// Takes in what an event says; whether it may change a setting.
    pub fn on_event(&mut self, event: &Event) -> bool {
        match event {
            Event::Upsert(Resource::FelixConfiguration(object)) => self.put(object),
            Event::Upsert(Resource::Node(node)) if node.metadata.name == *self.node => {
                let changed = self.labels != node.metadata.labels;
                self.labels.clone_from(&node.metadata.labels);
                return changed;
            }
            Event::Delete(key) | Event::Unreadable { key, .. } if key.kind == Kind::FelixConfiguration => {
                self.configurations.remove(&*key.name);
            }
            _ => return false,
        }
        true
    }

    /// The strongest value of a field, and whose it is.
    pub fn get(&self, field: &str) -> Option<(&str, Source)> {
        let of = |name: &str, source: Source| {
            Some((self.configurations.get(name)?.fields.get(field)?.as_str(), source))
        };
        of(&format!("{SINGLE}{}", self.node), Source::Node)
            .or_else(|| self.selected().and_then(|name| of(name, Source::Selected(Arc::clone(name)))))
            .or_else(|| of(EVERYONE, Source::Everyone))
    }

    /// The configuration that selects this node. Of several it is the oldest, as with Calico.
    fn selected(&self) -> Option<&Arc<str>> {
        let selecting = self.selectors().filter(|(.., selects)| *selects == Ok(true));
        let oldest = selecting.min_by_key(|(name, configuration, _)| (configuration.created.clone(), *name));
        oldest.map(|(name, ..)| name)
    }

    /// Configurations that aren't read although they might be meant for this node, and why.
    pub fn passed_over(&self) -> Vec<(ResourceKey, String)> {
        let selected = self.selected();
        let why = |(name, configuration, selects): (&Arc<str>, &Configuration, Result<bool, String>)| {
            let why = match selects {
                _ if configuration.selector.is_empty() => {
                    "it is neither default nor node.NAME, and has no nodeSelector".to_owned()
                }
                Err(error) => format!("spec.nodeSelector: {error}"),
                Ok(true) if selected != Some(name) => {
                    format!("{} selects this node too, and is older", selected.map_or("", |name| name))
                }
                Ok(_) => return None,
            };
            Some((ResourceKey::cluster(Kind::FelixConfiguration, name), why))
        };
        self.selectors().filter_map(why).collect()
    }

    /// Configurations for nodes by label, and whether they are for this one.
    fn selectors(&self) -> impl Iterator<Item = (&Arc<str>, &Configuration, Result<bool, String>)> {
        let named = |name: &str| name == EVERYONE || name.starts_with(SINGLE);
        let others = self.configurations.iter().filter(move |(name, _)| !named(name));
        others.map(|(name, configuration)| {
            let selects = match &*configuration.selector {
                "" => Ok(false),
                text => Selector::parse(text)
                    .map(|selector| selector.matches(&self.labels))
                    .map_err(|error| error.to_string()),
            };
            (name, configuration, selects)
        })
    }

    fn put(&mut self, object: &FelixConfiguration) {
        let name = &*object.metadata.name;
        // Another node's is another node's business.
        if name.strip_prefix(SINGLE).is_none_or(|node| node == &*self.node) {
            let created = object.metadata.creation_timestamp.clone().unwrap_or_default();
            let (selector, fields) = read(&object.spec);
            self.configurations.insert(name.into(), Configuration { created, selector, fields });
        }
    }
}

/// What a configuration says: its selector, and its fields. Lists and objects aren't settings of this agent.
fn read(spec: &FelixConfigurationSpec) -> (String, BTreeMap<String, String>) {
    let Ok(Value::Object(fields)) = serde_json::to_value(spec) else { return Default::default() };
    let text = |value: Value| match value {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let mut fields: BTreeMap<String, String> =
        fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect();
    (fields.remove("nodeSelector").unwrap_or_default(), fields)
}
