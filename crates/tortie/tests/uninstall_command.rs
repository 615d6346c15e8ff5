//! `tortie uninstall`: what is ours goes from a node, what isn't stays, and nobody is left unjudged by mistake.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use tortie_cni::gate::{ClosedTable, Gate as _};
use tortie_netlink::rtnetlink::{LinkRef, Route, RouteFilter, RouteKind, Scope};
use tortie_netlink::{OwnedNamespace, Rtnetlink};
use tortie_nft::Client;
use tortie_nft::flat::Settings;

/// Runs `tortie uninstall` in the namespace.
fn uninstall(host: &OwnedNamespace, root: &Path, more: &[&str]) -> Output {
    uninstall_of(host, root, more, "")
}

/// The same where workload interfaces have other names.
fn uninstall_of(host: &OwnedNamespace, root: &Path, more: &[&str], prefixes: &str) -> Output {
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tortie"));
        command.arg("uninstall").arg("--bin").arg(root).arg("--conf").arg(root).args(more);
        command.env("FELIX_INTERFACEPREFIX", prefixes);
        command.env("TORTIE_SOCKET", root.join("agent.sock")).env_remove("CNI_CONF_NAME").output().unwrap()
    };
    host.run(run).unwrap()
}

fn blackhole(net: &str, protocol: u8) -> Route {
    let route = Route::direct(net.parse().unwrap(), 0);
    Route { interface: None, scope: Scope::Universe, kind: RouteKind::Blackhole, protocol, ..route }
}

#[test]
fn ours_goes_and_others_stay_and_pods_and_agents_are_in_the_way() {
    let host = OwnedNamespace::create(&format!("tt-{}-uninstall", std::process::id())).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::copy(env!("CARGO_BIN_EXE_tortie"), root.join("calico")).unwrap();
    for name in ["calico-ipam", "10-tortie.conflist", "tortie-kubeconfig", "20-another.conflist"] {
        fs::write(root.join(name), "another's").unwrap();
    }
    let mut links = Rtnetlink::open_in(&host).unwrap();
    links.add_route(&blackhole("10.1.0.0/26", 80)).unwrap();
    links.add_route(&blackhole("10.2.0.0/26", 4)).unwrap();
    host.run(|| ClosedTable.close()).unwrap().unwrap();
    let table = || host.run(|| Client::open().unwrap().table(&Settings::default().table).unwrap()).unwrap();
    assert!(table().is_some());

    let agent = UnixListener::bind(root.join("agent.sock")).unwrap();
    let refused = uninstall(&host, root, &["--with-pods"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && words.contains("an agent runs here"), "{words}");
    drop(agent);

    links.create_bridge("cali1").unwrap();
    let refused = uninstall(&host, root, &[]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && words.contains("pods are wired here (1)"), "{words}");
    assert!(table().is_some() && root.join("10-tortie.conflist").exists());
    links.delete_link(LinkRef::Name("cali1")).unwrap();
    links.create_bridge("tap1").unwrap();
    for (prefixes, found) in [("cali,tap", "pods are wired here (1)"), ("ta p", "FELIX_INTERFACEPREFIX")] {
        let refused = uninstall_of(&host, root, &[], prefixes);
        let words = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && words.contains(found), "{words}");
    }
    links.delete_link(LinkRef::Name("tap1")).unwrap();

    for _ in 0..2 {
        let done = uninstall(&host, root, &[]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(table().is_none());
        let of = |protocol| RouteFilter { protocol: Some(protocol), ..RouteFilter::default() };
        assert_eq!((links.routes(of(80)).unwrap().len(), links.routes(of(4)).unwrap().len()), (0, 1));
        let mut left: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["20-another.conflist", "agent.sock", "calico-ipam"]);
    }
}
