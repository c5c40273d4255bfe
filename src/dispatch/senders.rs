//! A limit for each sender address: ten thousand slow lanes, each a few numbers. Pure: the time is an argument.
//!
//! A message that has to wait is given its time when it asks first, and comes back at that time: no timer, no task, and in the
//! order in which they asked. What comes at its given time passes, unless a pause has let several times go by at once.

use std::{collections::HashMap, time::Duration};

use crate::model::Timestamp;

/// Below this many lanes nobody looks for those that are not used any more.
const FEW: usize = 4_096;

/// The lanes of one provider.
#[derive(Debug)]
pub(super) struct Senders {
    every: Duration,
    lanes: HashMap<Box<str>, Lane>,
    /// Look for unused lanes when there are so many.
    look_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    /// The first time that is not given away.
    free: Timestamp,
    /// When the next would go if those that went had gone evenly.
    next: Timestamp,
}

impl Senders {
    /// One message of each sender in this time.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, lanes: HashMap::new(), look_at: FEW }
    }

    /// Asks for a message of this sender to go now. `given`: it comes at a time that it was given before.
    ///
    /// # Errors
    /// The time at which it may go. That time is its own now.
    pub(super) fn pass(
        &mut self,
        sender: &str,
        given: bool,
        now: Timestamp,
        share: u32,
    ) -> Result<(), Timestamp> {
        let every = self.every * share.max(1);
        let lane = self.lane(sender, now);
        // One more than evenly: times are met a little late, never early.
        let even = lane.next.minus(every) <= now;
        if even && (given || lane.free <= now) {
            lane.next = lane.next.max(now).plus(every);
            lane.free = lane.free.max(now.plus(every));
            return Ok(());
        }
        Err(lane.give(now, every))
    }

    /// The time of a message that is accepted: now, when nobody of its sender waits. It asks once more when it goes.
    pub(super) fn book(&mut self, sender: &str, now: Timestamp, share: u32) -> Timestamp {
        let every = self.every * share.max(1);
        self.lane(sender, now).give(now, every)
    }

    fn lane(&mut self, sender: &str, now: Timestamp) -> &mut Lane {
        if self.lanes.len() >= self.look_at && !self.lanes.contains_key(sender) {
            self.lanes.retain(|_, lane| lane.free > now || lane.next > now);
            self.look_at = (self.lanes.len() * 2).max(FEW);
        }
        if !self.lanes.contains_key(sender) {
            self.lanes.insert(sender.into(), Lane { free: now, next: now });
        }
        self.lanes.entry(sender.into()).or_insert(Lane { free: now, next: now })
    }
}

impl Lane {
    fn give(&mut self, now: Timestamp, every: Duration) -> Timestamp {
        let at = self.free.max(now);
        self.free = at.plus(every);
        at
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    fn at(millis: i64) -> Timestamp {
        Timestamp(1_000_000_000 + millis * 1_000)
    }

    #[test]
    fn each_waits_once_and_for_its_own_time() {
        let mut senders = Senders::new(EVERY);
        assert_eq!(senders.pass("a", false, at(0), 1), Ok(()));
        let times: Vec<_> = (0..3).map(|_| senders.pass("a", false, at(10), 1).unwrap_err()).collect();
        assert_eq!(times, [at(1_000), at(2_000), at(3_000)]);
        assert_eq!(senders.book("a", at(20), 1), at(4_000));
        assert_eq!(senders.pass("b", false, at(20), 1), Ok(()), "another sender does not wait");
        for (late, time) in [1, 40, 3, 0].into_iter().zip([1_000, 2_000, 3_000, 4_000]) {
            assert_eq!(senders.pass("a", true, at(time + late), 1), Ok(()));
        }
        assert_eq!(senders.book("a", at(5_100), 1), at(5_100));
        assert_eq!(senders.pass("a", true, at(5_100), 1), Ok(()));
    }

    #[test]
    fn times_that_passed_together_do_not_go_together() {
        let mut senders = Senders::new(EVERY);
        let went = (0..60).filter(|_| senders.pass("a", true, at(60_000), 1).is_ok()).count();
        assert_eq!(went, 2);
    }

    #[test]
    fn lanes_that_are_not_used_are_forgotten() {
        let mut senders = Senders::new(EVERY);
        for number in 0..100_000i64 {
            senders.pass(&format!("sender {number}"), false, at(number), 1).unwrap();
        }
        assert!(senders.lanes.len() <= FEW, "{}", senders.lanes.len());
    }

    proptest! {
        /// Messages of a few senders come when they like. Each waits at most once, those of one sender go in their order, and in no
        /// stretch of time go more than the rate allows and one.
        #[test]
        fn lanes_keep_their_rate_and_their_order(arrivals in prop::collection::vec((0i64..20_000, 0usize..3), 1..150)) {
            let mut senders = Senders::new(EVERY);
            let names = ["a", "b", "c"];
            // (time, number of the message, sender, was given a time)
            let mut agenda: BTreeSet<(Timestamp, usize, usize, bool)> =
                arrivals.iter().enumerate().map(|(number, (time, sender))| (at(*time), number, *sender, false)).collect();
            let mut gone: [Vec<Timestamp>; 3] = Default::default();
            let mut asked: [Vec<usize>; 3] = Default::default();
            let mut order: [Vec<usize>; 3] = Default::default();
            while let Some((now, number, sender, given)) = agenda.pop_first() {
                if !given {
                    asked[sender].push(number);
                }
                match senders.pass(names[sender], given, now, 1) {
                    Ok(()) => {
                        gone[sender].push(now);
                        order[sender].push(number);
                    }
                    Err(at) => {
                        prop_assert!(!given, "{number} waits a second time");
                        prop_assert!(at > now);
                        agenda.insert((at, number, sender, true));
                    }
                }
            }
            for sender in 0..3 {
                prop_assert_eq!(&asked[sender], &order[sender]);
                let pairs = gone[sender].windows(2).all(|pair| pair[1].since(pair[0]) >= EVERY);
                prop_assert!(pairs, "{:?}", gone[sender]);
            }
        }
    }
}
