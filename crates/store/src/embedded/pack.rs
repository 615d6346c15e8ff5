//! Values in the history are packed where that makes them much smaller (LZ4: a write takes it along in a few microseconds).
//!
//! A block of addresses says nearly the same for each of its 64, and is written anew with each of them: 8 kB when half full
//! become a third of that with containers' random names, which don't shrink, and a seventh without. A page is what a write
//! costs, so small values stay as they are.

use std::borrow::Cow;

use rusqlite::types::{FromSqlError, Type};

/// Values from this length on are packed: those that would take a good part of a page, or several.
const LONG: usize = 1024;

/// LZ4 never makes more of a byte than this.
const MOST: u64 = 255;

/// `value` as it is stored, and its length if that is packed, else 0.
pub fn pack(value: &[u8]) -> (Cow<'_, [u8]>, u32) {
    if let Ok(length) = u32::try_from(value.len())
        && value.len() >= LONG
    {
        let packed = lz4_flex::block::compress(value);
        // What is read has to be worth what it takes to unpack it.
        if packed.len() <= value.len() / 4 * 3 {
            return (Cow::Owned(packed), length);
        }
    }
    (Cow::Borrowed(value), 0)
}

/// The value of what [`pack`] made; `column` is named in the error.
///
/// # Errors
/// If it is damaged.
pub fn unpack(stored: &[u8], length: u32, column: usize) -> rusqlite::Result<Vec<u8>> {
    if length == 0 {
        return Ok(stored.to_vec());
    }
    let damaged = |cause: String| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Blob,
            FromSqlError::Other(cause.into()).into(),
        )
    };
    // Nobody's damage shall make us ask for all memory.
    if u64::from(length) / MOST > stored.len() as u64 {
        return Err(damaged(format!("{} bytes are not a packed value of {length}", stored.len())));
    }
    match lz4_flex::block::decompress(stored, length as usize) {
        Ok(value) if value.len() == length as usize => Ok(value),
        Ok(value) => Err(damaged(format!("a packed value has {} bytes instead of {length}", value.len()))),
        Err(error) => Err(damaged(format!("a packed value of {length} bytes: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_was_packed_comes_back_and_what_would_not_shrink_is_left() {
        let alike = b"{\"attributes\":{\"node\":\"worker-1\"}},".repeat(150);
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..5_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_le_bytes()[3]
            })
            .collect();
        let cases: [(&[u8], bool); 6] = [
            (b"", false),
            (&alike[..LONG - 1], false),
            (&alike[..LONG], true),
            (&alike, true),
            (&noise, false),
            (&vec![0; 1_000_000], true),
        ];
        for (value, expected) in cases {
            let (stored, length) = pack(value);
            assert_eq!(length != 0, expected, "{} bytes", value.len());
            assert!(length == 0 || stored.len() < value.len() / 2);
            assert_eq!(unpack(&stored, length, 0).unwrap(), value);
        }
    }

    #[test]
    fn what_is_damaged_is_said_and_takes_no_memory() {
        let value = b"{\"attributes\":{\"node\":\"worker-1\"}},".repeat(150);
        let (stored, length) = pack(&value);
        for (stored, length) in [
            (&stored[..stored.len() / 2], length),
            (&stored[..], length - 1),
            (&stored[..], length + 1),
            (&stored[..], u32::MAX),
            (&b""[..], 1),
        ] {
            let error = unpack(stored, length, 3).unwrap_err().to_string();
            assert!(error.contains("packed value"), "{error}");
        }
    }
}
