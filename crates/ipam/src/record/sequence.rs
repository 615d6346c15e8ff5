//! The sequence number under which each address of a block was given: `{"0": 17, "10": 19}` in JSON, keys sorted as Go
//! sorts them (as text), a short sorted list here.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Ordinal to sequence number. Blocks that old releases wrote have none for some addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Sequences(Vec<(u32, u64)>);

impl Sequences {
    /// The number of an ordinal.
    pub fn get(&self, ordinal: u32) -> Option<u64> {
        self.find(ordinal).ok().map(|at| self.0[at].1)
    }

    /// Sets it.
    pub fn set(&mut self, ordinal: u32, number: u64) {
        match self.find(ordinal) {
            Ok(at) => self.0[at].1 = number,
            Err(at) => self.0.insert(at, (ordinal, number)),
        }
    }

    /// Forgets it.
    pub fn clear(&mut self, ordinal: u32) {
        if let Ok(at) = self.find(ordinal) {
            self.0.remove(at);
        }
    }

    fn find(&self, ordinal: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&ordinal, |(ordinal, _)| *ordinal)
    }
}

impl Serialize for Sequences {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        let mut digits = [0_u8; 10];
        let limit = self.0.last().map_or(0, |(ordinal, _)| *ordinal);
        // Text order of numbers is the order of a walk through the tree of their digits.
        let mut next = Some(0);
        while let Some(ordinal) = next {
            if let Some(number) = self.get(ordinal) {
                map.serialize_entry(text(ordinal, &mut digits), &number)?;
            }
            next = after_in_text_order(ordinal, limit);
        }
        map.end()
    }
}

/// The number that follows in text order among `0..=limit`.
fn after_in_text_order(number: u32, limit: u32) -> Option<u32> {
    if number != 0 && u64::from(number) * 10 <= u64::from(limit) {
        return Some(number * 10);
    }
    let mut number = number;
    while number % 10 == 9 || number >= limit {
        number /= 10;
        if number == 0 {
            return None;
        }
    }
    Some(number + 1)
}

fn text(mut number: u32, digits: &mut [u8; 10]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return std::str::from_utf8(&digits[at..]).expect("digits are ASCII");
        }
    }
}

impl<'de> Deserialize<'de> for Sequences {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Sequences;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from ordinals to sequence numbers, or null")
            }

            fn visit_unit<E>(self) -> Result<Sequences, E> {
                Ok(Sequences::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sequences, A::Error> {
                let mut sequences = Sequences::default();
                while let Some((ordinal, number)) = map.next_entry::<String, u64>()? {
                    let ordinal = ordinal.parse().map_err(|_| {
                        serde::de::Error::custom(format!("found {ordinal:?}, expected an ordinal"))
                    })?;
                    sequences.set(ordinal, number);
                }
                Ok(sequences)
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_are_sorted_as_text_and_read_back() {
        for count in [1_u32, 9, 10, 11, 64, 100, 101, 130, 1023] {
            let mut sequences = Sequences::default();
            for ordinal in 0..count {
                sequences.set(ordinal, u64::from(ordinal) + 7);
            }
            let json = serde_json::to_string(&sequences).unwrap();
            let mut names: Vec<String> = (0..count).map(|ordinal| ordinal.to_string()).collect();
            names.sort();
            let want: Vec<String> =
                names.iter().map(|name| format!("\"{name}\":{}", name.parse::<u64>().unwrap() + 7)).collect();
            assert_eq!(json, format!("{{{}}}", want.join(",")));
            assert_eq!(serde_json::from_str::<Sequences>(&json).unwrap(), sequences);
        }
        assert_eq!(serde_json::from_str::<Sequences>("null").unwrap(), Sequences::default());
    }
}
