//! `ipam show`: how full pools and blocks are, who has an address, who borrows, and the settings.

use std::net::IpAddr;

use clap::Args;
use tortie_ipam::record::Config;
use tortie_ipam::{BlockUse, Owner, PoolUse, View};
use tortie_store::ipam;
use tortie_store::resources::Client;

use super::{address, failed, survey, view};
use crate::objects::{Failure, Store};
use crate::output::boxed::{self, Align};

/// The arguments of `ipam show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie ipam show
  tortie ipam show --show-blocks
  tortie ipam show --ip 10.65.0.192")]
pub struct Arguments {
    /// Who has this address.
    #[arg(long)]
    ip: Option<String>,
    /// Blocks too, not pools alone.
    #[arg(long)]
    show_blocks: bool,
    /// Addresses that a node has in another node's block.
    #[arg(long)]
    show_borrowed: bool,
    /// The settings.
    #[arg(long)]
    show_configuration: bool,
    #[command(flatten)]
    store: Store,
}

/// Shows it.
///
/// # Errors
/// What could not be read, or is no address.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = arguments.store.open_plainly()?;
    if let Some(ip) = arguments.ip.as_deref().filter(|ip| !ip.is_empty()) {
        print!("{}", holder(&client, address(ip)?)?);
    } else if arguments.show_borrowed && !arguments.show_blocks {
        print!("{}", borrowed(&client)?);
    } else if arguments.show_configuration && !arguments.show_blocks {
        let config = ipam::run(&**client.store(), tortie_ipam::read_settings()).map_err(failed)?;
        print!("{}", configuration(&config));
    } else {
        let view = view(&client)?;
        let pools = ipam::run(&**client.store(), tortie_ipam::utilization(view.clone())).map_err(failed)?;
        print!("{}", utilization(&view, &pools, arguments.show_blocks));
    }
    Ok(())
}

fn holder(client: &Client, address: IpAddr) -> Result<String, Failure> {
    let machine = tortie_ipam::assignment_of(view(client)?, address);
    let assignment = match ipam::run(&**client.store(), machine).map_err(failed)? {
        Ok(assignment) => assignment,
        Err(tortie_ipam::Error::DoesNotExist { .. }) => return Ok(format!("{address} is not assigned\n")),
        Err(error) => return Err(Failure::Command(error.to_string())),
    };
    let mut out = format!("IP {address} is in use\n");
    let handle = assignment.handle.as_ref().map_or("<none>", |handle| handle.as_str());
    out += &format!("Handle ID: {handle}\n");
    let titles = [
        ("Active Owner Attributes", &assignment.attributes),
        ("Alternate Owner Attributes", &assignment.alternate_attributes),
    ];
    for (title, attributes) in titles {
        if !attributes.is_empty() {
            out += &format!("{title}:\n");
        } else if title.starts_with("Active") {
            out += "No Active Owner attributes defined\n";
        }
        attributes.iter().for_each(|(key, value)| out += &format!("  {key}: {value}\n"));
    }
    Ok(out)
}

fn utilization(view: &View, pools: &[PoolUse], with_blocks: bool) -> String {
    let headings = [
        ("GROUPING", Align::Left),
        ("CIDR", Align::Left),
        ("IPS TOTAL", Align::Right),
        ("IPS IN USE", Align::Right),
        ("IPS RESERVED", Align::Right),
        ("IPS FREE", Align::Right),
        ("IPS COOLING", Align::Right),
    ];
    let mut rows = Vec::new();
    for pool in pools {
        if let Some(cidr) = pool.cidr {
            rows.push(row("IP Pool", cidr.to_string(), pool_figures(view, pool, cidr)));
        }
        if with_blocks {
            let figures = |block: &BlockUse| {
                let reserved = view.reservations.count_in(&block.cidr) as f64;
                let counts = [block.in_use, block.free, block.cooling].map(f64::from);
                [f64::from(block.capacity), counts[0], reserved, counts[1], counts[2]]
            };
            let blocks = pool.blocks.iter();
            rows.extend(blocks.map(|block| row("Block", block.cidr.to_string(), figures(block))));
        }
    }
    boxed::write(&headings, &rows)
}

