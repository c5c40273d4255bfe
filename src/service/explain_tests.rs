use super::*;
use crate::model::{
    event::EventData,
    ids::{EventId, MessageId, Tenant},
    message::Draft,
    status::{Fact, Failure, Reason},
    verbs::{self, Queued},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + second)
}

fn message() -> (Message, Queued) {
    let draft = Draft {
        channel: Some(Channel::Email),
        recipient: Some("a@b.c".to_owned()),
        body: "x".to_owned(),
        ..Draft::default()
    };
    let mut message = Message::new(draft, MessageId(1), Tenant::default(), at(0), "user_x");
    let (queued, _) =
        verbs::accepted(&mut message.state, at(0), "user_x", None, &crate::model::limits::Limits::DEFAULT);
    (message, queued)
}

fn event(id: i64, kind: &str, actor: &str, second: i64) -> Event {
    Event {
        id: EventId(id),
        kind: kind.to_owned(),
        tenant: Tenant::default(),
        target: MessageId(1).to_string(),
        actor: actor.to_owned(),
        at: at(second),
        version: 1,
        data: EventData::default(),
    }
}

fn attempt(provider: &str, second: i64, outcome: &str, retry_at: Option<Timestamp>) -> Attempt {
    Attempt {
        generation: 1,
        provider: provider.to_owned(),
        started_at: at(second),
        ended_at: at(second),
        outcome: outcome.to_owned(),
        provider_message_id: None,
        code: Some("421".to_owned()),
        detail: Some("try later.".to_owned()),
        retry_at,
        orphan: false,
    }
}

fn told(known: &Known<'_>) -> Vec<String> {
    decide(known).into_iter().map(|decision| decision.summary).collect()
}

#[test]
fn a_failover_is_told_in_order() {
    let (message, mut queued) = message();
    queued.due_at = at(60);
    let mut state = message.state.clone();
    state.attempts = 2;
    let known = Known {
        message: &message,
        row: &Row { state, queued: Some(queued) },
        contact: None,
        served: true,
        attempts: &[
            attempt("one", 1, "TRANSIENT", Some(at(2))),
            attempt("two", 2, "THROTTLED", Some(at(60))),
        ],
        receipts: &[],
        events: &[event(1, kind::MESSAGE_CREATED, "user_x", 0), event(2, kind::MESSAGE_QUEUED, "user_x", 0)],
    };
    assert_eq!(
        told(&known),
        [
            "It goes by EMAIL.".to_owned(),
            "It goes to the address that the message names.".to_owned(),
            "Created by user_x.".to_owned(),
            "Due: it waits for a provider.".to_owned(),
            "one was chosen.".to_owned(),
            "Try 1: one did not take it, TRANSIENT: try later.".to_owned(),
            format!("To be tried again at {}.", at(2)),
            "two was chosen after one.".to_owned(),
            "Try 2: two did not take it, THROTTLED: try later.".to_owned(),
            format!("To be tried again at {}.", at(60)),
            format!("The next try is due at {}.", at(60)),
        ]
    );
}

#[test]
fn a_late_failure_says_that_it_changed_nothing_and_why_it_failed() {
    let (mut message, _) = message();
    let failure = Failure {
        at: at(9),
        reason: Reason::Undelivered,
        code: None,
        detail: Some("mailbox full".to_owned()),
    };
    message.state.facts.learn(Fact::Failed(failure));
    let data = EventData { late: true, reason: Some("UNDELIVERED".to_owned()), ..EventData::default() };
    let known = Known {
        message: &message,
        row: &Row { state: message.state.clone(), queued: None },
        contact: None,
        served: false,
        attempts: &[],
        receipts: &[],
        events: &[Event { data, ..event(3, kind::MESSAGE_FAILED, "provider_one", 9) }],
    };
    let told = told(&known);
    assert!(told.contains(&"No configured provider serves EMAIL now.".to_owned()));
    let last = "It will not arrive: UNDELIVERED: mailbox full; it came after a later fact and did not change the status.";
    assert_eq!(told.last().map(String::as_str), Some(last));
}
