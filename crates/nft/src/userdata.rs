//! Userdata: bytes that the kernel keeps and the `nft` program reads, as type, length, value of one byte each.
//!
//! It carries comments (by which a process with no memory knows our table) and the byte order of set keys and data,
//! without which `nft list ruleset` prints interface indexes and marks byte-swapped. Format: libnftnl `udata.h`.

/// Longest comment in bytes: userdata has 256 bytes, of which two are its header and one is the end of the string.
pub const COMMENT_MAXIMUM: usize = 128;

/// Comment of a table, a chain, a rule or an object: type 0 in each of them.
const COMMENT: u8 = 0;
const SET_KEY_BYTE_ORDER: u8 = 0;
const SET_DATA_BYTE_ORDER: u8 = 1;
/// In which order a set's keys or data are: `BYTEORDER_*` of nft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// As the processor has it: marks, interface indexes, class ids.
    Host = 1,
    /// Network order: addresses, ports.
    Network = 2,
}

/// Userdata of a table, chain, rule or object with a comment; longer ones are cut at [`COMMENT_MAXIMUM`] bytes.
#[must_use]
pub fn comment(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut end = text.len().min(COMMENT_MAXIMUM - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let length = u8::try_from(end + 1).expect("at most COMMENT_MAXIMUM");
    bytes.extend([COMMENT, length]);
    bytes.extend(&text.as_bytes()[..end]);
    bytes.push(0);
    bytes
}

/// Userdata of a set or map; `key` is the byte order of a key of one field, which a key of several has none of.
#[must_use]
pub fn set(key: Option<ByteOrder>, data: Option<ByteOrder>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, order) in [(SET_KEY_BYTE_ORDER, key), (SET_DATA_BYTE_ORDER, data)] {
        if let Some(order) = order {
            bytes.extend([kind, 4]);
            bytes.extend((order as u32).to_ne_bytes());
        }
    }
    bytes
}

/// The comment in a table's, chain's, rule's or object's userdata.
#[must_use]
pub fn read_comment(userdata: &[u8]) -> Option<String> {
    let mut rest = userdata;
    while let [kind, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *kind == COMMENT {
            return Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned());
        }
        rest = &tail[usize::from(*length)..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_comes_back_as_it_was_written() {
        assert_eq!(read_comment(&comment("tortie 1")), Some("tortie 1".to_string()));
        assert_eq!(read_comment(&[]), None);
    }

    #[test]
    fn a_long_comment_is_cut_between_characters() {
        let written = comment(&"é".repeat(100));
        assert_eq!(read_comment(&written), Some("é".repeat(63)));
    }
}
