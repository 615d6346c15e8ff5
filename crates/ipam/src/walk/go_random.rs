//! Go's seeded random numbers, as far as the walk needs them: the additive lagged Fibonacci generator of `math/rand` and
//! the uniform choice of `math/big`. Only the numbers matter: a host that changes from Calico to Tortie walks the same
//! blocks in the same order. Not for anything that must be unpredictable.

use super::cooked::COOKED;

/// Length of the register.
const LENGTH: usize = COOKED.len();
/// Distance of the two terms that are added.
const TAP: usize = 273;
/// Modulus of the seeding generator: 2^31 - 1.
const MODULUS: u64 = (1 << 31) - 1;

/// A seeded generator.
pub(super) struct GoRandom {
    register: [u64; LENGTH],
    tap: usize,
    feed: usize,
}

impl GoRandom {
    /// The generator that Go makes of `seed`, which here is never negative.
    pub(super) fn new(seed: u64) -> Self {
        let register = seeded(seed, [40, 20], |index| COOKED[index]);
        GoRandom { register, tap: 0, feed: LENGTH - TAP }
    }

    /// Uniform in `0..bound`, drawn as `math/big` does: whole words, masked to the bits of `bound`, until one is below.
    /// `bound` is at least 1.
    pub(super) fn below(&mut self, bound: u128) -> u128 {
        let bits = 128 - bound.leading_zeros();
        let mask = u128::MAX >> (128 - bits);
        loop {
            let mut value = u128::from(self.word());
            if bits > 64 {
                value |= u128::from(self.word()) << 64;
            }
            if value & mask < bound {
                return value & mask;
            }
        }
    }

    /// A word of 64 bits from two draws, low half first.
    fn word(&mut self) -> u64 {
        let low = self.draw();
        low | self.draw() << 32
    }

    /// 32 bits: the upper ones of the 63 that a step gives.
    fn draw(&mut self) -> u64 {
        (self.step() & (u64::MAX >> 1)) >> 31
    }

    fn step(&mut self) -> u64 {
        self.tap = (self.tap + LENGTH - 1) % LENGTH;
        self.feed = (self.feed + LENGTH - 1) % LENGTH;
        let sum = self.register[self.feed].wrapping_add(self.register[self.tap]);
        self.register[self.feed] = sum;
        sum
    }
}

/// Fills a register from a seed: three draws of a Lehmer generator for each number, shifted as `shifts` say and combined
/// with `whitening`.
fn seeded(seed: u64, shifts: [u32; 2], whitening: impl Fn(usize) -> u64) -> [u64; LENGTH] {
    let mut lehmer = match seed % MODULUS {
        0 => 89_482_311,
        other => other,
    };
    let mut next = || {
        lehmer = 48_271 * lehmer % MODULUS;
        lehmer
    };
    for _ in 0..20 {
        next();
    }
    std::array::from_fn(|index| next() << shifts[0] ^ next() << shifts[1] ^ next() ^ whitening(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A polynomial over the integers modulo 2^64, reduced by x^607 = x^334 + 1, which is the generator's recurrence.
    type Polynomial = Vec<u64>;

    fn reduce(mut product: Vec<u64>) -> Polynomial {
        for power in (LENGTH..product.len()).rev() {
            let coefficient = product[power];
            product[power - LENGTH] = product[power - LENGTH].wrapping_add(coefficient);
            let lagged = power - TAP;
            product[lagged] = product[lagged].wrapping_add(coefficient);
        }
        product.truncate(LENGTH);
        product
    }

    fn square(polynomial: &Polynomial) -> Polynomial {
        let mut product = vec![0_u64; 2 * LENGTH - 1];
        for (i, a) in polynomial.iter().enumerate() {
            for (j, b) in polynomial.iter().enumerate() {
                product[i + j] = product[i + j].wrapping_add(a.wrapping_mul(*b));
            }
        }
        reduce(product)
    }

    #[test]
    fn the_table_is_the_raw_generators_state_after_7_8e12_steps() {
        let steps: u64 = 7_800_000_000_000;
        let start = seeded(1, [20, 10], |_| 0);
        // In the order in which the steps read the register; step k reads and then overwrites place (333 - k) mod 607.
        let place =
            |k: u64| ((LENGTH as u64 - TAP as u64 - 1 + LENGTH as u64) - k % LENGTH as u64) as usize % LENGTH;
        let mut sequence: Vec<u64> = (0..LENGTH as u64).map(|k| start[place(k)]).collect();
        for n in 0..LENGTH {
            sequence.push(sequence[n].wrapping_add(sequence[n + LENGTH - TAP]));
        }
        let mut power: Polynomial = vec![0; LENGTH];
        power[0] = 1;
        for bit in (0..u64::BITS - steps.leading_zeros()).rev() {
            power = square(&power);
            if steps >> bit & 1 == 1 {
                power.insert(0, 0);
                power = reduce(power);
            }
        }
        for j in 0..LENGTH {
            let term =
                (0..LENGTH).fold(0_u64, |sum, i| sum.wrapping_add(power[i].wrapping_mul(sequence[i + j])));
            assert_eq!(COOKED[place(steps + j as u64)], term, "number {j} after the jump");
        }
    }

    #[test]
    fn draws_are_gos() {
        // rand.New(rand.NewSource(1)).Uint32(), four times, as printed by Go.
        let mut random = GoRandom::new(1);
        let drawn: Vec<u64> = (0..4).map(|_| random.draw()).collect();
        assert_eq!(drawn, [2_596_996_162, 4_039_455_774, 2_854_263_694, 1_879_968_118]);
    }
}
