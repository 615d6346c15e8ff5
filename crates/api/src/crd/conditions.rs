//! The conditions on one field in the words of a schema.
//!
//! What a schema can't say (whether a selector or a regular expression can be read) isn't there: the agent finds it, and
//! then fails closed.

use serde_json::{Value, json};

use crate::validate::check::Check;

/// A number from 1 to 65535.
macro_rules! port {
    () => {
        "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|0*[1-9][0-9]{0,3})"
    };
}

/// Adds the conditions on a value that is a number or a text, by its type's name in Go.
pub fn add_to_number_or_text(schema: &mut Value, go_name: &str) {
    let (most, pattern) = match go_name {
        "Protocol" => (255, "^(?i)(tcp|udp|icmp|icmpv6|sctp|udplite|[0-9]{1,3})$"),
        "Port" => (65_535, concat!("^(", port!(), ":", port!(), "|[a-zA-Z0-9_.-]{1,128})$")),
        _ => return,
    };
    schema["minimum"] = json!(1);
    schema["maximum"] = json!(most);
    schema["pattern"] = json!(pattern);
}

/// Adds conditions to the schema of a field.
pub fn add(schema: &mut Value, checks: &[Check]) {
    // A network with its length is an address or a network, too.
    let is_cidr = checks.iter().any(|check| matches!(check, Check::Cidr));
    for check in checks {
        match *check {
            Check::OneOf(known) => schema["enum"] = json!(known),
            Check::OneOfNumbers(known) => schema["enum"] = json!(known),
            Check::Pattern(pattern) => schema["pattern"] = json!(pattern),
            Check::Length(most) => at_most(schema, "maxLength", most),
            Check::Items(most) => at_most(schema, "maxItems", most),
            Check::Range(least, most) | Check::Bounds(least, most) => {
                schema["minimum"] = json!(least);
                if most != i64::MAX {
                    schema["maximum"] = json!(most);
                }
            }
            Check::Int32 => schema["format"] = json!("int32"),
            Check::Cidr => schema["format"] = json!("cidr"),
            Check::Required => {
                let name = if schema["type"] == "array" { "minItems" } else { "minLength" };
                schema[name] = json!(1);
            }
            Check::Tag("net", ..) if is_cidr => {}
            Check::Tag(tag, ..) => {
                for condition in tagged(tag) {
                    match condition {
                        Condition::Pattern(pattern) => schema["pattern"] = json!(pattern),
                        Condition::Length(most) => at_most(schema, "maxLength", most),
                        Condition::Any(all) => schema["anyOf"] = any(all),
                    }
                }
            }
            Check::Each(checks) => add(&mut schema["items"], checks),
        }
    }
}

fn at_most(schema: &mut Value, name: &str, most: usize) {
    let said = schema[name].as_u64().and_then(|said| usize::try_from(said).ok());
    schema[name] = json!(said.map_or(most, |said| said.min(most)));
}

enum Condition {
    Pattern(&'static str),
    Length(usize),
    /// One of these formats and patterns, or nothing.
    Any(&'static [(&'static str, &'static str)]),
}

/// Any of these, or an empty text, which Calico takes for none.
fn any(all: &[(&str, &str)]) -> Value {
    let one = |(format, pattern): &(&str, &str)| match (*format, *pattern) {
        ("", pattern) => json!({"pattern": pattern}),
        (format, "") => json!({"format": format}),
        (format, pattern) => json!({"format": format, "pattern": pattern}),
    };
    std::iter::once(json!({"maxLength": 0})).chain(all.iter().map(one)).collect()
}

/// The tags of Calico's validator. Those that aren't here can't be said.
fn tagged(tag: &str) -> Vec<Condition> {
    use Condition::{Any, Length, Pattern};
    match tag {
        "net" | "cidr" | "cidrs" => vec![Any(&[("cidr", ""), ("ipv4", ""), ("ipv6", "")])],
        "netv4" | "cidrv4" => vec![Any(&[("cidr", r"^[0-9.]+/[0-9]+$"), ("ipv4", "")])],
        "netv6" | "cidrv6" => vec![Any(&[("cidr", ":"), ("ipv6", "")])],
        "ip" | "reachableBy" => vec![Any(&[("ipv4", ""), ("ipv6", "")])],
        "ipv4" => vec![Any(&[("ipv4", "")])],
        "ipv6" => vec![Any(&[("ipv6", "")])],
        "IP:port" => vec![Any(&[
            ("ipv4", ""),
            ("ipv6", ""),
            ("", concat!("^[0-9.]+:", port!(), "$")),
            ("", concat!(r"^\[[0-9a-fA-F:.]+\]:", port!(), "$")),
        ])],
        "name" => vec![
            Length(253),
            Pattern(r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"),
        ],
        "portName" => vec![Length(128), Pattern("^[a-zA-Z0-9_.-]*$")],
        "interface" => vec![Length(15), Pattern(r"^(\*|[a-zA-Z0-9_.-]*)$")],
        "ignoredInterfaces" | "bgpFilterInterface" => vec![Length(15), Pattern("^[a-zA-Z0-9_.*-]*$")],
        "ifaceFilter" => vec![Length(15), Pattern(r"^[a-zA-Z0-9:._-]*\+?$")],
        "host" | "prometheusHost" => vec![Length(64), Pattern("^[a-zA-Z0-9:._+-]*$")],
        _ => vec![],
    }
}
