//! Reads YAML (and so JSON) into nodes that remember where and how they were written.
//!
//! The parser below speaks in events; this builds each document's tree from them, follows aliases
//! and merge keys, and refuses what a decoder could only lose: a key that is set twice, and input
//! that would grow without bound (aliases of aliases, nesting).

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use super::scalar::{Scalar, resolve};

/// Lists and maps may stand in each other this deep.
const MOST_LEVELS: usize = 100;
/// All nodes of a document, those of aliases counted at each use.
const MOST_NODES: usize = 2_000_000;

/// A place in a text; line and column from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Mark {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub data: Data,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A plain scalar, as written, with its type.
    Plain(String, Scalar),
    /// A quoted text or a block.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of writing.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as a text; `true` and numbers are keys as JSON would write them.
    pub key: String,
    /// Where the key begins.
    pub mark: Mark,
    /// The value.
    pub value: Node,
    /// Whether it came by `<<` and gives way to a key of the map's own.
    merged: bool,
}

/// What makes a text no YAML, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("yaml: {message}")]
pub struct SyntaxError {
    /// Where.
    pub mark: Mark,
    /// What, in the words of Go's library and with its line: none for the first, and where a list or a map has no end the
    /// one before the text's last.
    pub message: String,
}

impl SyntaxError {
    fn of(text: &str, mark: Mark, said: &str) -> SyntaxError {
        let scanned = if mark.line > 1 { mark.line } else { 0 };
        let (line, words) = match said {
            "unclosed bracket '['" => (text.matches('\n').count(), "did not find expected ',' or ']'"),
            "unclosed bracket '{'" => (text.matches('\n').count(), "did not find expected ',' or '}'"),
            _ if said.starts_with("tabs disallowed") => {
                (scanned, "found character that cannot start any token")
            }
            _ => (scanned, said),
        };
        let message = if line == 0 { words.to_owned() } else { format!("line {line}: {words}") };
        SyntaxError { mark, message }
    }

    /// A key that a map has already.
    pub fn twice(mark: Mark, key: &str) -> SyntaxError {
        let message = format!("unmarshal errors:\n  line {}: key {key:?} already set in map", mark.line);
        SyntaxError { mark, message }
    }
}

/// All documents of a text that hold something, and what is wrong with it.
///
/// An error of syntax ends the reading: what went before is there, what comes after isn't. A key
/// that is set twice is an error too, but the reading goes on with its first value.
pub fn read(text: &str) -> (Vec<Node>, Vec<SyntaxError>) {
    let mut documents = Vec::new();
    let errors = each(text, |document| documents.push(document));
    (documents, errors)
}

/// The same, one document after the other: there may be thousands.
pub fn each(text: &str, mut document: impl FnMut(Node)) -> Vec<SyntaxError> {
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, Options::default()) {
        let taken = match next {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                let mark = Mark { line: error.marker().line(), column: error.marker().col() + 1 };
                Err(SyntaxError::of(text, mark, &error.info()))
            }
        };
        builder.documents.drain(..).for_each(&mut document);
        if let Err(error) = taken {
            builder.errors.push(error);
            break;
        }
    }
    builder.errors
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    errors: Vec<SyntaxError>,
    /// The collections around the place of reading, the outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

/// A collection that isn't complete yet.
struct Open {
    mark: Mark,
    anchor: usize,
    /// The builder's count of nodes at its beginning.
    nodes_before: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map(MapSoFar),
}

/// A map while it is read.
#[derive(Default)]
struct MapSoFar {
    entries: Vec<Entry>,
    /// Where each key's entry is.
    index: HashMap<String, usize>,
    /// A key whose value comes next, its place and whether it is a merge key.
    key: Option<(String, Mark, bool)>,
}

