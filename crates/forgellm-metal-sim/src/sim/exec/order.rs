//! A small generator of pseudo-random orders (`SplitMix64`, Steele, Lea and Flood 2014): same seed, same order.

/// The state of a generator.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Order(u64);

impl Order {
    pub(in crate::sim) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Another generator, whose orders have nothing to do with those of this one.
    pub(in crate::sim) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `bound`, which is not 0.
    pub(in crate::sim) fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u32
    }

    /// Where `index` goes in a permutation of `0..count`: a different one for each generator, the same for all calls.
    pub(in crate::sim) fn permute(&self, index: u32, count: u32) -> u32 {
        let mut random = *self;
        let start = u64::from(random.below(count));
        let mut step = u64::from(random.below(count)) + 1;
        while greatest_common_divisor(step, u64::from(count)) != 1 {
            step += 1;
        }
        ((start + u64::from(index) * (step % u64::from(count))) % u64::from(count)) as u32
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_hold_every_index_once_and_differ_by_seed() {
        for count in [1, 2, 6, 30, 97] {
            for seed in 0..20 {
                let mut seen: Vec<u32> = (0..count).map(|i| Order::new(seed).permute(i, count)).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..count).collect::<Vec<_>>());
            }
        }
        let of = |seed| (0..30).map(|i| Order::new(seed).permute(i, 30)).collect::<Vec<_>>();
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn numbers_are_below_their_bound_and_reach_it() {
        let mut order = Order::new(7);
        let seen: std::collections::BTreeSet<u32> = (0..1000).map(|_| order.below(8)).collect();
        assert_eq!(seen, (0..8).collect());
    }
}
