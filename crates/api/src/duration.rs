//! Spans of time as Go writes them: `2m5s`, `1h30m0s`, `1.5ms`.
//!
//! The API takes any spelling (`125s`) and gives back the normal one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::schema::{Omit, Shape, Shaped, reread};

/// A span of time, in nanoseconds; may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Duration {
    /// Nanoseconds.
    pub nanoseconds: i64,
}

/// A text that is no duration, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number where one must be, or too large a span.
    #[error("time: invalid duration {found:?}")]
    Invalid {
        /// The whole text.
        found: String,
    },
    /// A number without a unit.
    #[error("time: missing unit in duration {found:?}")]
    MissingUnit {
        /// The whole text.
        found: String,
    },
    /// A unit other than ns, us, µs, ms, s, m and h.
    #[error("time: unknown unit {unit:?} in duration {found:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        found: String,
    },
}

const MICROSECOND: i128 = 1_000;
const MILLISECOND: i128 = 1_000_000;
const SECOND: i128 = 1_000_000_000;

fn unit(text: &str) -> Option<i128> {
    Some(match text {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid { found: text.to_owned() };
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if unsigned == "0" {
            return Ok(Self::default());
        }
        let mut rest = unsigned;
        let mut total: i128 = 0;
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let number_end = rest.find(|at: char| !at.is_ascii_digit() && at != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(number_end);
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            let empty = whole.is_empty() && fraction.is_empty();
            if empty || fraction.contains('.') {
                return Err(invalid());
            }
            let unit_end = after.find(|at: char| at.is_ascii_digit() || at == '.').unwrap_or(after.len());
            let (name, next) = after.split_at(unit_end);
            if name.is_empty() {
                return Err(DurationError::MissingUnit { found: text.to_owned() });
            }
            let scale = unit(name).ok_or_else(|| DurationError::UnknownUnit {
                unit: name.to_owned(),
                found: text.to_owned(),
            })?;
            let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
            let mut part = whole.checked_mul(scale).ok_or_else(invalid)?;
            let mut digit_scale = scale;
            for digit in fraction.bytes().take(20) {
                digit_scale /= 10;
                part += i128::from(digit - b'0') * digit_scale;
            }
            total = total.checked_add(part).ok_or_else(invalid)?;
            rest = next;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed).map(|nanoseconds| Self { nanoseconds }).map_err(|_| invalid())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.nanoseconds.unsigned_abs();
        if self.nanoseconds < 0 {
            formatter.write_str("-")?;
        }
        if total == 0 {
            return formatter.write_str("0s");
        }
        if total < 1_000_000_000 {
            let (scale, unit) = match total {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "\u{b5}s"),
                _ => (1_000_000, "ms"),
            };
            return write!(formatter, "{}{unit}", decimal(total, scale));
        }
        let seconds = total / 1_000_000_000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(formatter, "{hours}h")?;
        }
        if seconds >= 60 {
            write!(formatter, "{minutes}m")?;
        }
        write!(formatter, "{}s", decimal(total % 60_000_000_000, 1_000_000_000))
    }
}

/// A count in a larger unit, with as many decimals as it has.
fn decimal(count: u64, scale: u64) -> String {
    let digits = scale.ilog10() as usize;
    let fraction = format!("{:0digits$}", count % scale);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() || digits == 0 {
        (count / scale).to_string()
    } else {
        format!("{}.{fraction}", count / scale)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Shaped for Duration {
    const SHAPE: &'static Shape = &Shape::Custom {
        go_name: "Duration",
        expected: "a duration such as 90s or 2m5s",
        read: reread::<Self>,
    };
}

impl Omit for Duration {
    fn omit(&self) -> bool {
        self.nanoseconds == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_come_back_in_normal_form() {
        for (text, want) in [
            ("125s", "2m5s"),
            ("2h45m10s", "2h45m10s"),
            ("90m", "1h30m0s"),
            ("0", "0s"),
            ("0s", "0s"),
            ("1.5ms", "1.5ms"),
            ("1500us", "1.5ms"),
            ("15us", "15\u{b5}s"),
            ("7ns", "7ns"),
            (".5s", "500ms"),
            ("1.5s", "1.5s"),
            ("-1m", "-1m0s"),
            ("1m.25s", "1m0.25s"),
        ] {
            assert_eq!(text.parse::<Duration>().expect(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_in_gos_words() {
        for (text, want) in [
            ("", "time: invalid duration \"\""),
            ("10", "time: missing unit in duration \"10\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("abc", "time: invalid duration \"abc\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("9999999h", "time: invalid duration \"9999999h\""),
        ] {
            assert_eq!(text.parse::<Duration>().expect_err(text).to_string(), want);
        }
    }
}
