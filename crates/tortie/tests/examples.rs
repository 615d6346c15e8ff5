//! The YAML that users read first: it is accepted, and it means what its comments say.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn tortie(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tortie")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_file_of_the_shop_validates() {
    let shop = examples().join("shop");
    let (accepted, out, err) = tortie(&["validate", "-f", shop.to_str().unwrap()]);
    assert!(accepted, "{out}{err}");
}

/// From, to, protocol and port; what becomes of it, and who decided: side, `tier policy rule`.
const MEANING: &[(&str, &str, &str, &str, &str)] = &[
    ("shop/web", "shop/api", "tcp/8080", "allow", "ingress default shop/api 0"),
    ("shop/api", "shop/db", "tcp/5432", "allow", "ingress default shop/db 0"),
    ("shop/api", "shop/db", "tcp/22", "deny", "egress default shop/api -1"),
    // The deny with order.
    ("shop/web", "shop/db", "tcp/5432", "deny", "ingress default shop/db-not-from-web 0"),
    ("shop/web", "shop/db", "icmp", "allow", "ingress default shop/ping 0"),
    // The egress lock-down.
    ("shop/db", "shop/web", "icmp", "deny", "egress default shop/db 0"),
    ("shop/db", "192.168.77.12", "tcp/443", "deny", "egress default shop/db 0"),
    // The network set, both ways, and an address that isn't in it.
    ("shop/api", "192.168.77.12", "tcp/443", "allow", "egress default shop/api 1"),
    ("shop/api", "fd77::c", "tcp/443", "allow", "egress default shop/api 1"),
    ("shop/api", "192.168.77.13", "tcp/443", "deny", "egress default shop/api -1"),
    ("192.168.77.12", "shop/api", "tcp/8080", "allow", "ingress default shop/api 1"),
    ("192.168.77.13", "shop/api", "tcp/8080", "deny", "ingress platform shop/isolation 6"),
    // Isolation: the label alone opens nothing, the service account does.
    ("guests/intruder", "shop/db", "tcp/5432", "deny", "ingress platform shop/isolation 6"),
    ("guests/intruder", "batch/report", "tcp/9100", "deny", "ingress platform batch/isolation 1"),
    ("batch/report", "shop/db", "tcp/5432", "allow", "ingress default shop/db 1"),
    ("batch/report", "shop/api", "tcp/8080", "deny", "egress default batch/report 1"),
    // The named port.
    ("guests/customer", "shop/web", "tcp/80", "allow", "ingress default shop/web 0"),
    ("guests/customer", "shop/web", "tcp/8080", "deny", "ingress platform shop/isolation 6"),
    // Who isn't ours is left alone.
    ("guests/customer", "guests/intruder", "udp/53", "allow", "ingress __PROFILE__ kns.guests 0"),
    ("shop/web", "guests/customer", "tcp/22", "deny", "egress default shop/web -1"),
];

#[test]
fn the_shop_means_what_its_comments_say() {
    for (from, to, port, verdict, decided) in MEANING {
        let examples = examples();
        let ask = ["explain", "-f", examples.to_str().unwrap(), "--from", from, "--to", to, "--port", port];
        let (answered, out, err) = tortie(&[&ask[..], &["-o", "json"]].concat());
        assert!(answered && err.is_empty(), "{err}");
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{out}: {error}"));
        assert_eq!(answer["verdict"], *verdict, "{from} -> {to} {port}: {answer}");
        let (side, by) = decided.split_once(' ').unwrap();
        let side = &answer[side];
        let text = |field: &str| side[field].as_str().unwrap_or_default().to_owned();
        let found = format!("{} {} {}", text("tier"), text("policy"), side["rule"]);
        assert_eq!(
            (found.as_str(), text("action").as_str()),
            (by, *verdict),
            "{from} -> {to} {port}: {answer}"
        );
    }
}