impl MapSoFar {
    /// Adds an entry unless the map has one of its own under that key.
    fn add(&mut self, entry: Entry) -> Result<(), SyntaxError> {
        match self.index.get(&entry.key).and_then(|at| self.entries.get_mut(*at)) {
            None => {
                self.index.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
            Some(known) if known.merged && !entry.merged => *known = entry,
            Some(_) if entry.merged => {}
            Some(_) => {
                return Err(SyntaxError::twice(entry.mark, &entry.key));
            }
        }
        Ok(())
    }

    /// Adds the entries of a map, or of a list of maps of which the first wins.
    fn merge(&mut self, node: Node, mark: Mark) -> Result<(), SyntaxError> {
        let maps = match node.data {
            Data::List(items) => items.into_iter().map(|item| item.data).collect(),
            other => vec![other],
        };
        for map in maps {
            let Data::Map(merged) = map else {
                let message = "map merge requires map or sequence of maps as the value".to_owned();
                return Err(SyntaxError { mark, message });
            };
            for entry in merged {
                self.add(Entry { merged: true, ..entry })?;
            }
        }
        Ok(())
    }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let mark = Mark { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.nodes = 0;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let data = match tag.as_ref().and_then(|tag| tag.core_suffix()) {
                    Some("str") | Some("binary") => Data::Text(text.into_owned()),
                    None if !plain => Data::Text(text.into_owned()),
                    _ => {
                        let scalar = resolve(&text);
                        Data::Plain(text.into_owned(), scalar)
                    }
                };
                self.place(Node { mark, data }, 1, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => self.open(mark, anchor, Items::List(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => {
                self.open(mark, anchor, Items::Map(MapSoFar::default()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let data = match open.items {
                    Items::List(items) => Data::List(items),
                    Items::Map(map) => Data::Map(map.entries),
                };
                let size = self.nodes - open.nodes_before + 1;
                self.place(Node { mark: open.mark, data }, size, open.anchor)?;
            }
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(SyntaxError { mark, message: "anchor value contains itself".to_owned() });
                };
                let (size, nodes) = (*size, self.nodes);
                if nodes + size > MOST_NODES {
                    return Err(SyntaxError {
                        mark,
                        message: format!(
                            "document contains excessive aliasing: more than {MOST_NODES} nodes"
                        ),
                    });
                }
                let mut node = node.clone();
                node.mark = mark;
                self.nodes += size - 1;
                self.place(node, size, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, mark: Mark, anchor: usize, items: Items) -> Result<(), SyntaxError> {
        if self.open.len() >= MOST_LEVELS {
            return Err(SyntaxError { mark, message: format!("exceeded max depth of {MOST_LEVELS}") });
        }
        self.open.push(Open { mark, anchor, nodes_before: self.nodes, items });
        Ok(())
    }

    /// Puts a complete node where it belongs: under its key, into its list, or as a document.
    fn place(&mut self, node: Node, size: usize, anchor: usize) -> Result<(), SyntaxError> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(SyntaxError {
                mark: node.mark,
                message: format!("document has more than {MOST_NODES} nodes"),
            });
        }
        if anchor != 0 {
            // The copy counts too, or anchors around anchors would hold one text many times.
            self.nodes += size;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            if !matches!(node.data, Data::Plain(_, Scalar::Null)) {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Map(map) => match map.key.take() {
                None => map.key = Some(read_key(node)?),
                Some((_, mark, true)) => map.merge(node, mark)?,
                Some((key, mark, false)) => {
                    if let Err(twice) = map.add(Entry { key, mark, value: node, merged: false }) {
                        self.errors.push(twice);
                    }
                }
            },
        }
        Ok(())
    }
}

/// A key's text, its place and whether it is a merge key.
fn read_key(node: Node) -> Result<(String, Mark, bool), SyntaxError> {
    let text = match node.data {
        Data::Text(text) => text,
        Data::Plain(_, Scalar::Merge) => return Ok((String::new(), node.mark, true)),
        Data::Plain(_, Scalar::Bool(value)) => value.to_string(),
        Data::Plain(_, Scalar::Int(value)) => value.to_string(),
        Data::Plain(_, Scalar::Float(value)) => super::scalar::go_float(value),
        Data::Plain(_, Scalar::Null) => "null".to_owned(),
        Data::Plain(text, Scalar::Timestamp | Scalar::Text) => text,
        Data::List(_) | Data::Map(_) => {
            return Err(SyntaxError {
                mark: node.mark,
                message: "invalid map key: expected a text, found a list or a map".to_owned(),
            });
        }
    };
    Ok((text, node.mark, false))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "tests")]
    use super::*;

    fn one(text: &str) -> Node {
        let (mut documents, errors) = read(text);
        assert_eq!((documents.len(), &errors[..]), (1, &[][..]), "{text}");
        documents.remove(0)
    }

    fn render(node: &Node) -> String {
        match &node.data {
            Data::Plain(text, _) => text.clone(),
            Data::Text(text) => format!("{text:?}"),
            Data::List(items) => format!("[{}]", items.iter().map(render).collect::<Vec<_>>().join(",")),
            Data::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|entry| format!("{}:{}", entry.key, render(&entry.value))).collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    #[test]
    fn nodes_know_their_line_and_column() {
        let node = one("a: 1\nb:\n  - x\n  - 'y'\n");
        let Data::Map(entries) = &node.data else { panic!("a map") };
        assert_eq!(entries[1].mark, Mark { line: 2, column: 1 });
        let Data::List(items) = &entries[1].value.data else { panic!("a list") };
        assert_eq!(items[1].mark, Mark { line: 4, column: 5 });
        assert_eq!(items[1].data, Data::Text("y".into()));
    }

    #[test]
    fn merge_keys_give_way_to_keys_of_the_map_wherever_they_stand() {
        let node =
            one("base: &b {x: 1, w: 2}\nuse:\n  x: 3\n  <<: *b\nalso:\n  <<: [*b, {z: 9, w: 8}]\n  w: 7\n");
        assert_eq!(render(&node), "{base:{x:1,w:2},use:{x:3,w:2},also:{x:1,w:7,z:9}}");
    }

    #[test]
    fn a_key_set_twice_is_an_error_with_its_place() {
        let (_, errors) = read("a: 1\nb: 2\na: 3\n");
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "yaml: unmarshal errors:\n  line 3: key \"a\" already set in map");
        assert_eq!(errors[0].mark.column, 1);
    }

    #[test]
    fn aliases_of_aliases_and_nesting_are_bounded() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let (_, errors) = read(&text);
        assert!(errors[0].message.contains("more than 2000000 nodes"), "{errors:?}");

        let (_, errors) = read(&"[".repeat(100_000));
        assert_eq!(errors.len(), 1, "{errors:?}");
        let (_, errors) = read(&"- ".repeat(100_000));
        assert_eq!(errors.len(), 1, "{errors:?}");
    }

    #[test]
    fn documents_are_read_up_to_the_first_error_of_syntax() {
        let (documents, errors) = read("---\na: 1\n---\n# nothing\n---\nb: [\n");
        assert_eq!(documents.len(), 1);
        assert_eq!(errors.len(), 1);
        let (documents, errors) = read("a:\n\tb: 1\n");
        assert!(documents.is_empty());
        assert_eq!(errors[0].mark.line, 2, "{errors:?}");
    }

    #[test]
    fn json_is_read_as_it_is() {
        assert_eq!(render(&one("{\"a\": [1, \"true\", null], \"b\": {}}")), "{a:[1,\"true\",null],b:{}}");
    }
}
