//! How `get` shows objects: tables, YAML, JSON and names, byte for byte as calicoctl where it has the format.

pub mod boxed;
mod columns;
pub mod progress;
mod table;
mod template;

use std::path::PathBuf;

use serde_json::{Value, json};
use tortie_api::kind::Kind;
use tortie_api::{registry, yaml};
use tortie_store::Revision;
use tortie_store::resources::Client;

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
        items: Vec<Value>,
    },
}

impl Shown {
    fn kind(&self) -> Kind {
        match self {
            Shown::Object { kind, .. } | Shown::List { kind, .. } => *kind,
        }
    }

    fn objects(&self) -> &[Value] {
        match self {
            Shown::Object { object, .. } => std::slice::from_ref(object),
            Shown::List { items, .. } => items,
        }
    }

    fn value(&self) -> Value {
        match self {
            Shown::Object { object, .. } => object.clone(),
            Shown::List { kind, revision, items } => json!({
                "kind": format!("{}List", kind.name()),
                "apiVersion": kind.api().version(),
                "metadata": { "resourceVersion": revision.to_string() },
                "items": items,
            }),
        }
    }

    /// JSON at an indentation of `depth` steps.
    fn write_json(&self, out: &mut String, depth: usize) {
        let shape = Some(registry::shape(self.kind()));
        match self {
            Shown::Object { object, .. } => tortie_store::json::write(out, object, shape, Some(depth)),
            Shown::List { kind, revision, items } => {
                let (indent, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
                out.push_str(&format!("{{\n{inner}\"kind\": \"{}List\",\n", kind.name()));
                out.push_str(&format!("{inner}\"apiVersion\": \"{}\",\n", kind.api().version()));
                out.push_str(&format!(
                    "{inner}\"metadata\": {{\n{inner}  \"resourceVersion\": \"{revision}\"\n"
                ));
                out.push_str(&format!("{inner}}},\n{inner}\"items\": "));
                write_array(out, items.len(), depth + 1, |out, at| {
                    tortie_store::json::write(out, &items[at], shape, Some(depth + 2));
                });
                out.push_str(&format!("\n{indent}}}"));
            }
        }
    }
}

/// An array of `count` elements, which `element` writes one step further in than `depth`.
fn write_array(out: &mut String, count: usize, depth: usize, mut element: impl FnMut(&mut String, usize)) {
    out.push('[');
    for at in 0..count {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        element(out, at);
    }
    if count > 0 {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(']');
}

/// As YAML: one by itself, several as a list.
pub fn to_yaml(shown: &[Shown]) -> String {
    match shown {
        [one] => yaml::to_string(&one.value()),
        [] => yaml::to_string(&Value::Null),
        all => yaml::to_string(&all.iter().map(Shown::value).collect()),
    }
}

/// As JSON, indented: one by itself, several as a list.
pub fn to_json(shown: &[Shown]) -> String {
    let mut out = String::new();
    match shown {
        [one] => one.write_json(&mut out, 0),
        // Go's word for a list that was never made.
        [] => out.push_str("null"),
        all => write_array(&mut out, all.len(), 0, |out, at| all[at].write_json(out, 1)),
    }
    out.push('\n');
    out
}

/// As YAML: one by itself, several as Kubernetes' list of anything.
pub fn to_yaml_list(shown: &[Shown]) -> String {
    match shown {
        [_] => to_yaml(shown),
        all => yaml::to_string(&json!({
            "kind": "List", "apiVersion": "v1", "metadata": {}, "items": all.iter().map(Shown::value).collect::<Vec<_>>(),
        })),
    }
}

/// The same as JSON, indented.
pub fn to_json_list(shown: &[Shown]) -> String {
    match shown {
        [_] => to_json(shown),
        all => {
            let mut out =
                "{\n  \"kind\": \"List\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {},\n  \"items\": "
                    .to_owned();
            write_array(&mut out, all.len(), 1, |out, at| all[at].write_json(out, 2));
            out + "\n}\n"
        }
    }
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
            Format::Yaml => print!("{}", to_yaml(shown)),
            Format::Json => print!("{}", to_json(shown)),
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
