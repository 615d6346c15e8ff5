//! What the iptables of the time before nftables has put into the kernel (needs root).

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use tortie_netlink::{OwnedNamespace, xtables};

const CHAIN: &str = "cali-from-wl-dispatch";

fn restore(host: &OwnedNamespace, program: &str, rules: &str) {
    let whole = format!("*filter\n{rules}COMMIT\n");
    let status = host
        .run(|| {
            let mut child = Command::new(program).stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(whole.as_bytes()).unwrap();
            child.wait().unwrap()
        })
        .unwrap();
    assert!(status.success(), "{program}: {whole}");
}

#[test]
fn a_chain_of_iptables_legacy_judges_while_it_has_rules() {
    let host = OwnedNamespace::create(&format!("tt-{}-xtables", std::process::id())).unwrap();
    let judge =
        |chain: &str| host.run(|| [false, true].map(|is_v6| xtables::judges(is_v6, chain).unwrap())).unwrap();
    let names = || host.run(|| std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap());
    assert_eq!(judge(CHAIN), [false, false]);
    assert_eq!(names().unwrap(), "", "asking has made no table");

    restore(&host, "iptables-legacy-restore", ":FORWARD ACCEPT\n-A FORWARD -i cali+ -j DROP\n");
    assert_eq!(judge(CHAIN), [false, false]);
    restore(&host, "iptables-legacy-restore", &format!(":{CHAIN} -\n-A FORWARD -i cali+ -j {CHAIN}\n"));
    assert_eq!(judge(CHAIN), [false, false], "it is led to, and has nothing to say");
    let long = "-m comment --comment \"what a match of its own says before the target\"";
    let rules = format!(":{CHAIN} -\n:other -\n-A {CHAIN} {long} -i cali1 -j RETURN\n-A other -j DROP\n");
    restore(&host, "iptables-legacy-restore", &rules);
    assert_eq!(judge(CHAIN), [true, false]);
    assert_eq!(judge("other"), [true, false]);
    assert_eq!(judge("cali-from-wl"), [false, false], "a name is a whole name");
    restore(&host, "ip6tables-legacy-restore", &rules);
    assert_eq!(judge(CHAIN), [true, true]);
    restore(&host, "iptables-legacy-restore", "");
    assert_eq!(judge(CHAIN), [false, true]);
}
