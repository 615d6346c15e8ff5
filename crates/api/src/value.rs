//! Values that Calico writes as a number or as a text: protocols, ports and AS numbers.
//!
//! Each keeps what the user said (`TCP` stays a name, `6` a number), because stored objects
//! are given back as they were written; [`Protocol::number`] says what is meant.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema::{Omit, Shape, Shaped, reread};

/// A value that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A port outside of 0 to 65535.
    #[error("invalid port {found:?}: expected a number from 0 to 65535, a range lo:hi or a name")]
    Port {
        /// What was found.
        found: String,
    },
    /// The range's first port, or a port, isn't a number from 0 to 65535.
    #[error("invalid minimum port number in range ({found})")]
    MinimumPort {
        /// The range as found.
        found: String,
    },
    /// The range's last port isn't a number from 0 to 65535.
    #[error("invalid maximum port number in range ({found})")]
    MaximumPort {
        /// The range as found.
        found: String,
    },
    /// A range that runs backwards.
    #[error("minimum port number ({minimum}) is greater than maximum port number ({maximum}) in port range")]
    PortOrder {
        /// The first port as found.
        minimum: u16,
        /// The last port as found.
        maximum: u16,
    },
    /// A name that no port may have.
    #[error("invalid name for named port ({found})")]
    PortName {
        /// What was found.
        found: String,
    },
    /// Neither a DSCP number nor the name of one.
    #[error("invalid DSCP value {found:?}: expected 0 to 63 or a name such as EF or AF11")]
    Dscp {
        /// What was found.
        found: String,
    },
    /// A protocol number outside of 0 to 255.
    #[error("invalid protocol number {found}: expected 0 to 255")]
    Protocol {
        /// What was found.
        found: String,
    },
}

/// An IP protocol, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// By number.
    Number(u8),
    /// By name, as written; the API takes TCP, UDP, ICMP, ICMPv6, SCTP and UDPLite.
    Name(Box<str>),
}

impl Protocol {
    /// The protocol's number, or `None` for a name that the API doesn't know.
    /// Names are compared without regard to case, as Calico's dataplanes do.
    pub fn number(&self) -> Option<u8> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => {
                NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
            }
        }
    }

    /// Whether the protocol has ports: TCP, UDP, SCTP and UDPLite.
    pub fn has_ports(&self) -> bool {
        matches!(self.number(), Some(6 | 17 | 132 | 136))
    }
}

/// The names that the API takes, as it spells them, with IANA's numbers.
const NAMES: [(&str, u8); 6] =
    [("TCP", 6), ("UDP", 17), ("ICMP", 1), ("ICMPv6", 58), ("SCTP", 132), ("UDPLite", 136)];

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

impl FromStr for Protocol {
    type Err = ValueError;

    /// A number where the text is one, else a name. A known name gets the API's spelling.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text
                .parse()
                .map(Self::Number)
                .map_err(|_| ValueError::Protocol { found: text.to_owned() });
        }
        let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(text));
        Ok(Self::Name(known.map_or(text, |(known, _)| known).into()))
    }
}

/// A port, a range of ports, or the name of a port of the endpoints on that side.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// From the first to the last, both included; a single port is a range of one.
    Range(u16, u16),
    /// The name of a port, looked up at each endpoint.
    Named(Box<str>),
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(first, last) if first == last => first.fmt(formatter),
            Self::Range(first, last) => write!(formatter, "{first}:{last}"),
            Self::Named(name) => name.fmt(formatter),
        }
    }
}

impl FromStr for Port {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Some((first, last)) = text.split_once(':') {
            let minimum = first.parse().map_err(|_| ValueError::MinimumPort { found: text.to_owned() })?;
            let maximum = last.parse().map_err(|_| ValueError::MaximumPort { found: text.to_owned() })?;
            if minimum > maximum {
                return Err(ValueError::PortOrder { minimum, maximum });
            }
            return Ok(Self::Range(minimum, maximum));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let port = text.parse().map_err(|_| ValueError::Port { found: text.to_owned() })?;
            return Ok(Self::Range(port, port));
        }
        let named = text.len() <= 128
            && !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !named {
            return Err(ValueError::PortName { found: text.to_owned() });
        }
        Ok(Self::Named(text.into()))
    }
}

/// A BGP AS number: plain, or `high.low` as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct AsNumber(pub u32);

impl fmt::Display for AsNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// An AS number that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid AS Number ({found}): expected 0 to 4294967295 or high.low of 0 to 65535 each")]
pub struct AsNumberError {
    /// What was found.
    pub found: String,
}

impl FromStr for AsNumber {
    type Err = AsNumberError;

