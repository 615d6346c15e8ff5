//! How `get` shows objects: tables, YAML, JSON and names, byte for byte as calicoctl where it has the format.

pub mod boxed;
mod columns;
pub mod progress;
mod table;
mod template;

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde_json::Value;
use tortie_api::kind::Kind;
use tortie_api::schema::Shape;
use tortie_api::{registry, yaml};
use tortie_store::Revision;
use tortie_store::resources::Client;

use crate::packed::Packed;

/// What one question brought.
#[derive(Debug)]
pub enum Shown {
    /// One object, by name.
    Object {
        /// Its kind.
        kind: Kind,
        /// The object.
        object: Value,
    },
    /// All of a kind.
    List {
        /// The kind.
        kind: Kind,
        /// The revision of which this is the state.
        revision: Revision,
        /// The objects.
        items: Vec<Packed>,
    },
}

impl Shown {
    fn kind(&self) -> Kind {
        match self {
            Shown::Object { kind, .. } | Shown::List { kind, .. } => *kind,
        }
    }

    /// Its objects, one by one.
    fn objects(&self) -> Box<dyn Iterator<Item = Cow<'_, Value>> + '_> {
        match self {
            Shown::Object { object, .. } => Box::new(std::iter::once(Cow::Borrowed(object))),
            Shown::List { items, .. } => Box::new(items.iter().map(|item| Cow::Owned(item.value()))),
        }
    }

    /// YAML at a column, where the writer stands already.
    fn write_yaml(&self, out: &mut Out<'_>, column: usize) -> io::Result<()> {
        let (kind, revision, items) = match self {
            Shown::Object { object, .. } => return out.yaml(object, column),
            Shown::List { kind, revision, items } => (kind, revision, items),
        };
        let indent = " ".repeat(column);
        out.text(&format!("apiVersion: {}\n{indent}items:", kind.api().version()))?;
        out.text(if items.is_empty() { " []\n" } else { "\n" })?;
        for item in items {
            out.text(&format!("{indent}- "))?;
            out.yaml(&item.value(), column + 2)?;
        }
        out.text(&format!("{indent}kind: {}List\n{indent}metadata:\n", kind.name()))?;
        out.text(&format!("{indent}  resourceVersion: \"{revision}\"\n"))
    }

    /// JSON at an indentation of `depth` steps.
    fn write_json(&self, out: &mut Out<'_>, depth: usize) -> io::Result<()> {
        let shape = registry::shape(self.kind());
        let (kind, revision, items) = match self {
            Shown::Object { object, .. } => return out.json(object, shape, depth),
            Shown::List { kind, revision, items } => (kind, revision, items),
        };
        let (indent, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
        out.text(&format!("{{\n{inner}\"kind\": \"{}List\",\n", kind.name()))?;
        out.text(&format!("{inner}\"apiVersion\": \"{}\",\n", kind.api().version()))?;
        out.text(&format!("{inner}\"metadata\": {{\n{inner}  \"resourceVersion\": \"{revision}\"\n"))?;
        out.text(&format!("{inner}}},\n{inner}\"items\": "))?;
        write_array(out, items.len(), depth + 1, |out, at| out.json(&items[at].value(), shape, depth + 2))?;
        out.text(&format!("\n{indent}}}"))
    }
}

/// An array of `count` elements, which `element` writes one step further in than `depth`.
fn write_array(
    out: &mut Out<'_>,
    count: usize,
    depth: usize,
    mut element: impl FnMut(&mut Out<'_>, usize) -> io::Result<()>,
) -> io::Result<()> {
    out.text("[")?;
    for at in 0..count {
        out.text(if at == 0 { "\n" } else { ",\n" })?;
        out.text(&"  ".repeat(depth + 1))?;
        element(out, at)?;
    }
    if count > 0 {
        out.text("\n")?;
        out.text(&"  ".repeat(depth))?;
    }
    out.text("]")
}

/// Where text goes, object by object, so that a long list isn't held as a whole.
struct Out<'a> {
    sink: &'a mut dyn Write,
    part: String,
}

impl Out<'_> {
    fn text(&mut self, text: &str) -> io::Result<()> {
        self.sink.write_all(text.as_bytes())
    }

    fn yaml(&mut self, value: &Value, column: usize) -> io::Result<()> {
        self.part.clear();
        yaml::write_at(&mut self.part, value, column);
        self.sink.write_all(self.part.as_bytes())
    }

    fn json(&mut self, value: &Value, shape: &Shape, depth: usize) -> io::Result<()> {
        self.part.clear();
        tortie_store::json::write(&mut self.part, value, Some(shape), Some(depth));
        self.sink.write_all(self.part.as_bytes())
    }
}

/// How objects are written as one text.
pub type Writer = fn(&mut dyn Write, &[Shown]) -> io::Result<()>;

/// As YAML: one by itself, several as a list.
///
/// # Errors
/// Those of `sink`.
pub fn write_yaml(sink: &mut dyn Write, shown: &[Shown]) -> io::Result<()> {
    let mut out = Out { sink, part: String::new() };
    match shown {
        [] => out.yaml(&Value::Null, 0),
        [one] => one.write_yaml(&mut out, 0),
        all => all.iter().try_for_each(|one| {
            out.text("- ")?;
            one.write_yaml(&mut out, 2)
        }),
    }
}

