//! The stored settings that concern this node: FelixConfiguration `default` and `node.NAME`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tortie_api::event::Event;
use tortie_api::felix::{FelixConfiguration, FelixConfigurationSpec};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::resource::Resource;
use tortie_store::Error;
use tortie_store::resources::Client;

use super::Source;

const EVERYONE: &str = "default";

/// Values by the field's name.
type Fields = BTreeMap<String, String>;

/// What is stored. A configuration that can't be read says nothing; the agent's core tells of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    own: Arc<str>,
    everyone: Fields,
    node: Fields,
    others: BTreeSet<ResourceKey>,
}

impl Stored {
    /// Nothing yet, for the node of this name.
    pub fn new(node: &str) -> Self {
        Self { own: format!("node.{node}").into(), ..Self::default() }
    }

    /// What the store holds now: for the start, before the first event comes.
    ///
    /// # Errors
    /// Those of the datastore. What is stored but can't be read is passed over.
    pub fn read(client: &Client, node: &str) -> Result<Self, Error> {
        let mut stored = Self::new(node);
        for name in [EVERYONE, &*Arc::clone(&stored.own)] {
            let id = ResourceKey::cluster(Kind::FelixConfiguration, name);
            match client.get_as::<FelixConfigurationSpec>(&id) {
                Ok(object) => stored.put(&object),
                Err(Error::Missing { .. } | Error::Unreadable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stored)
    }

    /// Takes in what an event says; whether it is about settings at all.
    pub fn on_event(&mut self, event: &Event) -> bool {
        match event {
            Event::Upsert(Resource::FelixConfiguration(object)) => self.put(object),
            Event::Delete(key) | Event::Unreadable { key, .. } if key.kind == Kind::FelixConfiguration => {
                self.others.remove(key);
                if let Some(fields) = self.fields(&key.name) {
                    fields.clear();
                }
            }
            _ => return false,
        }
        true
    }

    /// The strongest value of a field, and whose it is.
    pub fn get(&self, field: &str) -> Option<(&str, Source)> {
        let node = self.node.get(field).map(|value| (value.as_str(), Source::Node));
        node.or_else(|| self.everyone.get(field).map(|value| (value.as_str(), Source::Everyone)))
    }

    /// Configurations that select nodes by label, which aren't read.
    pub fn passed_over(&self) -> impl Iterator<Item = &ResourceKey> {
        self.others.iter()
    }

    fn fields(&mut self, name: &str) -> Option<&mut Fields> {
        match name {
            EVERYONE => Some(&mut self.everyone),
            name if *name == *self.own => Some(&mut self.node),
            _ => None,
        }
    }

    fn put(&mut self, object: &FelixConfiguration) {
        match self.fields(&object.metadata.name) {
            Some(fields) => *fields = read(&object.spec),
            // Another node's is another node's business.
            None if object.metadata.name.starts_with("node.") => {}
            None => drop(self.others.insert(object.key())),
        }
    }
}

/// What a configuration says. Lists and objects aren't settings of this agent.
fn read(spec: &FelixConfigurationSpec) -> Fields {
    let Ok(Value::Object(fields)) = serde_json::to_value(spec) else { return Fields::new() };
    let text = |value: Value| match value {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
}
