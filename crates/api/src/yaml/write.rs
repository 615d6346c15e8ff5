//! Writes JSON values as YAML, byte for byte as `calicoctl -o yaml`.
//!
//! Keys are sorted as Go's YAML library sorts them, lists stand at their key's own column, long
//! texts aren't folded, and a text is quoted if it could be read as something else.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::{Number, Value};

use super::scalar::{self, Scalar};

/// The value as one YAML document, without `---`, with a newline at its end.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write_at(&mut out, value, 0);
    out
}

/// The same as part of something larger: the writer stands in this column.
pub fn write_at(out: &mut String, value: &Value, column: usize) {
    match value {
        Value::Array(items) if !items.is_empty() => list(out, items, column),
        Value::Object(object) if !object.is_empty() => map(out, object, column),
        other => {
            scalar_or_empty(out, other, column);
            out.push('\n');
        }
    }
}

fn indent(out: &mut String, columns: usize) {
    out.extend(std::iter::repeat_n(' ', columns));
}

/// Writes the entries; the first stands where the writer already is.
fn map(out: &mut String, object: &serde_json::Map<String, Value>, column: usize) {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by(|(left, _), (right, _)| natural(left, right));
    for (at, (key, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            indent(out, column);
        }
        text(out, key, Place::Key, column);
        out.push(':');
        match value {
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                indent(out, column);
                list(out, items, column);
            }
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                indent(out, column + 2);
                map(out, inner, column + 2);
            }
            other => {
                out.push(' ');
                scalar_or_empty(out, other, column + 2);
                out.push('\n');
            }
        }
    }
}

fn list(out: &mut String, items: &[Value], column: usize) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            indent(out, column);
        }
        out.push_str("- ");
        write_at(out, item, column + 2);
    }
}

fn scalar_or_empty(out: &mut String, value: &Value, column: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => out.push_str(&number(value)),
        Value::String(value) => text(out, value, Place::Value, column),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// Whole numbers without a fraction, however they were stored.
fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            if float.fract() == 0.0 && float.abs() < 1e18 {
                format!("{float:.0}")
            } else {
                scalar::go_float(float)
            }
        }
        _ => number.to_string(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Key,
    Value,
}

/// Plain where it stays a text; else a block if it has lines, else quoted.
fn text(out: &mut String, value: &str, place: Place, column: usize) {
    let stays_text = scalar::resolve(value) == Scalar::Text && !scalar::looks_base_60(value);
    let traits = Traits::of(value);
    if value.contains('\n') {
        if place == Place::Value && traits.block {
            block(out, value, column);
        } else {
            double_quoted(out, value);
        }
    } else if !stays_text {
        double_quoted(out, value);
    } else if traits.plain {
        out.push_str(value);
    } else if traits.single_quoted {
        let _ = write!(out, "'{}'", value.replace('\'', "''"));
    } else {
        double_quoted(out, value);
    }
}

