//! Looks settings up in their sources, the strongest first, and notes what they come to.

use super::{Environment, Refused, Source, Stored, Told};
use crate::Error;

/// The names of a setting: the field and the variable.
type Field = (&'static str, &'static str);

/// What a switch may say.
pub const FLAG: &str = "true, 1, yes, y, t or false, 0, no, n, f";

/// A switch as Calico reads it, in any case.
pub fn flag(text: &str) -> Option<bool> {
    match &*text.to_lowercase() {
        "true" | "1" | "yes" | "y" | "t" => Some(true),
        "false" | "0" | "no" | "n" | "f" => Some(false),
        _ => None,
    }
}

/// The address of a service, or `None` if it is switched off.
pub fn address(enabled: bool, host: &str, port: u16) -> Option<String> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    enabled.then(|| format!("{host}:{port}"))
}

/// See the module.
pub struct Reader<'a> {
    environment: &'a Environment,
    stored: &'a Stored,
    told: Vec<Told>,
    refused: Vec<Refused>,
}

impl<'a> Reader<'a> {
    pub fn new(environment: &'a Environment, stored: &'a Stored) -> Self {
        Self { environment, stored, told: Vec::new(), refused: Vec::new() }
    }

    /// A field of FelixConfiguration and the variable that is stronger.
    pub fn felix<T>(
        &mut self,
        (field, variable): Field,
        default: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let found = match self.environment.get(variable) {
            Some(value) => Some((value, Source::Environment)),
            None => self.stored.get(field),
        };
        self.take((field, variable), found, default, expected, parse)
    }

    /// What only a variable can say.
    pub fn variable<T>(
        &mut self,
        name: &'static str,
        default: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let found = self.environment.get(name).map(|value| (value, Source::Environment));
        self.take((name, name), found, default, expected, parse)
    }

    pub fn flag(&mut self, field: Field, default: bool) -> bool {
        self.felix(field, if default { "true" } else { "false" }, FLAG, flag)
    }

    /// Loopback unless a host is named.
    pub fn host(&mut self, field: Field) -> String {
        let expected = "1 to 64 letters, digits, :, ., _, + or -";
        self.felix(field, "localhost", expected, |text| {
            let valid = |byte: u8| byte.is_ascii_alphanumeric() || b":._+-".contains(&byte);
            ((1..=64).contains(&text.len()) && text.bytes().all(valid)).then(|| text.to_owned())
        })
    }

    pub fn port(&mut self, field: Field, default: &str) -> u16 {
        self.felix(field, default, "a port from 0 to 65535", |text| text.parse().ok())
    }

    /// What was read, and what was refused.
    pub fn end(self) -> (Vec<Told>, Vec<Refused>) {
        (self.told, self.refused)
    }

    fn take<T>(
        &mut self,
        (name, variable): Field,
        found: Option<(&str, Source)>,
        default: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        if let Some((text, source)) = found {
            if let Some(value) = parse(text) {
                self.told.push(Told { name, value: text.to_owned(), source });
                return value;
            }
            let name = if source == Source::Environment { variable } else { name };
            let error = Error::Setting { name: name.to_owned(), found: text.to_owned(), expected };
            self.refused.push(Refused { source, instead: default.to_owned(), error });
        }
        self.told.push(Told { name, value: default.to_owned(), source: Source::Default });
        parse(default).expect("defaults are what is expected: a test reads them all")
    }
}
