#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::model::{
    ids::{MessageId, Tenant},
    message::{Draft, Message},
};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1_000_000)
}

fn draft(scheduled_at: Option<Timestamp>) -> Row {
    let draft = Draft {
        channel: Some(Channel::Sms),
        recipient: Some("+15005550010".to_owned()),
        scheduled_at,
        ..Draft::default()
    };
    Row { state: Message::new(draft, MessageId(1), Tenant::default(), NOW, "user_test").state, queued: None }
}

fn step(row: &mut Row, step: &Step) -> Result<Vec<NewEvent>, Refusal> {
    apply(row, step, By { now: NOW, actor: "user_test", limits: &Limits::DEFAULT })
}

fn send(at: Option<Timestamp>) -> Step {
    Step::Send { at, channel: Channel::Sms }
}

fn due(row: &Row) -> Timestamp {
    row.queued.as_ref().unwrap().due_at
}

#[test]
fn a_time_that_is_named_is_kept() {
    let mut row = draft(Some(later(60)));
    step(&mut row, &send(None)).unwrap();
    assert_eq!((row.state.status(), due(&row)), (Status::Scheduled, later(60)), "the draft's own time");
    step(&mut row, &send(Some(later(30)))).unwrap();
    assert_eq!((row.state.status(), due(&row)), (Status::Scheduled, later(30)), "another time");
    assert_eq!(row.state.scheduled_at, Some(later(30)));
    step(&mut row, &send(None)).unwrap();
    assert_eq!((row.state.status(), due(&row)), (Status::Queued, NOW), "now after all");
    assert_eq!(row.state.scheduled_at, Some(NOW));
}

#[test]
fn what_may_be_out_cannot_be_cancelled() {
    let mut row = draft(None);
    step(&mut row, &send(None)).unwrap();
    let claim = Step::Claim { lease_until: later(60) };
    step(&mut row, &claim).unwrap();
    assert_eq!(step(&mut row, &Step::Cancel), Err(Refusal::TooLate(Status::Queued)));
    let again = Verdict::Again { at: NOW, counts: true, ambiguous: true };
    step(&mut row, &Step::Outcome(Outcome { epoch: 1, provider: Some("p".to_owned()), verdict: again }))
        .unwrap();
    assert_eq!(step(&mut row, &Step::Cancel), Err(Refusal::TooLate(Status::Queued)));
}

#[test]
fn a_report_during_a_try_that_is_lost_proves_the_hand_off() {
    let again = Verdict::Again { at: later(1), counts: true, ambiguous: true };
    let outcome = Step::Outcome(Outcome { epoch: 1, provider: Some("p".to_owned()), verdict: again });
    for lost in [Step::Release, outcome] {
        let mut row = draft(None);
        step(&mut row, &send(None)).unwrap();
        step(&mut row, &Step::Claim { lease_until: later(60) }).unwrap();
        step(&mut row, &Step::Learn { fact: Fact::Delivered(NOW), generation: None }).unwrap();
        assert_eq!(row.state.facts.handed_off, None, "the try will tell");
        let events = step(&mut row, &lost).unwrap();
        let told: Vec<_> = events.iter().map(|event| (event.kind, event.data.late)).collect();
        assert_eq!(told, [(kind::MESSAGE_SENT, true)]);
        assert_eq!((row.state.status(), row.queued), (Status::Delivered, None));
    }
}

#[test]
fn a_report_of_arrival_after_a_failure_proves_the_hand_off() {
    let mut row = draft(None);
    step(&mut row, &send(None)).unwrap();
    step(&mut row, &Step::Claim { lease_until: later(60) }).unwrap();
    let failure = Failure { at: NOW, reason: Reason::Undelivered, code: None, detail: None };
    step(&mut row, &Step::Learn { fact: Fact::Failed(failure), generation: None }).unwrap();
    step(&mut row, &Step::Release).unwrap();
    assert_eq!((row.state.status(), row.queued.is_none()), (Status::Failed, true));
    let events = step(&mut row, &Step::Learn { fact: Fact::Delivered(NOW), generation: None }).unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [kind::MESSAGE_SENT, kind::MESSAGE_DELIVERED]);
}

#[test]
fn a_report_after_nobody_knew_proves_the_hand_off() {
    let mut row = draft(None);
    step(&mut row, &send(None)).unwrap();
    step(&mut row, &Step::Claim { lease_until: later(60) }).unwrap();
    let hold =
        Outcome { epoch: 1, provider: Some("p".to_owned()), verdict: Verdict::Hold { until: later(60) } };
    step(&mut row, &Step::Outcome(hold)).unwrap();
    step(&mut row, &Step::GiveUp).unwrap();
    assert_eq!(row.state.status(), Status::Failed);
    let events = step(&mut row, &Step::Learn { fact: Fact::Read(NOW), generation: None }).unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [kind::MESSAGE_SENT, kind::MESSAGE_READ]);
    assert_eq!(row.state.status(), Status::Read);
}

