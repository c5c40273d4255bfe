#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn fact() -> impl Strategy<Value = Fact> {
    let at = (0i64..50).prop_map(Timestamp);
    let reason = prop::sample::select(Reason::ALL.to_vec());
    prop_oneof![
        at.clone().prop_map(Fact::Accepted),
        at.clone().prop_map(Fact::Queued),
        at.clone().prop_map(Fact::HandedOff),
        at.clone().prop_map(Fact::Delivered),
        at.clone().prop_map(Fact::Read),
        at.clone().prop_map(Fact::Cancelled),
        at.clone().prop_map(Fact::Expired),
        (at, reason, prop::option::of("[a-c]")).prop_map(|(at, reason, code)| Fact::Failed(Failure {
            at,
            reason,
            code,
            detail: None
        })),
    ]
}

fn channel() -> impl Strategy<Value = Channel> {
    prop::sample::select(Channel::ALL.to_vec())
}

fn learn(facts: &[Fact]) -> (Facts, usize) {
    let mut known = Facts::default();
    let events = facts.iter().filter(|fact| known.learn((*fact).clone())).count();
    (known, events)
}

/// Facts of one kind are one fact: they have one event between them.
fn kind(fact: &Fact) -> std::mem::Discriminant<Fact> {
    std::mem::discriminant(fact)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn order_and_repetition_change_nothing(
        (facts, shuffled) in prop::collection::vec(fact(), 0..12).prop_flat_map(|facts| {
            let twice: Vec<Fact> = facts.iter().chain(&facts).cloned().collect();
            (Just(facts), Just(twice).prop_shuffle())
        }),
        channel in channel(),
    ) {
        let (one, events) = learn(&facts);
        let (other, events_too) = learn(&shuffled);
        prop_assert_eq!(status(&one, channel), status(&other, channel));
        prop_assert_eq!(one, other);
        let kinds: std::collections::HashSet<_> = facts.iter().map(kind).collect();
        prop_assert_eq!((events, events_too), (kinds.len(), kinds.len()));
    }

    #[test]
    fn progress_only_grows(facts in prop::collection::vec(fact(), 0..12), channel in channel()) {
        let progress = |status| match status {
            Status::Draft | Status::Scheduled | Status::Queued => 0,
            Status::Cancelled | Status::Expired => 0,
            Status::Sent => 1,
            // A bounce is where an e-mail may go from DELIVERED; reading is where it may come back from.
            Status::Failed => 2,
            Status::Delivered => 2,
            Status::Read => 3,
        };
        let (mut known, mut before) = (Facts::default(), Status::Draft);
        for fact in facts {
            // Cancelling and expiring are decisions of ours, taken only while nothing happened: `verbs` sees to it.
            let ours = matches!(fact, Fact::Cancelled(_) | Fact::Expired(_));
            if ours && (known.is_out() || known.failed.is_some()) {
                continue;
            }
            known.learn(fact);
            let now = status(&known, channel);
            prop_assert!(progress(now) >= progress(before), "{before} -> {now}");
            before = now;
        }
    }
}

/// Every permutation of the callbacks of one message, each also doubled: the four events of the reliability rules.
#[test]
fn every_permutation_ends_in_the_same_status() {
    let failure = Failure { at: Timestamp(4), reason: Reason::Undelivered, code: None, detail: None };
    let facts = [
        Fact::HandedOff(Timestamp(1)),
        Fact::Delivered(Timestamp(2)),
        Fact::Read(Timestamp(3)),
        Fact::Failed(failure),
    ];
    for subset in 0u32..16 {
        let chosen: Vec<&Fact> =
            (0..4).filter(|bit| subset & (1 << bit) != 0).map(|bit| &facts[bit]).collect();
        for channel in Channel::ALL {
            let mut outcomes = std::collections::HashSet::new();
            permute(&chosen, &mut Vec::new(), &mut |order| {
                let mut known = Facts::default();
                for fact in order.iter().chain(order) {
                    known.learn((**fact).clone());
                }
                outcomes.insert(status(&known, channel));
            });
            assert_eq!(outcomes.len(), 1, "{chosen:?} on {channel}");
        }
    }
}

fn permute<'a>(rest: &[&'a Fact], taken: &mut Vec<&'a Fact>, visit: &mut impl FnMut(&[&'a Fact])) {
    if rest.is_empty() {
        visit(taken);
    }
    for (index, fact) in rest.iter().enumerate() {
        let mut others = rest.to_vec();
        others.remove(index);
        taken.push(fact);
        permute(&others, taken, visit);
        taken.pop();
    }
}

#[test]
fn the_table_of_the_design() {
    use Channel::{Email, Sms};
    let at = Timestamp(1);
    let failed = || Fact::Failed(Failure { at, reason: Reason::Undelivered, code: None, detail: None });
    let cases: Vec<(Vec<Fact>, Channel, Status)> = vec![
        (vec![], Email, Status::Draft),
        (vec![Fact::Accepted(at)], Email, Status::Scheduled),
        (vec![Fact::Accepted(at), Fact::Queued(at)], Email, Status::Queued),
        (vec![Fact::HandedOff(at)], Email, Status::Sent),
        (vec![Fact::HandedOff(at), failed()], Sms, Status::Failed),
        (vec![Fact::HandedOff(at), Fact::Delivered(at), failed()], Email, Status::Failed),
        (vec![Fact::HandedOff(at), Fact::Delivered(at), failed()], Sms, Status::Delivered),
        (vec![Fact::Read(at), failed()], Email, Status::Read),
        (vec![Fact::Read(at)], Sms, Status::Read),
        (vec![Fact::Accepted(at), Fact::Cancelled(at)], Sms, Status::Cancelled),
        (vec![Fact::Accepted(at), Fact::Expired(at)], Sms, Status::Expired),
        (vec![Fact::Cancelled(at), failed()], Sms, Status::Cancelled),
        (vec![Fact::Cancelled(at), Fact::HandedOff(at)], Sms, Status::Sent),
    ];
    for (facts, channel, expected) in cases {
        let (known, _) = learn(&facts);
        assert_eq!(status(&known, channel), expected, "{facts:?} on {channel}");
    }
    let (known, _) = learn(&[Fact::Delivered(at), failed()]);
    assert_eq!(known.failure(Email).unwrap().reason, Reason::AsyncBounce);
    assert_eq!(known.failure(Sms).unwrap().reason, Reason::Undelivered);
}
