//! Reads what a user wrote, YAML or JSON, as calicoctl does.
//!
//! ```text
//! text -> yaml::tree -> documents (lists opened) -> convert (by the kind's shape) -> Object
//! ```
//! Strict for Calico's kinds and Kubernetes' policies: an unknown field is a fault, since a
//! condition that is lost would open something. Kubernetes' other kinds keep the fields that
//! policy doesn't read. All faults of a text are found, each with its place. What the values
//! mean isn't asked here: the next hops are `defaults` and `validate`.

mod convert;
mod object;

use serde_json::Value;

use crate::defaults;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::registry;
use crate::yaml::scalar::Scalar;
use crate::yaml::tree::{self, Data, Mark, Node};

pub(crate) use convert::convert as by_shape;
pub use object::{Object, Places};

/// Everything that a text holds.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Its documents, the items of lists one by one, in the order of writing.
    pub documents: Vec<Document>,
    /// What makes it no YAML. What follows such a fault in the text hasn't been read.
    pub faults: Vec<Fault>,
}

/// One object as written.
#[derive(Debug)]
pub struct Document {
    /// For people: `NetworkPolicy(shop/web)`, as far as it could be read.
    pub subject: String,
    /// The object; `None` if its kind isn't known. With faults, what could be read of it.
    pub object: Option<Object>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

impl Decoded {
    /// The objects if nothing at all is wrong, else every fault, in the order of the text.
    ///
    /// # Errors
    /// All faults.
    pub fn into_objects(self) -> Result<Vec<Object>, Vec<Fault>> {
        let mut faults = self.faults;
        let mut objects = Vec::with_capacity(self.documents.len());
        for document in self.documents {
            faults.extend(document.faults);
            objects.extend(document.object);
        }
        if faults.is_empty() {
            return Ok(objects);
        }
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Err(faults)
    }
}

/// Reads a text of any number of YAML documents, or JSON.
pub fn decode(text: &str) -> Decoded {
    let mut documents = Vec::new();
    let faults = each(text, |document| documents.push(document));
    Decoded { documents, faults }
}

/// The same, one object after the other; returns what makes the text no YAML. What is to be had of a document's tree
/// is had before the next is read: there may be thousands.
pub fn each(text: &str, mut found: impl FnMut(Document)) -> Vec<Fault> {
    each_node(text, |node, path, api_version, kind| found(document(node, path, api_version, kind)))
}

/// The same before anything is made of an object: its tree, where it stands in a list, its version and its kind.
pub(crate) fn each_node(text: &str, mut found: impl FnMut(&Node, String, &str, &str)) -> Vec<Fault> {
    let errors = tree::each(text, |node| collect(&node, String::new(), None, &mut found));
    let fault = |error: tree::SyntaxError| {
        let line = text.lines().nth(error.mark.line.saturating_sub(1)).unwrap_or_default().trim();
        let fault = Fault::new("", format!("error converting YAML to JSON: {error}")).at(error.mark);
        fault.found(format!("{line:?}")).expected("YAML")
    };
    errors.into_iter().map(fault).collect()
}

/// Opens lists (`kind: List`, `kind: TierList` or a bare list) and decodes the objects in them.
fn collect(
    node: &Node,
    path: String,
    inherited: Option<(&str, &str)>,
    found: &mut impl FnMut(&Node, String, &str, &str),
) {
    if let Data::List(items) = &node.data {
        for (at, item) in items.iter().enumerate() {
            collect(item, format!("{path}[{at}]"), inherited, found);
        }
        return;
    }
    let written = (text_of(node, "apiVersion"), text_of(node, "kind"));
    let (api_version, kind) = match (written, inherited) {
        ((None, None), Some(inherited)) => inherited,
        ((api_version, kind), _) => (api_version.unwrap_or_default(), kind.unwrap_or_default()),
    };
    if let (Some(item_kind), Some(Node { data: Data::List(items), .. })) =
        (kind.strip_suffix("List"), get(node, "items"))
    {
        let inherited = (!item_kind.is_empty()).then_some((api_version, item_kind));
        for (at, item) in items.iter().enumerate() {
            collect(item, format!("{path}items[{at}]."), inherited, found);
        }
        return;
    }
    found(node, path, api_version, kind);
}

/// An object by its tree.
pub(crate) fn document(node: &Node, path: String, api_version: &str, kind_name: &str) -> Document {
    let metadata = get(node, "metadata");
    let part = |name| metadata.and_then(|metadata| text_of(metadata, name)).filter(|part| !part.is_empty());
    let full_name = match (part("namespace"), part("name")) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        (_, name) => name.unwrap_or_default().to_owned(),
    };
    let subject = format!("{kind_name}({full_name})");
    let Some(kind) = Kind::of(api_version, kind_name) else {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let message = match go_type(node, kind_name) {
            Some(found) => {
                format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type []unstructured.Unstructured"
                )
            }
            None => format!("unknown resource type ({kind_name}) and/or version ({version})"),
        };
        let mark = get(node, "kind").or(get(node, "apiVersion")).map_or(node.mark, |node| node.mark);
        let fault = Fault::new(&path, message).at(mark).found(describe(node, api_version, kind_name));
        let fault = fault.expected(
            "a kind and an apiVersion that go together, such as NetworkPolicy and projectcalico.org/v3",
        );
        return Document { subject, object: None, faults: vec![fault] };
    };
    let (json, places, mut faults) = convert::convert(node, registry::shape(kind), path.clone(), kind.api());
    let mut json = json.unwrap_or_default();
    if let Value::Object(object) = &mut json {
        object.insert("apiVersion".to_owned(), api_version.into());
        object.insert("kind".to_owned(), kind_name.into());
    }
    if convert::is_strict(kind.api()) {
        defaults::apply_before_types(kind, &mut json);
        match registry::normalise(kind, &json) {
            Ok(normal) => json = normal,
            // Each value was checked against its shape before: only faulty ones can get here.
            Err(error) if faults.is_empty() => {
                faults.push(Fault::new(&path, error.to_string()).at(node.mark))
            }
            Err(_) => {}
        }
    }
    Document { subject, object: Some(Object::new(kind, json, places)), faults }
}