#[test]
fn a_report_proves_that_an_ambiguous_try_was_a_hand_off() {
    let mut row = draft(None);
    step(&mut row, &send(None)).unwrap();
    step(&mut row, &Step::Claim { lease_until: later(60) }).unwrap();
    let hold =
        Outcome { epoch: 1, provider: Some("p".to_owned()), verdict: Verdict::Hold { until: later(60) } };
    step(&mut row, &Step::Outcome(hold)).unwrap();
    assert_eq!(row.state.status(), Status::Queued, "nobody knows yet");
    let delivered = Step::Learn { fact: Fact::Delivered(NOW), generation: None };
    let events =
        apply(&mut row, &delivered, By { now: NOW, actor: "provider_p", limits: &Limits::DEFAULT }).unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [kind::MESSAGE_SENT, kind::MESSAGE_DELIVERED]);
    assert_eq!((row.state.provider.as_deref(), row.queued), (Some("p"), None));
}

fn outcome(row: &mut Row, epoch: i64, verdict: Verdict) {
    step(row, &Step::Outcome(Outcome { epoch, provider: Some("p".to_owned()), verdict })).unwrap();
}

#[test]
fn a_message_that_ends_its_process_again_and_again_is_taken_out() {
    let mut row = draft(None);
    step(&mut row, &send(None)).unwrap();
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..2 {
        let by = |now| By { now, actor: "system", limits: &Limits::DEFAULT };
        apply(&mut row, &Step::Claim { lease_until: later(60) }, by(now)).unwrap();
        apply(&mut row, &Step::Release, by(now)).unwrap();
        waits.push(due(&row).since(now).as_millis());
        now = due(&row);
    }
    assert!((1_500..=2_000).contains(&waits[0]) && (3_000..=4_000).contains(&waits[1]), "{waits:?}");
    let by = By { now, actor: "system", limits: &Limits::DEFAULT };
    apply(&mut row, &Step::Claim { lease_until: later(60) }, by).unwrap();
    let events = apply(&mut row, &Step::Release, by).unwrap();
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [kind::MESSAGE_FAILED]);
    assert_eq!(row.state.facts.failed.as_ref().map(|failure| failure.reason), Some(Reason::Poison));
    assert_eq!(row.queued, None);
    // An operator may have it sent again.
    step(&mut row, &Step::Retry).unwrap();
    assert_eq!((row.state.status(), row.queued.as_ref().unwrap().losses), (Status::Queued, 0));
}

#[test]
fn a_result_forgets_the_losses_before_it() {
    let mut row = draft(None);
    step(&mut row, &send(None)).unwrap();
    for epoch in 1..10 {
        row.queued.as_mut().unwrap().due_at = NOW;
        step(&mut row, &Step::Claim { lease_until: later(60) }).unwrap();
        if epoch % 3 == 0 {
            outcome(&mut row, epoch, Verdict::Again { at: NOW, counts: true, ambiguous: false });
        } else {
            step(&mut row, &Step::Release).unwrap();
        }
    }
    assert_eq!(row.state.status(), Status::Queued);
}

#[test]
fn what_waits_too_long_is_forgotten_only_if_that_was_wished() {
    let given_up = |scheduled_at: Option<Timestamp>, expires_at: Option<Timestamp>| {
        let mut row = draft(scheduled_at);
        row.state.expires_at = expires_at;
        step(&mut row, &send(None)).unwrap();
        let until = row.queued.as_ref().unwrap().expires_at;
        step(&mut row, &Step::GiveUp).unwrap();
        (until, row.state.status(), row.state.facts.failed.map(|failure| failure.reason))
    };
    let (hour, day) = (3_600, 24 * 3_600);
    assert_eq!(given_up(None, Some(later(60))), (later(60), Status::Expired, None));
    assert_eq!(given_up(Some(later(hour)), None), (later(hour + day), Status::Expired, None));
    let dead = (later(3 * day), Status::Failed, Some(Reason::RetriesExhausted));
    assert_eq!(given_up(None, None), dead);
}

#[test]
fn a_time_in_a_lane_is_used_once() {
    let mut row = draft(None);
    step(&mut row, &send(None)).unwrap();
    step(&mut row, &Step::Claim { lease_until: later(60) }).unwrap();
    step(&mut row, &Step::Outcome(Outcome { epoch: 1, provider: None, verdict: Verdict::Paced { at: NOW } }))
        .unwrap();
    let paced = |row: &Row| row.queued.as_ref().unwrap().paced;
    assert!(paced(&row) && row.state.attempts == 0);
    step(&mut row, &Step::Claim { lease_until: later(60) }).unwrap();
    assert!(paced(&row), "the one who claims it sees that it comes at its time");
    outcome(&mut row, 2, Verdict::Again { at: NOW, counts: true, ambiguous: false });
    assert!(!paced(&row));
}

