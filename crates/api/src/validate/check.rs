//! What one field may hold, and what Calico says of a value that it may not.

use std::net::IpAddr;

use ipnet::IpNet;
use regex_lite::Regex;
use serde_json::Value;

use crate::fault::Fault;

/// A condition on one field.
#[derive(Clone, Copy)]
pub enum Check {
    /// One of these texts (the schema's `enum`).
    OneOf(&'static [&'static str]),
    /// One of these numbers.
    OneOfNumbers(&'static [i64]),
    /// A text that a regular expression matches.
    Pattern(&'static str),
    /// A text of at most so many characters.
    Length(usize),
    /// A list of at most so many items.
    Items(usize),
    /// A whole number within both.
    Range(i64, i64),
    /// A number that fits into 31 bits: the schema says `int32` of what Calico takes as unsigned.
    Int32,
    /// A CIDR with its prefix length (the schema's `format: cidr`).
    Cidr,
    /// Something other than nothing.
    Required,
    /// A text that obeys a rule of Calico's validator, by its tag.
    Tag(&'static str, fn(&str) -> bool, &'static str),
    /// As [`Check::Range`], by Calico's validator.
    Bounds(i64, i64),
    /// The same for each item of a list.
    Each(&'static [Check]),
}

impl Check {
    /// Whether Calico's validator doesn't ask for it, only the schemas do.
    pub const fn only_in_schemas(self) -> bool {
        match self {
            Self::Pattern(_)
            | Self::Length(_)
            | Self::Items(_)
            | Self::Range(..)
            | Self::Int32
            | Self::Cidr => true,
            Self::OneOf(_)
            | Self::OneOfNumbers(_)
            | Self::Required
            | Self::Tag(..)
            | Self::Bounds(..)
            | Self::Each(_) => false,
        }
    }

    /// Adds what is wrong with a value. `path` is the field's own, `field` its name in the JSON.
    pub fn run(self, value: &Value, path: &str, field: &str, faults: &mut Vec<Fault>) {
        if let Self::Each(checks) = self {
            for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                for check in checks {
                    check.run(item, &format!("{path}[{at}]"), field, faults);
                }
            }
            return;
        }
        if let Some((reason, expected)) = self.refuses(value, path, field) {
            let named_by_go = matches!(self, Self::Tag(..) | Self::Bounds(..));
            let name = if named_by_go { go_field(field) } else { path.to_owned() };
            let message = format!("error with field {name} = '{}' ({reason})", plain(value));
            let found =
                Some(plain(value)).filter(|found| !found.is_empty()).unwrap_or_else(|| "nothing".to_owned());
            faults.push(Fault::new(path, message).found(found).expected(expected));
        }
    }

    /// The reason and the expectation, if the value isn't taken.
    fn refuses(self, value: &Value, path: &str, field: &str) -> Option<(String, String)> {
        let text = value.as_str();
        let number = value.as_i64();
        let items = value.as_array().map(Vec::len);
        match self {
            Self::OneOf(known) => {
                let quoted: Vec<_> = known.iter().map(|known| format!("{known:?}")).collect();
                let list = quoted.join(", ");
                (!known.contains(&text?))
                    .then(|| (format!("supported values: {list}"), format!("one of {list}")))
            }
            Self::OneOfNumbers(known) => {
                let list = known.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                (!known.contains(&number?))
                    .then(|| (format!("supported values: {list}"), format!("one of {list}")))
            }
            Self::Pattern(pattern) => {
                let matches = Regex::new(pattern).is_ok_and(|regex| regex.is_match(text.unwrap_or_default()));
                (text.is_some() && !matches).then(|| {
                    (
                        format!("{path} in body should match '{pattern}'"),
                        format!("a text that matches {pattern}"),
                    )
                })
            }
            Self::Length(most) => (text?.chars().count() > most).then(|| {
                (format!("Too long: may not be more than {most} bytes"), format!("at most {most} characters"))
            }),
            Self::Items(most) => (items? > most).then(|| {
                (
                    format!("Too many: {}: must have at most {most} items", items.unwrap_or_default()),
                    format!("at most {most} items"),
                )
            }),
            Self::Range(least, most) => match number? {
                number if number < least => Some((
                    format!("{path} in body should be greater than or equal to {least}"),
                    between(least, most),
                )),
                number if number > most => Some((
                    format!("{path} in body should be less than or equal to {most}"),
                    between(least, most),
                )),
                _ => None,
            },
            Self::Int32 => (number? > i64::from(i32::MAX)).then(|| {
                (
                    format!("{path} in body must be of type int32: \"{}\"", plain(value)),
                    between(0, i32::MAX.into()),
                )
            }),
            Self::Cidr => (text?.parse::<IpNet>().is_err()).then(|| {
                (
                    format!("{path} in body must be of type cidr: {:?}", text.unwrap_or_default()),
                    "an address with a prefix length".to_owned(),
                )
            }),
            Self::Required => {
                let empty = text == Some("") || items == Some(0) || value.is_null();
                empty.then(|| ("Required value".to_owned(), "a value".to_owned()))
            }
            Self::Tag(tag, holds, expected) => {
                (!text?.is_empty() && !holds(text?)).then(|| (tag_reason(field, tag), expected.to_owned()))
            }
            Self::Bounds(least, most) => match number? {
                number if number < least => Some((tag_reason(field, "gte"), between(least, most))),
                number if number > most => Some((tag_reason(field, "lte"), between(least, most))),
                _ => None,
            },
            Self::Each(_) => None,
        }
    }
}

fn between(least: i64, most: i64) -> String {
    if most == i64::MAX { format!("{least} or more") } else { format!("a number from {least} to {most}") }
}

/// The words of Calico's validator for a field that breaks its tag.
pub fn tag_reason(field: &str, tag: &str) -> String {
    format!("Reason: failed to validate Field: {} because of Tag: {tag} ", go_field(field))
}

/// A value as messages show it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A field's name in Go: `peerIP` is `PeerIP`, `cidr` is `CIDR`.
pub fn go_field(field: &str) -> String {
    for short in ["cidr", "mac", "bgp", "icmp", "http", "ip"] {
        if let Some(rest) = field.strip_prefix(short)
            && !rest.starts_with(|next: char| next.is_ascii_lowercase())
        {
            return format!("{}{rest}", short.to_uppercase());
        }
    }
    let mut characters = field.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// A DNS subdomain: lower case letters, digits, `-` and `.`, 253 characters at most.
pub fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label_of_any_length)
}

