//! `calicoctl node checksystem`: whether the kernel has what the agent needs, in calicoctl's layout.
//!
//! A part of the kernel is found as a module, loadable, built in or loaded, or in the kernel's configuration.

use std::fs;
use std::path::PathBuf;

use crate::objects::Failure;

/// The oldest kernel.
const OLDEST: (u32, u32) = (6, 1);

/// A module, and the setting of the kernel's configuration that builds it.
const NEEDED: [(&str, &str); 7] = [
    ("nf_tables", "CONFIG_NF_TABLES"),
    ("nf_conntrack", "CONFIG_NF_CONNTRACK"),
    ("nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK"),
    ("nfnetlink", "CONFIG_NETFILTER_NETLINK"),
    ("nfnetlink_log", "CONFIG_NETFILTER_NETLINK_LOG"),
    ("nft_ct", "CONFIG_NFT_CT"),
    ("veth", "CONFIG_VETH"),
];

/// Checks and tells.
///
/// # Errors
/// That something is missing.
pub fn check(kernel_config: Option<PathBuf>) -> Result<(), Failure> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_err(|error| Failure::Command(format!("Error executing command: {error}")))?;
    let release = release.trim();
    println!("Checking kernel version...");
    let mut good = version(release).is_some_and(|version| version >= OLDEST);
    tell(release, good);
    if !good {
        let (major, minor) = OLDEST;
        println!(
            "Minimum kernel version to run Calico is {major}.{minor}. Detected kernel version: {release}"
        );
    }
    println!("Checking kernel modules...");
    let kernel = Kernel::read(release, kernel_config);
    for (module, setting) in NEEDED {
        let there = kernel.has(module, setting);
        if !there {
            println!("WARNING: Unable to detect the {module} module as Loaded/Builtin module or lsmod");
        }
        tell(module, there);
        good &= there;
    }
    if !good {
        return Err(Failure::Command(
            "system doesn't meet one or more minimum systems requirements to run Calico".to_owned(),
        ));
    }
    println!("System meets minimum system requirements to run Calico!");
    Ok(())
}

fn tell(what: &str, good: bool) {
    println!("\t\t{what:<20}\t\t\t\t\t{}", if good { "OK" } else { "FAIL" });
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What is known of the kernel.
struct Kernel {
    /// `modules.dep`, `modules.builtin`, and the names of what is loaded.
    modules: String,
    config: String,
}

impl Kernel {
    fn read(release: &str, kernel_config: Option<PathBuf>) -> Kernel {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let loaded = text("/proc/modules");
        let loaded = loaded.lines().filter_map(|line| line.split(' ').next());
        let loaded: String = loaded.map(|name| format!("/{name}.ko\n")).collect();
        let of_release = |name: &str| text(&format!("/lib/modules/{release}/{name}"));
        let places = [
            "/usr/src/linux/.config".to_owned(),
            format!("/boot/config-{release}"),
            format!("/usr/src/linux-{release}/.config"),
            format!("/usr/src/linux-headers-{release}/.config"),
            format!("/lib/modules/{release}/build/.config"),
        ];
        let config = match kernel_config {
            Some(path) => fs::read_to_string(path).unwrap_or_default(),
            None => places.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default(),
        };
        Kernel { modules: of_release("modules.dep") + &of_release("modules.builtin") + &loaded, config }
    }

    fn has(&self, module: &str, setting: &str) -> bool {
        self.modules.contains(&format!("/{module}.ko"))
            || self
                .config
                .lines()
                .any(|line| line.strip_prefix(setting).is_some_and(|rest| matches!(rest, "=y" | "=m")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_as_a_file_or_in_the_configuration() {
        let kernel = Kernel {
            modules: "kernel/net/netfilter/nf_tables.ko.xz: x\n/veth.ko\n".to_owned(),
            config: "CONFIG_NFT_CT=m\n# CONFIG_NF_CT_NETLINK is not set\nCONFIG_NF_CONNTRACK=y\n".to_owned(),
        };
        let found: Vec<&str> = NEEDED
            .iter()
            .filter(|(module, setting)| kernel.has(module, setting))
            .map(|(module, _)| *module)
            .collect();
        assert_eq!(found, ["nf_tables", "nf_conntrack", "nft_ct", "veth"]);
        assert_eq!(version("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(version("6.12.3"), Some((6, 12)));
        assert_eq!(version("what"), None);
    }
}
