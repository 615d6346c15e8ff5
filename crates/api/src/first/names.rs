//! Names of the first API, which took capitals, underscores and slashes, in the form that names have now.
//!
//! A name that had to be changed gets eight digits of the SHA-1 of what it was, so that two names never become one. Nodes
//! don't: their names stand in many objects, and two that become one are an upgrade's fault to find.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

/// A node's name: lower case; `/` is `.`; whatever else isn't a letter, a digit, `-` or `.` is one `-` for all that stand
/// together; what is between two words is one `.` if there is a dot in it; and no dots and dashes at the ends.
pub fn node(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut is_between_foreign = false;
    for letter in name.to_lowercase().chars() {
        let letter = if letter == '/' { '.' } else { letter };
        let is_known = letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.');
        if is_known {
            out.push(letter);
        } else if !is_between_foreign {
            out.push('-');
        }
        is_between_foreign = !is_known;
    }
    let words = out.split_inclusive(|letter| !matches!(letter, '-' | '.'));
    let mut joined = String::with_capacity(out.len());
    for word in words {
        let letters = word.trim_start_matches(['-', '.']);
        let between = &word[..word.len() - letters.len()];
        joined.push_str(if between.contains('.') { "." } else { between });
        joined.push_str(letters);
    }
    joined.trim_matches(['-', '.']).to_owned()
}

/// Any other name.
pub fn plain(name: &str) -> String {
    qualified(name, node(name))
}

/// A policy's or a tier's, which has no dots: they stand between the two.
pub fn without_dots(name: &str) -> String {
    qualified(name, node(name).replace('.', "-"))
}

/// A profile's; those of Kubernetes' namespaces were called otherwise.
pub fn profile(name: &str) -> String {
    match name.strip_prefix("k8s_ns.") {
        Some(namespace) => plain(&format!("kns.{namespace}")),
        None => plain(name),
    }
}

fn qualified(old: &str, new: String) -> String {
    if new == old {
        return new;
    }
    let sum = Sha1::digest(old);
    let digits: String = sum.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{new}-{digits}")
}

/// An address as a part of a name: `192-168-0-1`, and of IPv6 all eight groups with all their digits.
pub fn address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:04x}")).join("-"),
    }
}

/// A pool's name, after its network.
pub fn net(net: &str) -> String {
    net.replace(['.', ':', '/'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_what_names_may_be_now() {
        for (old, new) in [
            ("node-1", "node-1"),
            ("Node_1.Example", "node-1.example"),
            ("a/b", "a.b"),
            ("a__%%b", "a-b"),
            ("a-.-b", "a.b"),
            ("a--b", "a--b"),
            ("-.a.-", "a"),
            ("", ""),
            ("_", ""),
        ] {
            assert_eq!(node(old), new, "{old}");
        }
    }

    /// The digits are `printf NAME | sha1sum`'s.
    #[test]
    fn a_name_that_was_changed_says_what_it_was() {
        assert_eq!(plain("web"), "web");
        assert_eq!(plain("Web"), "web-a8323a2a");
        assert_eq!(without_dots("a.b"), "a-b-69f6642c");
        assert_eq!(profile("k8s_ns.default"), "kns.default");
        assert_eq!(profile("openstack_x"), "openstack-x-85b3fd3a");
    }

    #[test]
    fn addresses_and_networks_are_parts_of_names() {
        assert_eq!(address(IpAddr::from([10, 0, 20, 1])), "10-0-20-1");
        assert_eq!(
            address("aa:bb::1".parse().expect("an address")),
            "00aa-00bb-0000-0000-0000-0000-0000-0001"
        );
        assert_eq!(net("fd00:10::/64"), "fd00-10---64");
    }
}
