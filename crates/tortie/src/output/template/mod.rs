//! `-o go-template=` and `go-template-file=`: objects as Go's templates see them, under the names of Calico's Go fields.
//!
//! Dot is the list of what was asked for: `{{range .}}{{.ObjectMeta.Name}}{{end}}` for names,
//! `{{range .}}{{range .Items}}{{.Name}}{{end}}{{end}}` for a list. What a field's type holds when nothing is set (an empty
//! text, list or map, 0, false; of a pointer `<nil>`) stands where nothing is set; a field that doesn't exist is an error.

mod fields;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use gotmpl::{Template, TemplateError, Value as Go};
use serde_json::Value;
use tortie_api::kind::Kind;
use tortie_api::registry;
use tortie_api::schema::{Field, Shape};
use tortie_store::resources::Client;

use self::fields::Rewriter;
use super::{Shown, columns};

/// The text that a template makes of what was found.
///
/// # Errors
/// What is wrong with the template, as Go says it.
pub fn write(client: &Client, template: &str, shown: &[Shown]) -> Result<String, String> {
    is_closed(template)?;
    let text = template;
    let as_number = columns::cluster_as_number(client);
    let template = Template::new(NAME)
        .func("join", |arguments| {
            let [items, separator] = arguments else { return Err(count("join", 2, arguments.len())) };
            Ok(Go::String(join(items, &separator.to_string(), 0).into()))
        })
        .func("joinAndTruncate", |arguments| {
            let [items, separator, most] = arguments else {
                return Err(count("joinAndTruncate", 3, arguments.len()));
            };
            let most = most.as_int().and_then(|most| usize::try_from(most).ok()).unwrap_or(0);
            Ok(Go::String(join(items, &separator.to_string(), most).into()))
        })
        .func("config", move |arguments| match arguments {
            [Go::String(name)] if name.eq_ignore_ascii_case("asnumber") => {
                Ok(Go::String(as_number.clone().into()))
            }
            _ => Err(TemplateError::Exec("unhandled config type".to_owned())),
        })
        .parse(template)
        .map_err(as_go_says)?;
    let mut rewriter = Rewriter::new(text);
    let names: Vec<String> = template.templates().into_iter().map(str::to_owned).collect();
    let mut trees = Vec::new();
    for name in names {
        if let Some(mut tree) = template.lookup(&name).cloned() {
            rewriter.template(&name, &mut tree);
            trees.push((name, tree));
        }
    }
    if let Some(message) = rewriter.undefined {
        return Err(message);
    }
    let accesses = Arc::new(rewriter.accesses);
    let access = move |arguments: &[Go]| {
        let [value, number] = arguments else { return Err(count("field", 2, arguments.len())) };
        let access = number.as_int().and_then(|number| accesses.get(usize::try_from(number).ok()?));
        access.map_or(Ok(Go::Nil), |access| access.of(value))
    };
    let shown_access = access.clone();
    let template = template
        .func(fields::GET, move |arguments| access(arguments).map(fields::plain))
        .func(fields::SHOW, move |arguments| Ok(Go::String(fields::show(&shown_access(arguments)?).into())));
    let template =
        trees.into_iter().fold(template, |template, (name, tree)| template.add_parse_tree(&name, tree));
    let data = Go::List(shown.iter().map(of_shown).collect());
    match template.lookup(NAME) {
        Some(_) => template.execute_template_to_string(NAME, &data).map_err(as_go_says),
        None => Ok(String::new()),
    }
}

/// The template's name, in messages.
const NAME: &str = "get";

fn as_go_says(error: TemplateError) -> String {
    match error {
        TemplateError::Exec(message) => message,
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!("template: {NAME}:{line}: {message}")
        }
        other => other.to_string(),
    }
}

/// Whether each block has its end, which the engine doesn't ask for.
fn is_closed(template: &str) -> Result<(), String> {
    let mut open = 0_usize;
    for action in template.split("{{").skip(1) {
        let action = action.strip_prefix("- ").unwrap_or(action).trim_start();
        let word = action.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
        match word {
            "if" | "range" | "with" | "define" | "block" => open += 1,
            "end" => open = open.saturating_sub(1),
            _ => {}
        }
    }
    if open == 0 {
        Ok(())
    } else {
        Err(format!("template: get:{}: unexpected EOF", template.lines().count()))
    }
}