/// Capacity, in use, reserved, free and cooling of a pool: its blocks', and what isn't in a block yet.
fn pool_figures(view: &View, pool: &PoolUse, cidr: ipnet::IpNet) -> [f64; 5] {
    let sum =
        |figure: fn(&BlockUse) -> u32| pool.blocks.iter().map(|block| f64::from(figure(block))).sum::<f64>();
    let capacity = 2f64.powi(i32::from(cidr.max_prefix_len() - cidr.prefix_len()));
    let reserved = view.reservations.count_in(&cidr);
    let in_blocks: u128 = pool.blocks.iter().map(|block| view.reservations.count_in(&block.cidr)).sum();
    let outside = capacity - sum(|block| block.capacity) - reserved.saturating_sub(in_blocks) as f64;
    [
        capacity,
        sum(|block| block.in_use),
        reserved as f64,
        outside + sum(|block| block.free),
        sum(|block| block.cooling),
    ]
}

fn row(grouping: &str, cidr: String, [capacity, figures @ ..]: [f64; 5]) -> Vec<String> {
    let part = |number: f64| format!("{} ({:.0}%)", five_digits(number), 100.0 * number / capacity);
    let cells = [grouping.to_owned(), cidr, five_digits(capacity)];
    cells.into_iter().chain(figures.map(part)).collect()
}

/// A count as Go's `%.5g` prints it.
fn five_digits(number: f64) -> String {
    if number < 99_999.5 {
        return format!("{number}");
    }
    let text = format!("{number:.4e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    format!("{mantissa}e+{exponent:0>2}")
}

fn borrowed(client: &Client) -> Result<String, Failure> {
    let (mut rows, mut unclassified) = (Vec::new(), 0);
    for block in survey::blocks(client).map_err(failed)?.valid {
        let owner = block.owner();
        let owner = owner.as_ref().map_or("", Owner::name);
        for (ordinal, _) in block.allocations.iter().enumerate().filter(|(_, index)| index.is_some()) {
            let allocation = survey::Allocation::of(&block, ordinal as u32);
            let Some(node) = allocation.attribute("node") else {
                unclassified += 1;
                continue;
            };
            if node == owner {
                continue;
            }
            let namespace = allocation.attribute("namespace").unwrap_or_default();
            let (kind, user) = match (allocation.attribute("vmi"), allocation.attribute("pod")) {
                (Some(machine), _) => ("vmi", format!("{namespace}/{machine}")),
                (None, Some(pod)) => ("pod", format!("{namespace}/{pod}")),
                (None, None) => (allocation.attribute("type").unwrap_or_default(), String::new()),
            };
            rows.push(vec![
                allocation.ip.clone(),
                node.to_owned(),
                block.cidr.to_string(),
                owner.to_owned(),
                kind.to_owned(),
                user,
            ]);
        }
    }
    let headings = ["IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO"];
    let mut out = boxed::write(&headings.map(|heading| (heading, Align::Left)), &rows);
    if unclassified > 0 {
        out += &format!(
            "\nNote: found {unclassified} IP allocations without an explicit node association. Unable to determine if they are borrowed.\n"
        );
    }
    Ok(out)
}

fn configuration(config: &Config) -> String {
    let persistence = match &config.vm_address_persistence {
        Some(text) => format!("{text:?}"),
        // Go's way to print what isn't there.
        None => "(*ipam.VMAddressPersistence)(nil)".to_owned(),
    };
    let rows = [
        ("StrictAffinity", config.strict_affinity.to_string()),
        ("AutoAllocateBlocks", config.auto_allocate_blocks.to_string()),
        ("MaxBlocksPerHost", config.max_blocks_per_host.to_string()),
        ("KubeVirtVMAddressPersistence", persistence),
        ("IPCooldownSeconds", config.ip_cooldown_seconds.to_string()),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    boxed::write(&[("PROPERTY", Align::Left), ("VALUE", Align::Left)], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_five_digits_at_most() {
        for (number, text) in [
            (0.0, "0"),
            (64.0, "64"),
            (65536.0, "65536"),
            (100_000.0, "1e+05"),
            (131_072.0, "1.3107e+05"),
            (2f64.powi(80), "1.2089e+24"),
        ] {
            assert_eq!(five_digits(number), text);
        }
        assert_eq!(
            row("Block", String::new(), [8.0, 3.0, 0.0, 5.0, 0.0])[3..],
            ["3 (38%)", "0 (0%)", "5 (62%)", "0 (0%)"]
        );
    }
}
