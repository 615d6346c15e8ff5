//! JSON as Go writes it: fields in the order of the type, `<`, `>` and `&` escaped.
//!
//! Stored values and `-o json` come out as Calico's do, so that people can compare them and tools that hash them agree.
//! Fields that the type doesn't know come last, sorted. Next hop: the datastore, or standard output.

use serde_json::Value;
use tortie_api::kind::Kind;
use tortie_api::registry;
use tortie_api::schema::{Shape, Struct};

/// An object of `kind` on one line.
pub fn to_bytes(kind: Kind, object: &Value) -> Vec<u8> {
    let mut out = String::with_capacity(512);
    write(&mut out, object, Some(registry::shape(kind)), None);
    out.into_bytes()
}

/// An object of `kind` on many lines, indented by two spaces, without a newline at the end.
pub fn to_pretty(kind: Kind, object: &Value) -> String {
    let mut out = String::new();
    write(&mut out, object, Some(registry::shape(kind)), Some(0));
    out
}

/// Write any JSON: on one line, or indented when `depth` says how deep it stands already.
pub fn write(out: &mut String, value: &Value, shape: Option<&Shape>, depth: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            let shape = match shape {
                Some(Shape::List(shape)) => Some(*shape),
                _ => None,
            };
            block(out, depth, ('[', ']'), items, |out, item, depth| write(out, item, shape, depth));
        }
        Value::Object(map) => {
            let entries: Vec<(&String, &Value, Option<&Shape>)> = match shape {
                Some(Shape::Struct(Struct { fields, .. })) => {
                    let known = fields.iter().filter_map(|field| {
                        map.get_key_value(field.name).map(|(k, v)| (k, v, Some(field.shape)))
                    });
                    let unknown = map
                        .iter()
                        .filter(|(key, _)| !fields.iter().any(|field| field.name == key.as_str()))
                        .map(|(key, value)| (key, value, None));
                    known.chain(unknown).collect()
                }
                Some(Shape::Map(shape)) => {
                    map.iter().map(|(key, value)| (key, value, Some(*shape))).collect()
                }
                _ => map.iter().map(|(key, value)| (key, value, None)).collect(),
            };
            block(out, depth, ('{', '}'), &entries, |out, (key, value, shape), depth| {
                write_string(out, key);
                out.push_str(if depth.is_some() { ": " } else { ":" });
                write(out, value, *shape, depth);
            });
        }
    }
}

/// A list or map: brackets, commas and the space between.
fn block<T>(
    out: &mut String,
    depth: Option<usize>,
    (open, close): (char, char),
    items: &[T],
    mut item: impl FnMut(&mut String, &T, Option<usize>),
) {
    let inner = depth.map(|depth| depth + 1);
    let line = |out: &mut String, depth: Option<usize>| {
        if let Some(depth) = depth {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
    };
    out.push(open);
    for (index, one) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(out, inner);
        item(out, one, inner);
    }
    if !items.is_empty() {
        line(out, depth);
    }
    out.push(close);
}

/// Go writes whole floats without a fraction, and very large or small ones with an exponent.
fn write_number(out: &mut String, number: &serde_json::Number) {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            let magnitude = float.abs();
            if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
                let text = format!("{float:e}");
                match text.split_once('e') {
                    Some((mantissa, exponent)) if !exponent.starts_with('-') => {
                        out.push_str(&format!("{mantissa}e+{exponent:0>2}"));
                    }
                    _ => out.push_str(&text),
                }
            } else {
                out.push_str(&format!("{float}"));
            }
        }
        _ => out.push_str(&number.to_string()),
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_come_in_the_order_of_the_type_and_unknown_ones_last() {
        let tier = json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "status": {}, "extra": 1,
            "metadata": {"uid": "u", "name": "sec", "labels": {"b": "1", "a": "2"}},
            "spec": {"order": 10.5, "defaultAction": "Pass", "new": [1, {}]}});
        assert_eq!(
            String::from_utf8(to_bytes(Kind::Tier, &tier)).expect("UTF-8"),
            r#"{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"sec","uid":"u","labels":{"a":"2","b":"1"}},"spec":{"order":10.5,"defaultAction":"Pass","new":[1,{}]},"status":{},"extra":1}"#
        );
    }

    #[test]
    fn numbers_and_texts_are_written_as_go_does() {
        let value = json!([
            1000.0,
            0.5,
            1e21,
            1e-7,
            -2.0,
            18446744073709551615u64,
            "a && b < 'c' \"\n\u{1}\u{2028}é"
        ]);
        let mut out = String::new();
        write(&mut out, &value, None, None);
        assert_eq!(
            out,
            r#"[1000,0.5,1e+21,1e-7,-2,18446744073709551615,"a \u0026\u0026 b \u003c 'c' \"\n\u0001\u2028é"]"#
        );
    }

    #[test]
    fn indented_json_has_go_s_layout() {
        let tier = json!({"kind": "Tier", "metadata": {"name": "a"}, "spec": {}, "x": [1, 2], "y": []});
        assert_eq!(
            to_pretty(Kind::Tier, &tier),
            "{\n  \"kind\": \"Tier\",\n  \"metadata\": {\n    \"name\": \"a\"\n  },\n  \"spec\": {},\n  \"x\": [\n    1,\n    2\n  ],\n  \"y\": []\n}"
        );
    }
}