/// As JSON, indented: one by itself, several as a list.
///
/// # Errors
/// Those of `sink`.
pub fn write_json(sink: &mut dyn Write, shown: &[Shown]) -> io::Result<()> {
    let mut out = Out { sink, part: String::new() };
    match shown {
        // Go's word for a list that was never made.
        [] => out.text("null")?,
        [one] => one.write_json(&mut out, 0)?,
        all => write_array(&mut out, all.len(), 0, |out, at| all[at].write_json(out, 1))?,
    }
    out.text("\n")
}

/// What `writer` writes, as a text.
pub fn to_text(writer: Writer, shown: &[Shown]) -> String {
    let mut text = Vec::new();
    writer(&mut text, shown).expect("memory takes all");
    String::from_utf8(text).expect("it was written as text")
}

/// As YAML: one by itself, several as Kubernetes' list of anything.
///
/// # Errors
/// Those of `sink`.
pub fn write_yaml_list(sink: &mut dyn Write, shown: &[Shown]) -> io::Result<()> {
    if shown.len() == 1 {
        return write_yaml(sink, shown);
    }
    let mut out = Out { sink, part: String::new() };
    out.text("apiVersion: v1\nitems:")?;
    out.text(if shown.is_empty() { " []\n" } else { "\n" })?;
    for one in shown {
        out.text("- ")?;
        one.write_yaml(&mut out, 2)?;
    }
    out.text("kind: List\nmetadata: {}\n")
}

/// The same as JSON, indented.
///
/// # Errors
/// Those of `sink`.
pub fn write_json_list(sink: &mut dyn Write, shown: &[Shown]) -> io::Result<()> {
    if shown.len() == 1 {
        return write_json(sink, shown);
    }
    let mut out = Out { sink, part: String::new() };
    out.text("{\n  \"kind\": \"List\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {},\n  \"items\": ")?;
    write_array(&mut out, shown.len(), 1, |out, at| shown[at].write_json(out, 2))?;
    out.text("\n}\n")
}

/// A format of `-o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Tables.
    Table {
        /// Which columns.
        columns: Columns,
        /// Whether namespaced kinds show theirs.
        with_namespace: bool,
    },
    /// YAML.
    Yaml,
    /// JSON, indented.
    Json,
    /// A `kind.group/name` each.
    Name,
    /// A template of Go's.
    Template(String),
    /// The same, in a file.
    TemplateFile(PathBuf),
}

/// Which columns a table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// The usual ones.
    Default,
    /// More.
    Wide,
    /// Those with these headings.
    Custom(Vec<String>),
}

impl Format {
    /// Reads what was given with `-o`.
    ///
    /// # Errors
    /// calicoctl's words.
    pub fn parse(text: &str, with_namespace: bool) -> Result<Format, String> {
        Ok(match text {
            "yaml" | "yml" => Format::Yaml,
            "json" => Format::Json,
            "name" => Format::Name,
            "ps" => Format::Table { columns: Columns::Default, with_namespace },
            "wide" => Format::Table { columns: Columns::Wide, with_namespace },
            _ => match text.split_once('=').unwrap_or((text, "")) {
                ("go-template", "") => return Err("need to specify a template".to_owned()),
                ("go-template", template) => Format::Template(template.to_owned()),
                ("go-template-file", "") => return Err("need to specify a template file".to_owned()),
                ("go-template-file", path) => Format::TemplateFile(path.into()),
                ("custom-columns", "") => return Err("need to specify at least one column".to_owned()),
                ("custom-columns", headings) => {
                    let headings = headings.split(',').map(str::to_owned).collect();
                    Format::Table { columns: Columns::Custom(headings), with_namespace: false }
                }
                _ => return Err(format!("unrecognized output format '{text}'")),
            },
        })
    }

    /// Prints to standard output.
    ///
    /// # Errors
    /// An unknown heading or a template's fault, in calicoctl's words.
    pub fn print(&self, client: &Client, shown: &[Shown]) -> Result<(), String> {
        match self {
            Format::Table { columns, with_namespace } => {
                for one in shown {
                    let columns = columns::of(one.kind(), columns, *with_namespace)?;
                    println!("{}", table::write(client, &columns, one.objects()));
                }
            }
            Format::Yaml => print(write_yaml, shown)?,
            Format::Json => print(write_json, shown)?,
            Format::Template(template) => print!("{}", template::write(client, template, shown)?),
            Format::TemplateFile(path) => {
                let template = std::fs::read_to_string(path).map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        format!("open {}: no such file or directory", path.display())
                    }
                    _ => format!("open {}: {error}", path.display()),
                })?;
                print!("{}", template::write(client, &template, shown)?);
            }
            Format::Name => {
                for one in shown {
                    let kind = one.kind();
                    let group = match kind.api().version().rsplit_once('/') {
                        Some((group, _)) => format!(".{group}"),
                        None => String::new(),
                    };
                    for object in one.objects() {
                        let name = object["metadata"]["name"].as_str().unwrap_or_default();
                        println!("{}{group}/{name}", kind.name().to_lowercase());
                    }
                }
            }
        }
        Ok(())
    }
}

fn print(writer: Writer, shown: &[Shown]) -> Result<(), String> {
    let mut out = BufWriter::new(io::stdout().lock());
    writer(&mut out, shown).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => crate::reader_is_gone(),
        _ => format!("write /dev/stdout: {error}"),
    })
}
