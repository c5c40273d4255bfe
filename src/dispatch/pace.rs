//! How fast a provider is asked: its configured rate, and what is left of it after it said "too fast". Pure: the time is an argument.

use std::time::Duration;

use super::breaker::LONGEST;
use crate::model::Timestamp;

/// So many in this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

impl Rate {
    /// The time from one to the next.
    pub fn every(self) -> Duration {
        (self.per / self.count.max(1)).max(Duration::from_micros(1))
    }
}

/// How long to leave a provider alone that says "too fast" without saying how long.
const THROTTLED: Duration = Duration::from_secs(5);
/// The whole speed.
const FULL: u32 = 64;
/// So long after it was slowed a provider gets back one part of [`FULL`].
const RECOVERY: Duration = Duration::from_secs(1);

/// What is left of a provider's speed: halved each time it says "too fast", and growing by one 64th each second after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// It asked to be left alone until then.
    until: Option<Timestamp>,
    /// Of [`FULL`], as of `since`.
    share: u32,
    since: Timestamp,
}

impl Default for Pace {
    fn default() -> Self {
        Self { until: None, share: FULL, since: Timestamp(0) }
    }
}

impl Pace {
    /// Until when it is left alone, when that is so now.
    pub(super) fn resting_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|until| *until > now)
    }

    /// It said "too fast". What was under way at that moment and hears the same says nothing new.
    pub(super) fn throttled(&mut self, now: Timestamp, asked: Option<Duration>) {
        let until = now.plus(asked.unwrap_or(THROTTLED).min(LONGEST));
        if self.resting_until(now).is_none() {
            self.share = (self.share(now) / 2).max(1);
        }
        self.until = Some(self.resting_until(now).map_or(until, |have| have.max(until)));
        self.since = self.until.unwrap_or(now);
    }

    /// What it may get now, in 64ths.
    fn share(&self, now: Timestamp) -> u32 {
        let parts = now.since(self.since).as_micros() / RECOVERY.as_micros();
        self.share.saturating_add(u32::try_from(parts).unwrap_or(FULL)).min(FULL)
    }

    /// What is left of so many places: at least one.
    pub(super) fn places(&self, now: Timestamp, places: usize) -> usize {
        (places * self.share(now) as usize / FULL as usize).max(1)
    }

    /// What becomes of the time from one hand-off to the next.
    pub(super) fn stretch(&self, now: Timestamp, every: Duration) -> Duration {
        every * FULL / self.share(now).max(1)
    }
}

/// Lets hand-offs through at a rate, with a few at once after a pause (the generic cell rate algorithm: one number is the state).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    burst: u32,
    /// When the next one would go if they went evenly.
    next: Timestamp,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(burst: u32) -> Self {
        Self { burst: burst.max(1), next: Timestamp(0) }
    }

    /// When the next one may go.
    pub(super) fn free_at(&self, every: Duration) -> Timestamp {
        self.next.minus(every * (self.burst - 1))
    }

    /// Takes a place in time, if there is one now.
    pub(super) fn take(&mut self, now: Timestamp, every: Duration) -> bool {
        let free = self.free_at(every) <= now;
        if free {
            self.next = self.next.max(now).plus(every);
        }
        free
    }

    /// Gives one back that was not used.
    pub(super) fn give_back(&mut self, every: Duration) {
        self.next = self.next.minus(every);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000 + seconds)
    }

    #[test]
    fn a_throttle_halves_the_speed_once_and_it_comes_back_step_by_step() {
        let mut pace = Pace::default();
        assert_eq!(pace.places(at(0), 64), 64);
        pace.throttled(at(0), Some(Duration::from_secs(10)));
        pace.throttled(at(0), Some(Duration::from_secs(3)));
        assert_eq!(pace.resting_until(at(9)), Some(at(10)), "the longer wait holds");
        assert_eq!(pace.resting_until(at(10)), None);
        let places: Vec<_> = [10, 11, 20, 42, 99].map(|second| pace.places(at(second), 64)).into();
        assert_eq!(places, [32, 33, 42, 64, 64]);
        pace.throttled(at(20), None);
        assert_eq!((pace.resting_until(at(20)), pace.places(at(25), 64)), (Some(at(25)), 21));
        let second = Duration::from_secs(1);
        assert_eq!(pace.stretch(at(36), second), second * 2, "32 of 64");
        (0..20).for_each(|number| pace.throttled(at(100 + number * 6), None));
        assert!(pace.places(at(219), 64) >= 1 && pace.places(at(219), 2) == 1);
    }

    #[test]
    fn nobody_is_left_alone_for_longer_than_an_hour() {
        let mut pace = Pace::default();
        pace.throttled(at(0), Some(Duration::from_secs(1_000_000)));
        assert_eq!(pace.resting_until(at(0)), Some(at(3_600)));
    }

    proptest! {
        /// In no stretch of time do more go than the rate and the burst allow; asked often enough, all of them go.
        #[test]
        fn a_bucket_keeps_its_rate(
            burst in 1u32..20,
            every in 1u64..1_000,
            steps in prop::collection::vec(0u64..3_000, 1..300),
        ) {
            let every = Duration::from_millis(every);
            let (mut bucket, mut now) = (Bucket::new(burst), at(0));
            let mut gone: Vec<Timestamp> = Vec::new();
            for step in steps {
                now = now.plus(Duration::from_millis(step));
                let free = bucket.free_at(every);
                let mut taken = 0;
                while bucket.take(now, every) {
                    gone.push(now);
                    taken += 1;
                    prop_assert!(taken <= burst);
                }
                prop_assert_eq!(taken > 0, free <= now);
                // One that is not used changes nothing.
                let next = bucket.free_at(every);
                if bucket.take(next, every) {
                    bucket.give_back(every);
                    prop_assert!(bucket.free_at(every) <= next.max(now));
                }
            }
            for (index, from) in gone.iter().enumerate() {
                for (count, to) in gone[index..].iter().enumerate() {
                    let allowed = u128::from(burst) + to.since(*from).as_micros() / every.as_micros();
                    prop_assert!(count as u128 <= allowed, "{} in {:?}", count + 1, to.since(*from));
                }
            }
        }
    }
}
