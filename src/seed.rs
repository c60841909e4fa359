//! One seed a run; every random number comes from a stream derived from it by name.
//!
//! Adding a fault or a load does not move another's numbers, because each has its own stream. The
//! generator is ChaCha8, a single coin is SplitMix64's mixing and the name hash is FNV-1a, all
//! written down, so that the same seed gives the same decisions on every platform and in every
//! version.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{fmt, str::FromStr};

/// The seed of a run, printed with every verdict so that the run can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// A fresh seed from the operating system's randomness.
    pub fn fresh() -> Self {
        Self(rand::make_rng::<ChaCha8Rng>().next_u64() >> 11)
    }

    /// The largest seed that every reader of JSON keeps as it is, a browser too.
    pub const EXACT_MAX: u64 = (1 << 53) - 1;

    /// The same seed, or where it is larger than that, the one of its first 53 bits: who is told it can
    /// give it back.
    #[must_use]
    pub const fn exact(self) -> Self {
        if self.0 > Self::EXACT_MAX {
            Self(self.0 >> 11)
        } else {
            self
        }
    }

    /// The seed of the n-th repeat of a run, from 1: the first is the run itself. It is a function of
    /// the seed and the number alone, and has as many digits as a fresh one.
    #[must_use]
    pub fn of_repeat(self, nth: u32) -> Self {
        if nth <= 1 {
            return self;
        }
        let name = name_hash(&["repeat"]);
        Self(mixed(mixed(mixed(self.0) ^ name) ^ u64::from(nth)) >> 11)
    }

    /// The stream of this name: an endless sequence of random numbers.
    pub fn stream(self, names: &[&str]) -> ChaCha8Rng {
        self.generator(name_hash(names), 0)
    }

    /// One number in [0, 1), a function of the seed, `name` and `key` alone.
    ///
    /// Every event tosses one for every fault in force, so it does not set up a generator.
    pub fn coin(self, name: u64, key: u64) -> f64 {
        let bits = mixed(mixed(mixed(self.0) ^ name) ^ key) >> 11;
        bits as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// The generator that belongs to `name` and `key`, for decisions that need several numbers.
    pub fn generator(self, name: u64, key: u64) -> ChaCha8Rng {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&name.to_le_bytes());
        bytes[16..24].copy_from_slice(&key.to_le_bytes());
        ChaCha8Rng::from_seed(bytes)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Seed {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One step of SplitMix64: a bijection in which every input bit reaches every output bit.
pub const fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// FNV-1a over the names, each closed by a zero byte so that ("a", "bc") differs from ("ab", "c").
pub fn name_hash(names: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for name in names {
        for byte in name.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_that_is_too_large_for_json_becomes_one_that_is_not() {
        for (given, said) in [
            (0, 0),
            (42, 42),
            (Seed::EXACT_MAX, Seed::EXACT_MAX),
            (Seed::EXACT_MAX + 1, 1 << 42),
            (u64::MAX, Seed::EXACT_MAX),
        ] {
            assert_eq!(Seed(given).exact(), Seed(said), "{given}");
            assert_eq!(Seed(said).exact(), Seed(said), "said again it stays");
        }
    }

    #[test]
    fn every_repeat_has_a_seed_of_its_own_and_the_first_is_the_run_itself() {
        assert_eq!(Seed(42).of_repeat(1), Seed(42));
        let seeds: std::collections::BTreeSet<u64> = [Seed(42), Seed(43)]
            .into_iter()
            .flat_map(|seed| (1..=1_000).map(move |nth| seed.of_repeat(nth).0))
            .collect();
        assert_eq!(seeds.len(), 2_000);
        // For ever: a seed in an old report must still be that of the same repeat.
        assert_eq!(Seed(42).of_repeat(2), Seed(2_199_790_341_543_394));
        assert!(seeds.iter().all(|seed| *seed < 1 << 53));
    }

    #[test]
    fn the_same_seed_and_name_give_the_same_numbers_for_ever() {
        assert_eq!(name_hash(&["load", "ask"]), name_hash(&["load", "ask"]));
        assert_ne!(name_hash(&["a", "bc"]), name_hash(&["ab", "c"]));
        let first: Vec<u64> = (0..3).map(|_| Seed(7).stream(&["x"]).next_u64()).collect();
        assert_eq!(first[0], first[2]);
        assert_ne!(
            Seed(7).stream(&["x"]).next_u64(),
            Seed(7).stream(&["y"]).next_u64()
        );
    }

    #[test]
    fn coins_are_spread_evenly() {
        let below = (0..10_000)
            .filter(|key| Seed(1).coin(2, *key) < 0.3)
            .count();
        assert!((2_800..3_200).contains(&below), "{below}");
    }

    #[test]
    fn coins_of_neighbouring_seeds_names_and_keys_have_nothing_in_common() {
        let both = |one: &dyn Fn(u64) -> f64, other: &dyn Fn(u64) -> f64| {
            (0..10_000)
                .filter(|n| one(*n) < 0.5 && other(*n) < 0.5)
                .count()
        };
        let plain = |n| Seed(1).coin(2, n);
        for other in [
            &(|n| Seed(2).coin(2, n)) as &dyn Fn(u64) -> f64,
            &|n| Seed(1).coin(3, n),
            &|n| Seed(1).coin(2, n + 1),
        ] {
            let count = both(&plain, other);
            assert!((2_300..2_700).contains(&count), "{count}");
        }
    }

    #[test]
    fn mixing_is_splitmix64_as_published() {
        assert_eq!(mixed(0), 0xe220_a839_7b1d_cdaf);
    }
}
