//! `calicoctl node diags`: what this machine says of its network and of the agent, in one archive.

use std::path::Path;
use std::process::Command;

use crate::calicoctl::bundle::Bundle;
use crate::objects::Failure;

/// What is said before, the command, and the file that holds what it says.
const COMMANDS: [(&str, &[&str], &str); 11] = [
    ("", &["date"], "date"),
    ("", &["hostname"], "hostname"),
    ("Dumping netstat", &["ss", "-a", "-n"], "netstat"),
    ("Dumping routes (IPv4)", &["ip", "-4", "route"], "ipv4_route"),
    ("Dumping routes (IPv6)", &["ip", "-6", "route"], "ipv6_route"),
    ("Dumping interface info (IPv4)", &["ip", "-4", "addr"], "ipv4_addr"),
    ("Dumping interface info (IPv6)", &["ip", "-6", "addr"], "ipv6_addr"),
    ("Dumping nftables", &["nft", "list", "ruleset"], "nftables"),
    ("Dumping iptables (IPv4)", &["iptables-save", "-c"], "ipv4_tables"),
    ("Dumping iptables (IPv6)", &["ip6tables-save", "-c"], "ipv6_tables"),
    (
        "Copying journal for tortie.service",
        &["journalctl", "-u", "tortie.service", "--no-pager"],
        "journalctl_tortie",
    ),
];

/// Collects; what can't be had is told, and the rest is collected.
///
/// # Errors
/// That there is no place for it.
pub fn collect(log_dir: &Path) -> Result<(), Failure> {
    println!("Collecting diagnostics");
    let bundle = Bundle::new("diagnostics").map_err(Failure::Command)?;
    println!("Using temp dir: {}", bundle.place().display());
    for (info, words, name) in COMMANDS {
        bundle.run(info, words, name);
    }
    if let Ok(program) = std::env::current_exe() {
        let program = program.to_string_lossy();
        bundle.run("Dumping the agent's status", &[&program, "status"], "agent_status");
        bundle.run("Dumping the agent's settings", &[&program, "agent", "--check"], "agent_settings");
    }
    if log_dir.is_dir() {
        println!("Copying Calico logs");
        if let Err(error) = bundle.copy(log_dir, "logs") {
            println!("Error copying log files: {error}");
        }
    } else {
        println!("No logs found in {}; skipping log copying", log_dir.display());
    }
    let time = Command::new("date").arg("+%Y%m%d_%H%M%S").output();
    let time = time.map_err(|error| Failure::Command(format!("Error executing command: {error}")))?;
    let name = format!("diags-{}.tar.gz", String::from_utf8_lossy(&time.stdout).trim());
    let archive = bundle.place().join(name);
    bundle.pack(&archive).map_err(Failure::Command)?;
    bundle.clear();
    println!("\nDiags saved to {}", archive.display());
    Ok(())
}
