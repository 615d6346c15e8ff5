//! `node` and `cluster`: this machine, and archives of diagnostics.

use std::process::Command;

use crate::fixture::{Fixture, On, failed, mk_pool};

/// The names of the files in an archive.
fn names(archive: &std::path::Path) -> Vec<String> {
    let output = Command::new("tar").arg("-tzf").arg(archive).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn a_node_whose_agent_does_not_answer_does_not_run(on: On) {
    let fixture = Fixture::on(on);
    let mut command = fixture.command(&["node", "status"]);
    let output = command.env("TORTIE_SOCKET", fixture.path().join("none.sock")).output().unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()),
        (Some(1), "Calico process is not running.\n")
    );
    assert!(output.stdout.is_empty());
}

fn the_system_is_checked_line_by_line(on: On) {
    let fixture = Fixture::on(on);
    let all = "CONFIG_NF_TABLES=y\nCONFIG_NF_CONNTRACK=y\nCONFIG_NF_CT_NETLINK=m\nCONFIG_NETFILTER_NETLINK=y\nCONFIG_NETFILTER_NETLINK_LOG=y\nCONFIG_NFT_CT=y\nCONFIG_VETH=y\n";
    fixture.file("config", all);
    let said = fixture.run(&["node", "checksystem", "-f", "config"]);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let line = |what: &str| format!("\t\t{what:<20}\t\t\t\t\tOK\n");
    let modules =
        ["nf_tables", "nf_conntrack", "nf_conntrack_netlink", "nfnetlink", "nfnetlink_log", "nft_ct", "veth"];
    let expected = format!(
        "Checking kernel version...\n{}Checking kernel modules...\n{}System meets minimum system requirements to run Calico!\n",
        line(release.trim()),
        modules.map(line).concat()
    );
    assert_eq!(said, crate::fixture::ok(&expected));
}

fn run_shows_the_agents_command_or_names_its_service(on: On) {
    let fixture = Fixture::on(on);
    let dry = fixture.run(&[
        "node",
        "run",
        "--dryrun",
        "--name=n1",
        "--ip=192.168.0.1",
        "--as=64512.1",
        "--backend=none",
    ]);
    let command = "NODENAME=n1 CALICO_NETWORKING_BACKEND=none IP=192.168.0.1 AS=4227858433 tortie agent --config /etc/calico/calicoctl.cfg";
    assert_eq!(dry.code, Some(0));
    assert!(dry.out.contains(command), "{dry:?}");
    let real = fixture.run(&["node", "run", "--name=n1"]);
    assert_eq!((real.out.as_str(), real.code), ("", Some(1)));
    assert!(real.err.contains("systemctl enable --now tortie"), "{real:?}");
    for (arguments, out, err) in [
        (&["--ip=fd00::1"][..], "", "Error executing command: --ip is wrong IP version\n"),
        (&["--ip6=1.2.3.4"], "", "Error executing command: --ip6 is wrong IP version\n"),
        (&["--ip=1.2.3"], "Error executing command: invalid IP address specified: 1.2.3\n", ""),
        (&["--as=many"], "Error executing command: invalid AS Number specified: many\n", ""),
        (&["--backend=gobgp"], "", "Error executing command: unknown backend 'gobgp'\n"),
    ] {
        assert_eq!(fixture.run(&[&["node", "run", "--dryrun"], arguments].concat()), failed(out, err));
    }
}

fn diagnostics_of_the_node_are_packed_and_what_is_missing_is_said(on: On) {
    let fixture = Fixture::on(on);
    fixture.file("logs/deep/agent.log", "started\n");
    let mut command = fixture.command(&["node", "diags", "--log-dir=logs"]);
    let output = command
        .env("TMPDIR", fixture.path())
        .env("TORTIE_SOCKET", fixture.path().join("none.sock"))
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("Failed to run command: ") && out.contains("is the agent running?"), "{out}");
    let archive = out.lines().find_map(|line| line.strip_prefix("Diags saved to ")).unwrap();
    let names = names(std::path::Path::new(archive));
    for name in [
        "diagnostics/date",
        "diagnostics/ipv4_route",
        "diagnostics/agent_settings",
        "diagnostics/logs/deep/agent.log",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    let none = fixture
        .command(&["node", "diags", "--log-dir=nowhere"])
        .env("TMPDIR", fixture.path())
        .output()
        .unwrap();
    assert!(
        String::from_utf8(none.stdout).unwrap().contains("No logs found in nowhere; skipping log copying\n")
    );
}

fn diagnostics_of_the_cluster_hold_its_objects_and_addresses(on: On) {
    let fixture = Fixture::on(on);
    fixture.must(&["apply", "-f", "-"], &mk_pool("a", "10.0.0.0/16"));
    let mut command = fixture.command(&["cluster", "diags", "--max-logs=3"]);
    let output = command.env("TMPDIR", fixture.path()).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("Not collected: logs of pods"), "{out}");
    assert!(out.ends_with("Diagnostic bundle available at ./calico-diagnostics.tar.gz\n"), "{out}");
    let archive = fixture.path().join("calico-diagnostics.tar.gz");
    let names = names(&archive);
    for name in ["ippools.yaml", "tiers.yaml", "ipam-check.txt", "ipam-blocks.txt", "agent-status.txt"] {
        assert!(names.contains(&format!("calico-diagnostics/{name}")), "{name}: {names:?}");
    }
    let pools = Command::new("tar")
        .arg("-xzOf")
        .arg(&archive)
        .arg("calico-diagnostics/ippools.yaml")
        .output()
        .unwrap();
    assert!(String::from_utf8(pools.stdout).unwrap().contains("cidr: 10.0.0.0/16\n"));
}

fn shells_get_what_they_need_to_complete_commands(on: On) {
    let fixture = Fixture::on(on);
    for (shell, word) in
        [("bash", "_calicoctl"), ("zsh", "#compdef calicoctl"), ("fish", "complete -c calicoctl")]
    {
        let script = fixture.must(&["completion", shell], "");
        assert!(script.contains(word) && script.contains("show-blocks"), "{shell}");
    }
}

crate::fixture::on_both! {
    a_node_whose_agent_does_not_answer_does_not_run, the_system_is_checked_line_by_line, run_shows_the_agents_command_or_names_its_service, diagnostics_of_the_node_are_packed_and_what_is_missing_is_said, diagnostics_of_the_cluster_hold_its_objects_and_addresses, shells_get_what_they_need_to_complete_commands
}
