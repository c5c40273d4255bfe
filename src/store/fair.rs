//! Who gets how many of the places that are free: each tenant that waits, in turn, by its weight.

/// The shares of `room` places among those who wait, in their order; those late in a small room get none and are the first next
/// time. A weight of 0 counts as 1.
pub(super) fn shares(room: usize, weights: &[u32]) -> Vec<usize> {
    let weight = |weight: &u32| u64::from((*weight).max(1));
    let all: u64 = weights.iter().map(weight).sum();
    // One for each first: whoever waits is not skipped for being small. The rest by weight.
    let rest = room.saturating_sub(weights.len());
    let part = |one: &u32| usize::try_from(rest as u64 * weight(one) / all.max(1)).unwrap_or(0);
    let mut shares: Vec<usize> =
        weights.iter().enumerate().map(|(index, one)| usize::from(index < room) + part(one)).collect();
    // What rounding left goes to the first.
    let left = room - shares.iter().sum::<usize>();
    if let Some(first) = shares.first_mut() {
        *first += left;
    }
    shares
}

/// Turns a list so that whoever comes after `last` is in front.
pub(super) fn turn<T>(list: &mut [T], last: Option<&str>, name: impl Fn(&T) -> &str) {
    let Some(last) = last else { return };
    let next = list.iter().position(|one| name(one) == last).map_or(0, |index| index + 1);
    if next < list.len() {
        list.rotate_left(next);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_gets_its_part() {
        assert_eq!(shares(256, &[1]), [256]);
        assert_eq!(shares(10, &[1, 1]), [5, 5]);
        assert_eq!(shares(102, &[3, 1]), [76, 26]);
        assert_eq!(shares(2, &[1, 1, 1]), [1, 1, 0]);
        assert_eq!(shares(10, &[1000, 1, 1]), [8, 1, 1]);
        assert_eq!(shares(5, &[]), [0usize; 0]);
    }

    #[test]
    fn turns_go_round() {
        let order = |last| {
            let mut list = vec!["a", "b", "c"];
            turn(&mut list, last, |one| one);
            list.concat()
        };
        assert_eq!(order(None), "abc");
        assert_eq!(order(Some("a")), "bca");
        assert_eq!(order(Some("c")), "abc");
        // Gone in between: from the front.
        assert_eq!(order(Some("bb")), "abc");
    }

    proptest! {
        #[test]
        fn no_place_is_lost_or_made(room in 0usize..2_000, weights in prop::collection::vec(0u32..1_000, 1..100)) {
            let shares = shares(room, &weights);
            prop_assert_eq!(shares.iter().sum::<usize>(), room);
            prop_assert!(shares.iter().take(room).all(|share| *share > 0));
        }
    }
}
