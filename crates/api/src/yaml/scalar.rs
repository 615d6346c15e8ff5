//! What a plain YAML 1.1 scalar is: null, bool, number, timestamp or text.
//!
//! The rules are those of Go's YAML library, version 2, which Calico's tools use; it reads no
//! base-60 numbers, but quotes what older readers would take for one.

/// A plain scalar by its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Nothing, `~` or `null`.
    Null,
    /// `true`, `yes`, `on`, `y` and their like.
    Bool(bool),
    /// A whole number: decimal, `0x`, `0b`, `0o` or with a leading zero octal; `_` is passed over.
    Int(i128),
    /// A number with a fraction or an exponent, an infinity or not a number.
    Float(f64),
    /// A date, with or without a time. Read as text, but quoted when written.
    Timestamp,
    /// `<<`
    Merge,
    /// Everything else.
    Text,
}

/// Finds the type of a plain scalar.
pub fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        "<<" => return Scalar::Merge,
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' | b'+' | b'-' | b'0'..=b'9' => number(text),
        _ => Scalar::Text,
    }
}

fn number(text: &str) -> Scalar {
    if is_timestamp(text) {
        return Scalar::Timestamp;
    }
    let plain = text.replace('_', "");
    if let Some(int) = integer(&plain) {
        return Scalar::Int(int);
    }
    match is_float(&plain).then(|| plain.parse::<f64>()) {
        Some(Ok(float)) => Scalar::Float(float),
        _ => Scalar::Text,
    }
}

/// A whole number of 64 bits, signed or unsigned, in Go's notations.
fn integer(plain: &str) -> Option<i128> {
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -magnitude } else { magnitude };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(plain: &str) -> bool {
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa && exponent
}

/// `2006-1-2`, alone or with a time after `T`, `t` or a space; a zone only after `T` or `t`.
fn is_timestamp(text: &str) -> bool {
    fn number(text: &str, digits: std::ops::RangeInclusive<usize>, most: u32) -> Option<u32> {
        let fits = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| fits && *number <= most)
    }
    fn time(text: &str) -> Option<()> {
        let mut parts = text.splitn(3, ':');
        number(parts.next()?, 1..=2, 23)?;
        number(parts.next()?, 1..=2, 59)?;
        let seconds = parts.next()?;
        let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
        number(seconds, 1..=2, 59)?;
        (!fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
    }
    fn zone(text: &str) -> Option<()> {
        let (hours, minutes) = text.split_once(':')?;
        number(hours, 2..=2, 24)?;
        number(minutes, 2..=2, 60).map(drop)
    }
    fn read(text: &str) -> Option<()> {
        let (date, rest) = match text.find(['T', 't', ' ']) {
            Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
            None => (text, None),
        };
        let mut parts = date.splitn(3, '-');
        number(parts.next()?, 4..=4, 9999)?;
        let month = number(parts.next()?, 1..=2, 12)?;
        let day = number(parts.next()?, 1..=2, 31)?;
        (month > 0 && day > 0).then_some(())?;
        match rest {
            None => Some(()),
            Some((b' ', clock)) => time(clock.trim_start()),
            Some((_, clock)) => match clock.strip_suffix('Z') {
                Some(clock) => time(clock),
                None => {
                    let at = clock.rfind(['+', '-'])?;
                    time(&clock[..at]).and_then(|()| zone(&clock[at + 1..]))
                }
            },
        }
    }
    read(text).is_some()
}

/// What older readers take for a base-60 number, such as `1:30`; quoted when written.
pub fn looks_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let mut rest = parts.peekable();
    first.starts_with(|first: char| first.is_ascii_digit())
        && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && rest.peek().is_some()
        && rest.all(|part| match part.as_bytes() {
            [low] => low.is_ascii_digit(),
            [high, low] => (b'0'..=b'5').contains(high) && low.is_ascii_digit(),
            _ => false,
        })
        && fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// A number as Go's `'g'` format prints it, with as few digits as give the number back.
pub fn go_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = exponent.parse().unwrap_or_default();
    if number != 0.0 && !(-4..6).contains(&power) {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", power.abs());
    }
    format!("{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_types_of_yaml_1_1() {
        for (text, want) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("n", Scalar::Bool(false)),
            ("NO", Scalar::Bool(false)),
            ("on", Scalar::Bool(true)),
            ("012", Scalar::Int(10)),
            ("1_000", Scalar::Int(1000)),
            ("0x1F", Scalar::Int(31)),
            ("0b101", Scalar::Int(5)),
            ("+12", Scalar::Int(12)),
            ("18446744073709551615", Scalar::Int(u64::MAX.into())),
            ("1e3", Scalar::Float(1000.0)),
            ("1.50", Scalar::Float(1.5)),
            (".5", Scalar::Float(0.5)),
            ("-.inf", Scalar::Float(f64::NEG_INFINITY)),
            ("2026-11-23", Scalar::Timestamp),
            ("2026-11-23T00:28:07Z", Scalar::Timestamp),
            ("2026-11-23 1:2:3.5", Scalar::Timestamp),
            ("2026-13-23", Scalar::Text),
            ("10.0.0.0", Scalar::Text),
            ("10.0.0.0/8", Scalar::Text),
            ("1:30", Scalar::Text),
            ("089", Scalar::Float(89.0)),
            ("-", Scalar::Text),
            (".", Scalar::Text),
            ("+", Scalar::Text),
            ("e3", Scalar::Text),
            ("1e", Scalar::Text),
            ("nO", Scalar::Text),
            ("0x", Scalar::Text),
            ("--1", Scalar::Text),
            ("<<", Scalar::Merge),
        ] {
            assert_eq!(resolve(text), want, "{text}");
        }
    }

    #[test]
    fn base_60_is_found_only_where_minutes_are_minutes() {
        for (text, want) in
            [("1:30", true), ("-190:20:30", true), ("8080:8090", false), ("1:60", false), ("a:1", false)]
        {
            assert_eq!(looks_base_60(text), want, "{text}");
        }
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        for (number, want) in [
            (1.5, "1.5"),
            (1000.0, "1000"),
            (100_000.5, "100000.5"),
            (1e6, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (1e-5, "1e-05"),
            (0.0, "0"),
        ] {
            assert_eq!(go_float(number), want);
        }
    }
}
