//! `-o go-template=` and `go-template-file=`: objects as Go's templates see them, under the names of Calico's Go fields.
//!
//! Dot is the list of what was asked for: `{{range .}}{{.ObjectMeta.Name}}{{end}}` for names,
//! `{{range .}}{{range .Items}}{{.Name}}{{end}}{{end}}` for a list. What a field's type holds when nothing is set (an empty
//! text, list or map, 0, false) stands where nothing is set; of an order, a number with a fraction, that is `<nil>`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use gotmpl::{Template, TemplateError, Value as Go};
use serde_json::Value;
use tortie_api::registry;
use tortie_api::schema::Shape;
use tortie_store::resources::Client;

use super::{Shown, columns};

/// The text that a template makes of what was found.
///
/// # Errors
/// What is wrong with the template, as Go says it.
pub fn write(client: &Client, template: &str, shown: &[Shown]) -> Result<String, String> {
    is_closed(template)?;
    let as_number = columns::cluster_as_number(client);
    let template = Template::new("get")
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
        .map_err(|error| error.to_string())?;
    let data = Go::List(shown.iter().map(of_shown).collect());
    template.execute_to_string(&data).map_err(|error| error.to_string())
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
    let shape = registry::shape(shown.kind());
    match shown {
        Shown::Object { object, .. } => of(object, shape),
        Shown::List { kind, revision, items } => {
            let type_meta = map([
                ("Kind", text(&format!("{}List", kind.name()))),
                ("APIVersion", text(kind.api().version())),
            ]);
            let list_meta = map([("ResourceVersion", text(&revision.to_string()))]);
            map([
                ("TypeMeta", type_meta),
                ("ListMeta", list_meta),
                ("Items", Go::List(items.iter().map(|item| of(item, shape)).collect())),
            ])
        }
    }
}

fn text(text: &str) -> Go {
    Go::String(text.into())
}

fn map<const N: usize>(entries: [(&str, Go); N]) -> Go {
    promoted(entries.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
}

/// A struct, with the fields of what is embedded in it beside its own.
fn promoted(mut fields: BTreeMap<Arc<str>, Go>) -> Go {
    for name in ["TypeMeta", "ObjectMeta", "ListMeta"] {
        if let Some(Go::Map(embedded)) = fields.get(name).cloned() {
            for (name, value) in embedded.iter() {
                fields.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    Go::Map(Arc::new(fields))
}

fn of(value: &Value, shape: &Shape) -> Go {
    match (value, shape) {
        (Value::Object(object), Shape::Struct(known)) => {
            let mut fields = BTreeMap::new();
            for field in known.fields {
                let value =
                    object.get(field.name).map_or_else(|| zero(field.shape), |value| of(value, field.shape));
                fields.insert(Arc::from(go_name(field.name)), value);
            }
            if fields.contains_key("ObjectMeta") {
                let word = |name: &str| text(object.get(name).and_then(Value::as_str).unwrap_or_default());
                let type_meta = map([("Kind", word("kind")), ("APIVersion", word("apiVersion"))]);
                fields.insert(Arc::from("TypeMeta"), type_meta);
            }
            promoted(fields)
        }
        (Value::Object(object), _) => {
            let inner = if let Shape::Map(inner) = shape { inner } else { &Shape::Any };
            let entries = object.iter().map(|(key, value)| (Arc::from(key.as_str()), of(value, inner)));
            Go::Map(Arc::new(entries.collect()))
        }
        (Value::Array(items), _) => {
            let inner = if let Shape::List(inner) = shape { inner } else { &Shape::Any };
            Go::List(items.iter().map(|item| of(item, inner)).collect())
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

/// What Go has where nothing is set.
fn zero(shape: &Shape) -> Go {
    match shape {
        Shape::String | Shape::Custom { .. } => text(""),
        Shape::Bool => Go::Bool(false),
        Shape::Int { .. } => Go::Int(0),
        Shape::Float => text("<nil>"),
        Shape::List(_) => Go::List(Arc::new([])),
        Shape::Map(_) => Go::Map(Arc::new(BTreeMap::new())),
        Shape::Any | Shape::Struct(_) => Go::Nil,
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
    use tortie_api::kind::Kind;

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
        let Go::Map(fields) = of(&tier, registry::shape(Kind::Tier)) else {
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
