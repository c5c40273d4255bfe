use proptest::prelude::*;

use super::*;

const PROBE: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000 + seconds)
}

fn opened() -> Breaker {
    let mut breaker = Breaker::new(PROBE);
    for number in 1..=5 {
        assert_eq!(breaker.failed(at(0), None), number == 5);
    }
    breaker
}

#[test]
fn five_failures_in_a_row_open_it() {
    let mut breaker = opened();
    assert_eq!(breaker.state(at(0)), BreakerState::Open);
    assert_eq!(breaker.admit(at(29), 0, 10), Admission::No);
    assert_eq!(breaker.closed_until(at(29)), Some(at(30)));
}

#[test]
fn more_than_half_of_twenty_open_it() {
    let mut breaker = Breaker::new(PROBE);
    // Nine good ones first, then failures with a good one between: ten of twenty do not, the eleventh does.
    (0..9).for_each(|_| breaker.answered(at(0)));
    for number in 1..=10 {
        assert!(!breaker.failed(at(0), None), "{number}");
        if number % 4 == 0 {
            breaker.answered(at(0));
        }
    }
    assert!(breaker.failed(at(0), None));
}

#[test]
fn one_message_finds_out_each_time() {
    let mut breaker = opened();
    assert_eq!(breaker.admit(at(30), 3, 10), Admission::Probe);
    assert_eq!(breaker.state(at(30)), BreakerState::HalfOpen);
    assert_eq!(breaker.admit(at(30), 4, 10), Admission::No, "one at a time");
    assert!(breaker.failed(at(31), None));
    assert_eq!(breaker.admit(at(60), 0, 10), Admission::No);
    assert_eq!(breaker.admit(at(61), 0, 10), Admission::Probe);
    breaker.unused_probe(at(61));
    assert_eq!(breaker.admit(at(61), 0, 10), Admission::Probe, "nobody was there to be sent");
    assert_eq!(breaker.admit(at(91), 1, 10), Admission::Probe, "the one before was never heard of");
}

#[test]
fn places_grow_after_an_answer() {
    let mut breaker = opened();
    assert_eq!(breaker.admit(at(30), 0, 10), Admission::Probe);
    breaker.answered(at(31));
    for (second, room) in [(31, 1), (32, 2), (33, 4), (34, 8), (35, 10)] {
        assert_eq!(breaker.admit(at(second), room - 1, 10), Admission::Yes, "{second}");
        assert_eq!(breaker.admit(at(second), room, 10), Admission::No, "{second}");
    }
    assert_eq!(breaker.state(at(35)), BreakerState::Closed);
}

#[test]
fn a_failure_while_growing_begins_again_and_two_open_it() {
    let mut breaker = opened();
    breaker.admit(at(30), 0, 10);
    breaker.answered(at(31));
    assert!(!breaker.failed(at(34), None));
    assert_eq!(breaker.admit(at(34), 1, 10), Admission::No);
    assert!(breaker.failed(at(34), None));
    assert_eq!(breaker.state(at(34)), BreakerState::Open);
}

#[test]
fn refused_credentials_pause_it_for_twice_as_long() {
    let mut breaker = Breaker::new(PROBE);
    assert!(breaker.unauthorized(at(0)));
    assert!(!breaker.unauthorized(at(0)), "said once");
    assert_eq!(breaker.state(at(59)), BreakerState::Paused);
    assert_eq!(breaker.admit(at(60), 0, 10), Admission::Probe);
    assert!(!breaker.unauthorized(at(61)));
    assert_eq!(breaker.admit(at(120), 0, 10), Admission::No);
    assert_eq!(breaker.admit(at(121), 0, 10), Admission::Probe);
    breaker.answered(at(121));
    assert_eq!(breaker.state(at(121)), BreakerState::HalfOpen);
}

#[test]
fn it_waits_as_long_as_the_provider_asked() {
    let mut breaker = Breaker::new(PROBE);
    (0..5).for_each(|_| {
        breaker.failed(at(0), Some(Duration::from_secs(100)));
    });
    assert_eq!(breaker.closed_until(at(0)), Some(at(100)));
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Wait(u16),
    Ask,
    Answer,
    Fail,
    Unauthorized,
    Unused,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        (0u16..40_000).prop_map(Move::Wait),
        Just(Move::Ask),
        Just(Move::Ask),
        Just(Move::Answer),
        Just(Move::Fail),
        Just(Move::Fail),
        Just(Move::Unauthorized),
        Just(Move::Unused),
    ]
}

proptest! {
    /// Whatever happens: no more go than there are places, an open breaker lets nothing through, and none stays open for ever.
    #[test]
    fn it_never_lets_too_many_through_and_always_asks_again(moves in prop::collection::vec(any_move(), 0..200), places in 1usize..50) {
        let (mut breaker, mut now, mut flight) = (Breaker::new(PROBE), at(0), 0usize);
        for one in moves {
            match one {
                Move::Wait(millis) => now = now.plus(Duration::from_millis(millis.into())),
                Move::Ask => {
                    let shut = breaker.closed_until(now);
                    match breaker.admit(now, flight, places) {
                        Admission::No => {}
                        Admission::Yes => {
                            prop_assert!(flight < places && shut.is_none());
                            flight += 1;
                        }
                        Admission::Probe => {
                            prop_assert!(shut.is_none());
                            flight += 1;
                        }
                    }
                }
                Move::Answer => { breaker.answered(now); flight = flight.saturating_sub(1); }
                Move::Fail => { breaker.failed(now, None); flight = flight.saturating_sub(1); }
                Move::Unauthorized => { breaker.unauthorized(now); flight = flight.saturating_sub(1); }
                Move::Unused => breaker.unused_probe(now),
            }
            if let Some(until) = breaker.closed_until(now) {
                prop_assert!(until <= now.plus(PROBE * 2));
            }
        }
        // Left alone, with answers: it lets everything through again within the longest rest and the ramp.
        let mut later = now.plus(PROBE * 2);
        if breaker.admit(later, 0, places) == Admission::Probe {
            breaker.answered(later);
        }
        later = later.plus(Duration::from_secs(10));
        prop_assert_ne!(breaker.admit(later, places - 1, places), Admission::No);
        prop_assert_eq!(breaker.state(later), BreakerState::Closed);
    }
}
