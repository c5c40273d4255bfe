//! When to try again.

use std::time::Duration;

/// The waits between tries: doubling from `first` to `max`, each shortened by up to a quarter so that messages that failed together
/// do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first try.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Tries at most.
    pub tries: i32,
}

impl Backoff {
    /// The wait after this many tries (from 1). `seed` is any number that differs between messages.
    pub fn wait(&self, tries: i32, seed: u64) -> Duration {
        let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(32);
        let full = self.first.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.max);
        let part = (mix(seed.wrapping_add((tries as u64).wrapping_mul(GOLDEN))) >> 40) as u32 % 1_000;
        full - full / 4 * part / 1_000
    }
}

/// The step of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: neighbouring numbers give unrelated ones.
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(GOLDEN);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_double_and_stay_in_bounds(tries in 1..60i32, seed: u64) {
            let backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_secs(900), tries: 12 };
            let full = Duration::from_secs(2).saturating_mul(1 << (tries - 1).min(20)).min(backoff.max);
            let wait = backoff.wait(tries, seed);
            prop_assert!(wait <= full && wait >= full * 3 / 4, "{wait:?} of {full:?}");
        }
    }
}
