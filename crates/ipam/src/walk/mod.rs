//! The order in which a host looks at the blocks of a pool.
//!
//! A host begins at a place that only depends on its name and on the number of blocks, then goes up and around, so that
//! hosts spread over the pool and each tries the same blocks again after a crash. The place is Calico's, number for number
//! (FNV-1 of the name, Go's seeded generator). Blocks of a single address begin anywhere. Next hop: `claim`.

mod cooked;
mod go_random;

use ipnet::IpNet;

use crate::net::{self, Family};
use go_random::GoRandom;

/// All blocks of a pool, each once, in a host's order.
#[derive(Debug, Clone)]
pub struct Walk {
    pool: IpNet,
    block_size: u8,
    blocks: u128,
    start: u128,
    taken: u128,
}

impl Walk {
    /// The walk of `host` through `pool` in blocks of prefix length `block_size`; `random` (nanoseconds of a clock will do)
    /// decides where blocks of one address begin. A pool that is smaller than a block has none.
    pub fn new(pool: IpNet, block_size: u8, host: &str, random: u64) -> Self {
        let family = Family::of(pool.addr());
        let exponent = u32::from(block_size.saturating_sub(pool.prefix_len()));
        let blocks = if block_size < pool.prefix_len() {
            0
        } else {
            1_u128.checked_shl(exponent).unwrap_or(u128::MAX)
        };
        let seed = if block_size == family.bits() { random >> 1 } else { u64::from(fnv1(host)) };
        let start = if blocks == 0 { 0 } else { GoRandom::new(seed).below(blocks) };
        Walk { pool, block_size, blocks, start, taken: 0 }
    }

    /// How many steps from the beginning of the walk `block` is met; `None` if it isn't a block of this pool.
    pub fn position(&self, block: &IpNet) -> Option<u128> {
        if block.prefix_len() != self.block_size || !self.pool.contains(block) {
            return None;
        }
        let index = net::distance(self.pool.network(), block.network()) >> self.address_bits();
        Some(if index >= self.start { index - self.start } else { self.blocks - self.start + index })
    }

    /// Leaves out the blocks that follow as long as they are inside `cidr`, which holds the last block that was returned.
    pub fn skip_within(&mut self, cidr: &IpNet) {
        let Some(last) = self.taken.checked_sub(1) else { return };
        let index = self.index(last);
        let last_inside = net::distance(self.pool.network(), cidr.broadcast()) >> self.address_bits();
        let to_end = self.blocks - 1;
        if !cidr.contains(&self.pool) && last_inside <= to_end {
            self.taken += last_inside.saturating_sub(index);
        } else {
            self.taken += to_end - index;
        }
    }

    fn index(&self, taken: u128) -> u128 {
        let to_wrap = self.blocks - self.start;
        if taken < to_wrap { self.start + taken } else { taken - to_wrap }
    }

    fn address_bits(&self) -> u32 {
        u32::from(Family::of(self.pool.addr()).bits() - self.block_size)
    }
}

impl Iterator for Walk {
    type Item = IpNet;

    fn next(&mut self) -> Option<IpNet> {
        if self.taken >= self.blocks {
            return None;
        }
        let index = self.index(self.taken);
        self.taken += 1;
        let address = net::plus(self.pool.network(), index << self.address_bits());
        Some(net::block_of(address, self.block_size))
    }
}

/// The 32-bit FNV-1 hash.
fn fnv1(text: &str) -> u32 {
    text.bytes().fold(2_166_136_261, |hash: u32, byte| hash.wrapping_mul(16_777_619) ^ u32::from(byte))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn hosts_begin_where_calicos_do() {
        // FNV-1 of the name, rand.NewSource and big.Int.Rand of 2^bits, as printed by Go.
        let table: [(&str, u8, u128); 16] = [
            ("node-a", 0, 0),
            ("node-a", 1, 1),
            ("node-a", 4, 10),
            ("node-a", 10, 698),
            ("node-a", 26, 45_801_418),
            ("node-a", 58, 251_070_522_519_304_890),
            ("node-a", 64, 6_184_260_463_428_163_074),
            ("node-b", 4, 9),
            ("node-b", 10, 873),
            ("node-c", 1, 0),
            ("node-c", 58, 275_078_645_721_938_319),
            ("node-c", 64, 9_645_289_776_613_698_183),
            ("worker-17", 4, 5),
            ("worker-17", 26, 54_374_770),
            ("worker-17", 64, 16_426_074_815_023_499_975),
            ("", 10, 271),
        ];
        for (host, bits, start) in table {
            let walk = Walk::new("fd00::/48".parse().unwrap(), 48 + bits, host, 0);
            assert_eq!(walk.start, start, "{host:?} among 2^{bits} blocks");
        }
    }

    #[test]
    fn a_walk_meets_each_block_once_and_knows_their_positions() {
        let walk = Walk::new("10.10.0.0/24".parse().unwrap(), 28, "node-a", 0);
        let blocks: Vec<IpNet> = walk.clone().collect();
        assert_eq!(blocks.len(), 16);
        assert_eq!(blocks[0], "10.10.0.160/28".parse().unwrap());
        assert_eq!(blocks[6], "10.10.0.0/28".parse().unwrap());
        for (position, block) in blocks.iter().enumerate() {
            assert_eq!(walk.position(block), Some(position as u128));
        }
        assert_eq!(walk.position(&"10.11.0.0/28".parse().unwrap()), None);
    }

    #[test]
    fn a_reserved_net_is_left_in_one_step() {
        let mut walk = Walk::new("10.10.0.0/24".parse().unwrap(), 28, "node-a", 0);
        assert_eq!(walk.next(), Some("10.10.0.160/28".parse().unwrap()));
        walk.skip_within(&"10.10.0.128/26".parse().unwrap());
        assert_eq!(walk.next(), Some("10.10.0.192/28".parse().unwrap()));
        walk.skip_within(&"10.0.0.0/8".parse().unwrap());
        assert_eq!(
            walk.next(),
            Some("10.10.0.0/28".parse().unwrap()),
            "the rest below the start is looked at again"
        );
    }
}