    fn from_str(text: &str) -> Result<Self, AsNumberError> {
        let error = || AsNumberError { found: text.to_owned() };
        match text.split_once('.') {
            Some((high, low)) => {
                let high: u16 = high.parse().map_err(|_| error())?;
                let low: u16 = low.parse().map_err(|_| error())?;
                Ok(Self(u32::from(high) << 16 | u32::from(low)))
            }
            None => text.parse().map(Self).map_err(|_| error()),
        }
    }
}

/// A differentiated-services code point: a number from 0 to 63 or one of the names of RFC 2474,
/// 2597, 3246 and 5865.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dscp {
    /// By number.
    Number(u8),
    /// By name, in capitals.
    Name(Box<str>),
}

/// The names that the API takes, with their code points.
const DSCP_NAMES: [(&str, u8); 24] = [
    ("DF", 0),
    ("EF", 46),
    ("VA", 44),
    ("CS0", 0),
    ("CS1", 8),
    ("CS2", 16),
    ("CS3", 24),
    ("CS4", 32),
    ("CS5", 40),
    ("CS6", 48),
    ("CS7", 56),
    ("LE", 1),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
];

impl Dscp {
    /// The code point.
    pub fn number(&self) -> Option<u8> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => {
                DSCP_NAMES.iter().find(|(known, _)| **known == **name).map(|(_, number)| *number)
            }
        }
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

impl FromStr for Dscp {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || ValueError::Dscp { found: text.to_owned() };
        if let Ok(number) = text.parse::<u8>() {
            return if number < 64 { Ok(Self::Number(number)) } else { Err(error()) };
        }
        let upper = text.to_ascii_uppercase();
        let known = DSCP_NAMES.iter().any(|(known, _)| *known == upper);
        if known { Ok(Self::Name(upper.into())) } else { Err(error()) }
    }
}

impl Serialize for Dscp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u8(*number),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u8(*number),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Range(first, last) if first == last => serializer.serialize_u16(*first),
            _ => serializer.collect_str(self),
        }
    }
}

impl Serialize for AsNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

/// Reads a number or a text through `FromStr`.
struct NumberOrText<T>(&'static str, std::marker::PhantomData<T>);

impl<T> Visitor<'_> for NumberOrText<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! number_or_text {
    ($($type:ident, $expected:literal;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(NumberOrText($expected, std::marker::PhantomData))
            }
        }
        impl Shaped for $type {
            const SHAPE: &'static Shape = &Shape::Custom {
                go_name: stringify!($type),
                expected: $expected,
                read: reread::<$type>,
            };
        }
    )*};
}

number_or_text! {
    Protocol, "a protocol number from 0 to 255 or a protocol name";
    Port, "a port number, a range lo:hi or a port name";
    AsNumber, "an AS number";
    Dscp, "a DSCP from 0 to 63 or its name, such as EF or AF11";
}

impl Default for Protocol {
    fn default() -> Self {
        Self::Number(0)
    }
}
impl Default for Port {
    fn default() -> Self {
        Self::Range(0, 0)
    }
}
impl Omit for Protocol {
    fn omit(&self) -> bool {
        *self == Self::Number(0)
    }
}
impl Omit for Port {
    fn omit(&self) -> bool {
        false
    }
}
impl Default for Dscp {
    fn default() -> Self {
        Self::Number(0)
    }
}
impl Omit for Dscp {
    fn omit(&self) -> bool {
        false
    }
}
impl Omit for AsNumber {
    fn omit(&self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_number_range_or_name_and_written_back_as_they_were() {
        for (json, port) in [
            ("80", Port::Range(80, 80)),
            ("\"8080:8090\"", Port::Range(8080, 8090)),
            ("\"http\"", Port::Named("http".into())),
        ] {
            let read: Port = serde_json::from_str(json).expect(json);
            assert_eq!(read, port);
            assert_eq!(serde_json::to_string(&read).expect(json), json);
        }
    }

    #[test]
    fn a_port_range_that_cannot_be_is_refused_in_calicos_words() {
        for (text, message) in [
            ("1:65536", "invalid maximum port number in range (1:65536)"),
            ("65535:1", "minimum port number (65535) is greater than maximum port number (1) in port range"),
        ] {
            assert_eq!(text.parse::<Port>().expect_err(text).to_string(), message);
        }
    }

    #[test]
    fn protocols_keep_their_form_and_know_their_number() {
        let name: Protocol = "tcp".parse().expect("a name");
        assert_eq!((name.to_string().as_str(), name.number()), ("TCP", Some(6)));
        let number: Protocol = serde_json::from_str("132").expect("a number");
        assert_eq!(
            (serde_json::to_string(&number).expect("json").as_str(), number.has_ports()),
            ("132", true)
        );
    }
}