#[test]
fn a_result_of_the_generation_before_is_stale() {
    let mut row = draft(None);
    step(&mut row, &send(None)).unwrap();
    let claim = Step::Claim { lease_until: later(60) };
    step(&mut row, &claim).unwrap();
    let lost = row.queued.as_ref().unwrap().epoch;
    let failure = Failure { at: NOW, reason: Reason::Reported, code: None, detail: None };
    let fail = Step::Learn { fact: Fact::Failed(failure), generation: None };
    step(&mut row, &fail).unwrap();
    let early = step(&mut row, &Step::Retry);
    assert_eq!(early, Err(Refusal::TooLate(Status::Failed)), "what is being handed off is still to end");
    step(&mut row, &Step::Release).unwrap();
    step(&mut row, &Step::Retry).unwrap();
    step(&mut row, &claim).unwrap();
    let verdict = Verdict::Again { at: NOW, counts: true, ambiguous: false };
    let late = Step::Outcome(Outcome { epoch: lost, provider: Some("p".to_owned()), verdict });
    assert_eq!(step(&mut row, &late), Err(Refusal::Stale), "another generation, another epoch");
}

/// Anything that can happen to a message, in any order, at any time.
fn any_step() -> impl Strategy<Value = Step> {
    let at = (-50i64..50).prop_map(later);
    let failure = |at| Failure { at, reason: Reason::Undelivered, code: None, detail: None };
    let fact = (at.clone(), 0..4).prop_map(move |(at, kind)| match kind {
        0 => Fact::HandedOff(at),
        1 => Fact::Delivered(at),
        2 => Fact::Read(at),
        _ => Fact::Failed(failure(at)),
    });
    let verdict = (at.clone(), 0..6, any::<bool>()).prop_map(move |(at, kind, flag)| match kind {
        0 => Verdict::Again { at, counts: flag, ambiguous: !flag },
        1 => Verdict::Hold { until: at },
        2 => Verdict::Fail(failure(at)),
        3 => Verdict::Expire,
        4 => Verdict::Paced { at },
        _ => {
            Verdict::Accepted { provider_message_id: None, reporting: Reporting::Delivery, facts: Vec::new() }
        }
    });
    prop_oneof![
        prop::option::of(at.clone()).prop_map(send),
        Just(Step::Cancel),
        at.clone().prop_map(Step::Reschedule),
        Just(Step::Retry),
        Just(Step::Delete),
        (fact, prop::option::of(1..3)).prop_map(|(fact, generation)| Step::Learn { fact, generation }),
        at.prop_map(|lease_until| Step::Claim { lease_until }),
        (1i64..4, verdict).prop_map(|(epoch, verdict)| Step::Outcome(Outcome {
            epoch,
            provider: Some("p".to_owned()),
            verdict
        })),
        Just(Step::Release),
        Just(Step::GiveUp),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_the_row_makes_sense(steps in prop::collection::vec(any_step(), 0..25)) {
        let mut row = draft(None);
        let mut emitted: HashMap<(&str, i32), usize> = HashMap::new();
        for one in steps {
            let before = row.clone();
            let result = step(&mut row, &one);
            let Ok(events) = result else {
                prop_assert_eq!(&row, &before, "a refusal changes nothing");
                continue;
            };
            let status = row.state.status();
            prop_assert_eq!(row.state != before.state, row.state.version > before.state.version);
            for event in &events {
                prop_assert_eq!(event.version, row.state.version);
                *emitted.entry((event.kind, row.state.generation)).or_default() += 1;
            }
            match &row.queued {
                // A lease may outlast what it was for: its result is still to come.
                Some(queued) if queued.wait != Wait::Leased => prop_assert!(status.is_waiting(), "{one:?}: {status}"),
                Some(_) => {}
                None => prop_assert!(!status.is_waiting(), "{one:?}: {status} and nobody will send it"),
            }
            if status == Status::Cancelled && before.state.status() != Status::Cancelled {
                let untouched = before.queued.as_ref().is_none_or(|queued| queued.wait == Wait::Ready && !queued.ambiguous);
                prop_assert!(untouched, "cancelled while it may have been out");
            }
        }
        for fact in [kind::MESSAGE_SENT, kind::MESSAGE_DELIVERED, kind::MESSAGE_READ, kind::MESSAGE_FAILED] {
            for generation in 1..10 {
                prop_assert!(emitted.get(&(fact, generation)).is_none_or(|count| *count == 1), "{fact} twice");
            }
        }
    }
}