fn is_dns_label_of_any_length(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The name of a network interface, or `*`.
pub fn is_interface(text: &str) -> bool {
    text == "*"
        || (1..=15).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The name of a port.
pub fn is_port_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// An address.
pub fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An IPv4 address.
pub fn is_ipv4(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())
}

/// An IPv6 address.
pub fn is_ipv6(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6())
}

/// An address with or without a prefix length.
pub fn is_net(text: &str) -> bool {
    is_ip(text) || text.parse::<IpNet>().is_ok()
}

/// An IPv4 address with or without a prefix length.
pub fn is_net_v4(text: &str) -> bool {
    is_ipv4(text) || matches!(text.parse(), Ok(IpNet::V4(_)))
}

/// An IPv6 address with or without a prefix length.
pub fn is_net_v6(text: &str) -> bool {
    is_ipv6(text) || matches!(text.parse(), Ok(IpNet::V6(_)))
}

/// A MAC address: six pairs of hexadecimal digits.
pub fn is_mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let pairs: Vec<_> = text.split(separator).collect();
    pairs.len() == 6
        && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// An address, perhaps with a port: `10.0.0.1:179`, `[fd00::1]:179`.
pub fn is_ip_and_port(text: &str) -> bool {
    let is_port = |port: &str| {
        (1..=5).contains(&port.len())
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if let Some((address, port)) = text.strip_prefix('[').and_then(|text| text.rsplit_once("]:")) {
        return is_ipv6(address) && is_port(port);
    }
    is_ip(text) || text.split_once(':').is_some_and(|(address, port)| is_ipv4(address) && is_port(port))
}

/// A selector.
pub fn is_selector(text: &str) -> bool {
    crate::selector::Selector::parse(text).is_ok()
}

/// A regular expression.
pub fn is_regex(text: &str) -> bool {
    Regex::new(text).is_ok()
}

/// Interface names and regular expressions between slashes, separated by commas.
pub fn is_interface_list(text: &str) -> bool {
    text.split(',').all(|item| match item.strip_prefix('/').and_then(|item| item.strip_suffix('/')) {
        Some(regex) => is_regex(regex),
        None => is_interface_filter(item),
    })
}

/// The name of an interface; `+` at its end stands for anything.
pub fn is_interface_filter(text: &str) -> bool {
    let name = text.strip_suffix('+').unwrap_or(text);
    text.len() <= 15 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":._-".contains(&byte))
}

/// `host` names and addresses that a server may listen on.
pub fn is_host(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":._+-".contains(&byte))
}