fn count(name: &str, wanted: usize, found: usize) -> TemplateError {
    TemplateError::Exec(format!("wrong number of args for {name}: want {wanted} got {found}"))
}

/// All items, or those of a map as `key=value`, with a separator between; at most so many characters, if that isn't 0.
fn join(items: &Go, separator: &str, most: usize) -> String {
    let parts: Vec<String> = match items {
        Go::Nil => Vec::new(),
        Go::List(items) => items.iter().map(ToString::to_string).collect(),
        Go::Map(map) => map.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        other => vec![other.to_string()],
    };
    let joined = parts.join(separator);
    match joined.char_indices().nth(most) {
        Some(_) if most > 3 => joined.chars().take(most - 3).chain("...".chars()).collect(),
        _ => joined,
    }
}

fn of_shown(shown: &Shown) -> Go {
    let kind = shown.kind();
    let shape = registry::shape(kind);
    // The types of these kinds aren't part of the API.
    let package = match kind {
        Kind::Node | Kind::WorkloadEndpoint | Kind::LiveMigration => "internalapi",
        _ => "v3",
    };
    match shown {
        Shown::Object { object, .. } => of(object, shape, package, Some(ANY_OBJECT)),
        Shown::List { revision, items, .. } => {
            let type_meta =
                [("Kind", text(&format!("{}List", kind.name()))), ("APIVersion", text(kind.api().version()))];
            let list_meta = [("ResourceVersion", text(&revision.to_string())), ("Continue", text(""))];
            let items = items.iter().map(|item| of(&item.value(), shape, package, None)).collect();
            let fields = [
                ("TypeMeta", structure("v1.TypeMeta", type_meta)),
                ("ListMeta", structure("v1.ListMeta", list_meta)),
                ("Items", Go::List(items)),
            ];
            promoted(ANY_OBJECT, fields.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
        }
    }
}

/// What Go calls the type of each thing that was found.
const ANY_OBJECT: &str = "runtime.Object";

fn text(text: &str) -> Go {
    Go::String(text.into())
}

fn structure<const N: usize>(type_name: &str, entries: [(&str, Go); N]) -> Go {
    fields::structure(type_name, entries.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
}

/// A struct, with the fields of what is embedded in it beside its own.
fn promoted(type_name: &str, mut fields: BTreeMap<Arc<str>, Go>) -> Go {
    for name in ["TypeMeta", "ObjectMeta", "ListMeta"] {
        if let Some(Go::Map(embedded)) = fields.get(name).cloned() {
            for (name, value) in embedded.iter() {
                fields.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    fields::structure(type_name, fields)
}

/// `value` as Go has it, in a type of `package`; what stands in place of the type's own name is `static_type`.
fn of(value: &Value, shape: &Shape, package: &str, static_type: Option<&str>) -> Go {
    match (value, shape) {
        (Value::Object(object), Shape::Struct(known)) => {
            let mut fields = BTreeMap::new();
            for field in known.fields {
                let value = match object.get(field.name) {
                    Some(value) => of(value, field.shape, package, None),
                    None if field.pointer => fields::unset(&format!("*{}", type_name(field.shape, package))),
                    None => zero(field, package),
                };
                fields.insert(Arc::from(go_name(field.name)), value);
            }
            if fields.contains_key("ObjectMeta") {
                let word = |name: &str| text(object.get(name).and_then(Value::as_str).unwrap_or_default());
                let type_meta = [("Kind", word("kind")), ("APIVersion", word("apiVersion"))];
                fields.insert(Arc::from("TypeMeta"), structure("v1.TypeMeta", type_meta));
            }
            promoted(static_type.unwrap_or(&type_name(shape, package)), fields)
        }
        (Value::Object(object), _) => {
            let inner = if let Shape::Map(inner) = shape { inner } else { &Shape::Any };
            let entries =
                object.iter().map(|(key, value)| (Arc::from(key.as_str()), of(value, inner, package, None)));
            Go::Map(Arc::new(entries.collect()))
        }
        (Value::Array(items), _) => {
            let inner = if let Shape::List(inner) = shape { inner } else { &Shape::Any };
            Go::List(items.iter().map(|item| of(item, inner, package, None)).collect())
        }
        (Value::Null, _) => Go::Nil,
        (Value::Bool(bool), _) => Go::Bool(*bool),
        (Value::String(string), _) => text(string),
        (Value::Number(number), Shape::Float) => {
            let number = number.as_f64().unwrap_or_default();
            let printed = columns::print_float(number);
            // The engine prints large numbers without an exponent, unlike Go.
            if printed.contains('e') { text(&printed) } else { Go::Float(number) }
        }
        (Value::Number(number), _) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Go::Int(number),
            (None, Some(number)) => Go::Uint(number),
            (None, None) => Go::Float(number.as_f64().unwrap_or_default()),
        },
    }
}

/// Go's name of a type.
fn type_name(shape: &Shape, package: &str) -> String {
    match shape {
        Shape::Struct(known) if known.go_name == "ObjectMeta" => "v1.ObjectMeta".to_owned(),
        Shape::Struct(known) => format!("{package}.{}", known.go_name),
        Shape::Bool => "bool".to_owned(),
        Shape::Int { .. } => "int".to_owned(),
        Shape::Float => "float64".to_owned(),
        Shape::Custom { go_name, .. } => (*go_name).to_owned(),
        Shape::String | Shape::Any | Shape::List(_) | Shape::Map(_) => "string".to_owned(),
    }
}

/// What Go has where nothing is set.
fn zero(field: &Field, package: &str) -> Go {
    match field.shape {
        Shape::String | Shape::Custom { .. } => text(""),
        Shape::Bool => Go::Bool(false),
        Shape::Int { .. } | Shape::Float => Go::Int(0),
        Shape::List(_) => Go::List(Arc::new([])),
        Shape::Map(_) => Go::Map(Arc::new(BTreeMap::new())),
        Shape::Struct(_) => of(&Value::Object(serde_json::Map::new()), field.shape, package, None),
        Shape::Any => Go::Nil,
    }
}

/// The name of a field in Go, by its name in JSON: initials are in capitals.
fn go_name(json: &str) -> String {
    const INITIALS: [&str; 17] = [
        "ipip", "cidr", "vxlan", "nat", "asn", "as", "mac", "icmp", "http", "bgp", "uid", "bpf", "ipam",
        "dns", "api", "mtu", "ttl",
    ];
    match json {
        "metadata" => return "ObjectMeta".to_owned(),
        "kind" => return "Kind".to_owned(),
        "cidrs" => return "CIDRs".to_owned(),
        _ => {}
    }
    let end = json.find(|letter: char| !letter.is_ascii_lowercase()).unwrap_or(json.len());
    let (first, rest) = json.split_at(end);
    let mut name = String::with_capacity(json.len());
    let written = if INITIALS.contains(&first) {
        write!(name, "{}{rest}", first.to_uppercase())
    } else if let Some(tail) = first.strip_prefix("ip").filter(|tail| matches!(*tail, "" | "v")) {
        write!(name, "IP{tail}{rest}")
    } else {
        let mut letters = first.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        write!(name, "{}{}{rest}", capital.unwrap_or_default(), letters.as_str())
    };
    written.expect("a String takes any text");
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_have_the_names_that_they_have_in_go() {
        for (json, go) in [
            ("metadata", "ObjectMeta"),
            ("name", "Name"),
            ("uid", "UID"),
            ("cidr", "CIDR"),
            ("ipipMode", "IPIPMode"),
            ("vxlanMode", "VXLANMode"),
            ("natOutgoing", "NATOutgoing"),
            ("asNumber", "ASNumber"),
            ("peerIP", "PeerIP"),
            ("ipNetworks", "IPNetworks"),
            ("ipv4Address", "IPv4Address"),
            ("assignmentMode", "AssignmentMode"),
            ("interfaceName", "InterfaceName"),
            ("bpfEnabled", "BPFEnabled"),
        ] {
            assert_eq!(go_name(json), go);
        }
    }

    #[test]
    fn what_is_not_set_is_what_go_has_there() {
        let tier = json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"order": 100.0}});
        let Go::Map(fields) = of(&tier, registry::shape(Kind::Tier), "v3", None) else {
            unreachable!("an object is a map")
        };
        assert_eq!(fields["Name"].to_string(), "a");
        assert_eq!(fields["Labels"].to_string(), "map[x:1]");
        assert_eq!(fields["Annotations"].to_string(), "map[]");
        let list = Go::List(vec![text("10.0.0.0/8"), text("11.0.0.0/8")].into());
        assert_eq!(join(&list, ",", 0), "10.0.0.0/8,11.0.0.0/8");
        assert_eq!(join(&list, ",", 12), "10.0.0.0/...");
    }
}
