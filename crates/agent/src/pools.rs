//! The pools that an agent makes where there are none, by Calico's variables.

use ipnet::IpNet;
use serde_json::{Value, json};
use tortie_api::kind::Kind;
use tortie_api::selector::Selector;
use tortie_store::resources::Client;

use crate::config::{FLAG, flag};
use crate::{Error, Result};

/// What is said of a family: its variables behind `CALICO_IPV4POOL_` or `CALICO_IPV6POOL_`.
struct Family {
    prefix: &'static str,
    /// The pool's name.
    name: &'static str,
    is_v4: bool,
    blocks: (std::ops::RangeInclusive<u8>, &'static str),
}

const FAMILIES: [Family; 2] = [
    Family {
        prefix: "CALICO_IPV4POOL_",
        name: "default-ipv4-ippool",
        is_v4: true,
        blocks: (20..=32, "a number from 20 to 32"),
    },
    Family {
        prefix: "CALICO_IPV6POOL_",
        name: "default-ipv6-ippool",
        is_v4: false,
        blocks: (116..=128, "a number from 116 to 128"),
    },
];

/// A pool to be made if its family has none.
#[derive(Debug, Clone)]
pub struct Wanted {
    name: &'static str,
    cidr: IpNet,
    spec: Value,
}

/// The pools that the environment names, and all that can't work in what it says of them. Unlike Calico nothing is made that
/// nobody named.
pub fn read(setting: impl Fn(&str) -> Option<String>) -> (Vec<Wanted>, Vec<Error>) {
    let mut read = Reader { setting, faults: Vec::new() };
    let wanted: Vec<Wanted> = FAMILIES.iter().filter_map(|family| read.family(family)).collect();
    let none = read.take("NO_DEFAULT_POOLS", FLAG, flag).unwrap_or_default();
    if none && !wanted.is_empty() {
        let expected = "false, or neither CALICO_IPV4POOL_CIDR nor CALICO_IPV6POOL_CIDR beside it";
        read.refuse("NO_DEFAULT_POOLS", expected);
    }
    (wanted, read.faults)
}

/// Makes those of the pools whose family the store has none of.
///
/// # Errors
/// What is wrong with a pool, in the words that a user would hear, and those of the store.
pub fn make(client: &Client, wanted: &[Wanted]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let found = client.list(Kind::IPPool, None)?.items;
    let is_v4 = |pool: &Value| Some(pool["spec"]["cidr"].as_str()?.parse::<IpNet>().ok()?.addr().is_ipv4());
    let there: Vec<bool> = found.iter().filter_map(is_v4).collect();
    for Wanted { name, cidr, spec } in
        wanted.iter().filter(|pool| !there.contains(&pool.cidr.addr().is_ipv4()))
    {
        let pool = json!({
            "apiVersion": Kind::IPPool.api().version(),
            "kind": Kind::IPPool.name(),
            "metadata": { "name": name },
            "spec": spec,
        });
        match client.create(pool) {
            Ok(_) => tracing::info!(name, %cidr, "made the first pool"),
            // Another node was faster.
            Err(tortie_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

struct Reader<F> {
    setting: F,
    faults: Vec<Error>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn said(&self, name: &str) -> Option<String> {
        (self.setting)(name).filter(|value| !value.is_empty())
    }

    fn refuse(&mut self, name: &str, expected: &'static str) {
        let found = self.said(name).unwrap_or_default();
        self.faults.push(Error::Setting { name: name.to_owned(), found, expected });
    }

    /// What a variable says, if it says something that can work.
    fn take<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.said(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.refuse(name, expected);
        }
        value
    }

    fn family(&mut self, family: &Family) -> Option<Wanted> {
        let Family { prefix, name, is_v4, blocks } = family;
        let of = |field: &str| format!("{prefix}{field}");
        let expected = if *is_v4 {
            "an IPv4 range as 10.0.0.0/16, or none"
        } else {
            "an IPv6 range as fd00:10::/48, or none"
        };
        let cidr = self.take(&of("CIDR"), expected, |text| match text {
            "none" => Some(None),
            text => text.parse().ok().filter(|cidr: &IpNet| cidr.addr().is_ipv4() == *is_v4).map(Some),
        });
        let mut spec = json!({
            "vxlanMode": self.take(&of("VXLAN"), MODE, mode).unwrap_or("Never"),
            "ipipMode": "Never",
            "natOutgoing": self.take(&of("NAT_OUTGOING"), FLAG, flag).unwrap_or(*is_v4),
            "nodeSelector": self
                .take(&of("NODE_SELECTOR"), "a selector", |text| Selector::parse(text).ok().map(|_| text.to_owned()))
                .unwrap_or_else(|| "all()".to_owned()),
            "disableBGPExport": self.take(&of("DISABLE_BGP_EXPORT"), FLAG, flag).unwrap_or_default(),
        });
        if *is_v4 && let Some(mode) = self.take(&of("IPIP"), MODE, mode) {
            spec["ipipMode"] = json!(mode);
        }
        let fits = |text: &str| text.parse().ok().filter(|size: &u8| blocks.0.contains(size));
        if let Some(size) = self.take(&of("BLOCK_SIZE"), blocks.1, fits) {
            spec["blockSize"] = json!(size);
        }
        let cidr = cidr??.trunc();
        spec["cidr"] = json!(cidr.to_string());
        Some(Wanted { name, cidr, spec })
    }
}

const MODE: &str = "Always, CrossSubnet or Never";

/// How packets are wrapped, in Calico's spellings, in any case.
fn mode(text: &str) -> Option<&'static str> {
    Some(match &*text.to_lowercase() {
        "off" | "never" => "Never",
        "crosssubnet" | "cross-subnet" => "CrossSubnet",
        "always" => "Always",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;

    fn of(settings: &[(&str, &str)]) -> (Vec<Wanted>, Vec<String>) {
        let find = |name: &str| settings.iter().find(|(known, _)| *known == name);
        let (wanted, faults) = read(|name| find(name).map(|(_, value)| (*value).to_owned()));
        (wanted, faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn switches_are_read_as_calico_reads_them() {
        let v4 = ("CALICO_IPV4POOL_CIDR", "10.0.0.7/16");
        for (said, means) in
            [("True", true), ("1", true), ("yes", true), ("FALSE", false), ("0", false), ("n", false)]
        {
            let settings =
                [v4, ("CALICO_IPV4POOL_NAT_OUTGOING", said), ("CALICO_IPV4POOL_DISABLE_BGP_EXPORT", said)];
            let (wanted, faults) = of(&settings);
            assert_eq!(faults, [""; 0], "{said}");
            assert_eq!(wanted[0].spec["natOutgoing"], means, "{said}");
            assert_eq!(wanted[0].spec["disableBGPExport"], means, "{said}");
            assert_eq!(wanted[0].spec["cidr"], "10.0.0.0/16");
        }
        let (wanted, _) =
            of(&[v4, ("CALICO_IPV6POOL_CIDR", "fd00:10::/48"), ("CALICO_IPV4POOL_IPIP", "off")]);
        let nat: Vec<&Value> = wanted.iter().map(|pool| &pool.spec["natOutgoing"]).collect();
        assert_eq!(nat, [true, false], "unless somebody says otherwise");
        assert_eq!(wanted[0].spec["ipipMode"], "Never");
        for mode in ["crosssubnet", "cross-subnet", "CrossSubnet"] {
            let (wanted, faults) = of(&[v4, ("CALICO_IPV4POOL_VXLAN", mode)]);
            assert_eq!((faults.len(), &wanted[0].spec["vxlanMode"]), (0, &json!("CrossSubnet")), "{mode}");
        }
        let (wanted, faults) = of(&[("CALICO_IPV4POOL_CIDR", "none"), ("NO_DEFAULT_POOLS", "TRUE")]);
        assert!(wanted.is_empty() && faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_variable_all_at_once() {
        let (_, faults) = of(&[
            ("CALICO_IPV4POOL_CIDR", "fd00::/48"),
            ("CALICO_IPV4POOL_NAT_OUTGOING", "on"),
            ("CALICO_IPV4POOL_DISABLE_BGP_EXPORT", "ja"),
            ("CALICO_IPV4POOL_VXLAN", "Sometimes"),
            ("CALICO_IPV4POOL_BLOCK_SIZE", "19"),
            ("CALICO_IPV6POOL_BLOCK_SIZE", "26"),
            ("CALICO_IPV6POOL_NODE_SELECTOR", "zone =="),
            ("NO_DEFAULT_POOLS", "on"),
        ]);
        let flag = "expected true, 1, yes, y, t or false, 0, no, n, f";
        assert_eq!(
            faults,
            [
                "CALICO_IPV4POOL_CIDR is \"fd00::/48\": expected an IPv4 range as 10.0.0.0/16, or none"
                    .to_owned(),
                "CALICO_IPV4POOL_VXLAN is \"Sometimes\": expected Always, CrossSubnet or Never".to_owned(),
                format!("CALICO_IPV4POOL_NAT_OUTGOING is \"on\": {flag}"),
                format!("CALICO_IPV4POOL_DISABLE_BGP_EXPORT is \"ja\": {flag}"),
                "CALICO_IPV4POOL_BLOCK_SIZE is \"19\": expected a number from 20 to 32".to_owned(),
                "CALICO_IPV6POOL_NODE_SELECTOR is \"zone ==\": expected a selector".to_owned(),
                "CALICO_IPV6POOL_BLOCK_SIZE is \"26\": expected a number from 116 to 128".to_owned(),
                format!("NO_DEFAULT_POOLS is \"on\": {flag}"),
            ]
        );
        let (_, faults) = of(&[("CALICO_IPV4POOL_CIDR", "10.0.0.0/16"), ("NO_DEFAULT_POOLS", "true")]);
        assert!(
            faults[0].starts_with("NO_DEFAULT_POOLS is \"true\": expected false, or neither"),
            "{faults:?}"
        );
    }

    #[test]
    fn a_family_that_has_a_pool_gets_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let options = tortie_store::embedded::Options::new(directory.path().join("db"));
        let client = Client::new(Arc::new(tortie_store::embedded::Embedded::open(options).unwrap()));
        let names = || -> Vec<String> {
            let pools = client.list(Kind::IPPool, None).unwrap().items;
            pools.iter().map(|pool| pool["metadata"]["name"].as_str().unwrap().to_owned()).collect()
        };
        make(&client, &of(&[("CALICO_IPV4POOL_CIDR", "10.0.0.0/16")]).0).unwrap();
        assert_eq!(names(), ["default-ipv4-ippool"]);
        let both = [("CALICO_IPV4POOL_CIDR", "10.9.0.0/16"), ("CALICO_IPV6POOL_CIDR", "fd00:10::/48")];
        for _ in 0..2 {
            make(&client, &of(&both).0).unwrap();
            assert_eq!(names(), ["default-ipv4-ippool", "default-ipv6-ippool"]);
        }
    }
}