/// The styles that a text can be written in without losing anything.
struct Traits {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Traits {
    fn of(value: &str) -> Self {
        let characters: Vec<char> = value.chars().collect();
        let is_break =
            |character: char| matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let blank_at = |at: usize| {
            characters.get(at).is_none_or(|character| matches!(character, ' ' | '\t') || is_break(*character))
        };
        let mut indicators = value.starts_with("---") || value.starts_with("...");
        let (mut special, mut breaks, mut break_space, mut space_break) = (false, false, false, false);
        for (at, character) in characters.iter().copied().enumerate() {
            indicators |= match character {
                '#' if at > 0 => blank_at(at - 1),
                ':' => blank_at(at + 1),
                '?' | '-' if at == 0 => blank_at(1),
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`' => at == 0,
                _ => false,
            };
            special |= !printable(character);
            breaks |= is_break(character);
            if at > 0 {
                break_space |= character == ' ' && is_break(characters[at - 1]);
                space_break |= is_break(character) && characters[at - 1] == ' ';
            }
        }
        let edge = |character: Option<&char>| {
            character.is_some_and(|character| *character == ' ' || is_break(*character))
        };
        let edges = edge(characters.first()) || edge(characters.last());
        let hard = space_break || special;
        Self {
            plain: !(indicators || breaks || edges || break_space || hard),
            single_quoted: !(break_space || hard),
            block: !(hard || characters.last() == Some(&' ')),
        }
    }
}

fn printable(character: char) -> bool {
    matches!(character,
        '\n' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

fn block(out: &mut String, value: &str, column: usize) {
    out.push('|');
    if value.starts_with([' ', '\n']) {
        out.push('2');
    }
    let body = match value.strip_suffix('\n') {
        None => {
            out.push('-');
            value
        }
        Some(body) => {
            if body.is_empty() || body.ends_with('\n') {
                out.push('+');
            }
            body
        }
    };
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, column);
            out.push_str(line);
        }
    }
}

fn double_quoted(out: &mut String, value: &str) {
    out.push('"');
    for character in value.chars() {
        let escape = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            '\u{85}' => "\\N",
            '\u{a0}' => "\\_",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            other if printable(other) => {
                out.push(other);
                continue;
            }
            other => {
                let code = u32::from(other);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02X}"),
                    0x100..=0xffff => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
                continue;
            }
        };
        out.push_str(escape);
    }
    out.push('"');
}

/// The order of keys: letters by code, runs of digits by value, a letter after anything else but
/// before it where digits went before.
fn natural(left: &str, right: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let Some(at) = left.iter().zip(&right).position(|(left, right)| left != right) else {
        return left.len().cmp(&right.len());
    };
    let after_digits = at > 0 && left[at - 1].is_numeric();
    let (here, there) = (left[at], right[at]);
    match (here.is_alphabetic(), there.is_alphabetic()) {
        (true, true) => return here.cmp(&there),
        (true, false) => return if after_digits { Ordering::Less } else { Ordering::Greater },
        (false, true) => return if after_digits { Ordering::Greater } else { Ordering::Less },
        (false, false) => {}
    }
    let run = |text: &[char]| text[at..].iter().take_while(|digit| digit.is_ascii_digit()).count();
    let nonzero_before = (here == '0' || there == '0')
        && left[..at].iter().rev().take_while(|digit| digit.is_ascii_digit()).any(|digit| *digit != '0');
    let value = |text: &[char]| {
        text[at..at + run(text)].iter().fold(u128::from(nonzero_before), |value, digit| {
            value.saturating_mul(10).saturating_add(u128::from(digit.to_digit(10).unwrap_or_default()))
        })
    };
    value(&left).cmp(&value(&right)).then(run(&left).cmp(&run(&right))).then(here.cmp(&there))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_written_in_the_style_of_calicoctl() {
        let object = json!({
            "kind": "X", "apiVersion": "v3",
            "spec": {"order": 100.0, "nets": ["10.0.0.0/8", "fd00::/8"], "empty": {}, "none": [],
                "rules": [{"b": 1, "a": [["x", "y"], []]}, {}], "half": 10.5, "nothing": null},
        });
        assert_eq!(
            to_string(&object),
            "apiVersion: v3\nkind: X\nspec:\n  empty: {}\n  half: 10.5\n  nets:\n  - 10.0.0.0/8\n  - fd00::/8\n  \
             none: []\n  nothing: null\n  order: 100\n  rules:\n  - a:\n    - - x\n      - \"y\"\n    - []\n    b: 1\n  - {}\n"
        );
    }

    #[test]
    fn texts_that_look_like_another_type_or_like_syntax_are_quoted() {
        for (value, want) in [
            ("plain", "plain"),
            ("a: b", "'a: b'"),
            ("a:b", "a:b"),
            ("app == 'web'", "app == 'web'"),
            ("'x' == y", "'''x'' == y'"),
            ("has(a) && !has(b)", "has(a) && !has(b)"),
            ("!has(b)", "'!has(b)'"),
            ("a #b", "'a #b'"),
            ("- a", "'- a'"),
            ("-a", "-a"),
            ("*", "'*'"),
            ("true", "\"true\""),
            ("no", "\"no\""),
            ("", "\"\""),
            ("12", "\"12\""),
            ("1.2", "\"1.2\""),
            ("1:30", "\"1:30\""),
            ("8080:8090", "8080:8090"),
            ("2026-11-23T00:28:07Z", "\"2026-11-23T00:28:07Z\""),
            (" a", "' a'"),
            ("a\tb", "\"a\\tb\""),
            ("ü", "ü"),
            ("a:", "'a:'"),
        ] {
            assert_eq!(to_string(&json!(value)), format!("{want}\n"), "{value:?}");
        }
    }

    #[test]
    fn several_lines_are_a_block() {
        for (value, want) in [
            ("a\nb\n", "k: |\n  a\n  b\n"),
            ("a\nb", "k: |-\n  a\n  b\n"),
            ("a\n\n", "k: |+\n  a\n\n"),
            (" a\nb\n", "k: |2\n   a\n  b\n"),
            ("a \nb", "k: \"a \\nb\"\n"),
        ] {
            assert_eq!(to_string(&json!({ "k": value })), want, "{value:?}");
        }
    }

    #[test]
    fn keys_are_sorted_with_their_numbers_by_value() {
        let mut keys = ["a10", "a2", "b", "a", "A", "a-1", "a/b", "a02"];
        keys.sort_by(|left, right| natural(left, right));
        assert_eq!(keys, ["A", "a", "a-1", "a/b", "a2", "a02", "a10", "b"]);
    }
}