/// What Calico's tools say that they found where a document is no object with a kind, nor a list of those.
fn go_type(node: &Node, kind: &str) -> Option<&'static str> {
    match &node.data {
        Data::Map(_) => kind.is_empty().then_some("object"),
        Data::List(_) => None,
        Data::Text(_) => Some("string"),
        Data::Plain(_, Scalar::Bool(_)) => Some("bool"),
        Data::Plain(_, Scalar::Int(_) | Scalar::Float(_)) => Some("number"),
        Data::Plain(..) => Some("string"),
    }
}

fn describe(node: &Node, api_version: &str, kind: &str) -> String {
    match &node.data {
        Data::Map(_) => format!("kind {kind:?}, apiVersion {api_version:?}"),
        Data::List(_) => "a list".to_owned(),
        Data::Plain(text, _) | Data::Text(text) => format!("{text:?}"),
    }
}

/// A map's value by its key, whose letters' case counts only where the exact key is absent.
fn get<'node>(node: &'node Node, key: &str) -> Option<&'node Node> {
    let Data::Map(entries) = &node.data else { return None };
    entries
        .iter()
        .find(|entry| entry.key == key)
        .or_else(|| entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key)))
        .map(|entry| &entry.value)
}

fn text_of<'node>(node: &'node Node, key: &str) -> Option<&'node str> {
    match &get(node, key)?.data {
        Data::Plain(text, _) | Data::Text(text) => Some(text),
        Data::List(_) | Data::Map(_) => None,
    }
}

/// The start of a text, for faults of a whole file.
pub const START: Mark = Mark { line: 1, column: 1 };
