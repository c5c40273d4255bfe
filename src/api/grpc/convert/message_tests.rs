use super::*;
use crate::model::{
    Timestamp,
    ids::{MessageId, Tenant},
    status::{Fact, Failure, Reason},
};

fn full() -> pb::Message {
    pb::Message {
        channel: pb::message::Channel::Email.into(),
        direction: pb::message::Direction::Internal.into(),
        sender: "contact_k7TmPvQx".to_owned(),
        recipient: "ada@example.test".to_owned(),
        subject: "Hi".to_owned(),
        body: "text".to_owned(),
        html_body: "<p>text</p>".to_owned(),
        attachments: vec![pb::Attachment {
            name: "a.txt".to_owned(),
            content_type: "text/plain".to_owned(),
            content: bytes::Bytes::from_static(b"x"),
            content_id: "c1".to_owned(),
        }],
        headers: [("X-A".to_owned(), "1".to_owned())].into(),
        metadata: serde_json::from_str(r#"{"order": 5}"#).ok().as_ref().map(object_out),
        tags: vec!["t".to_owned()],
        thread: "th".to_owned(),
        in_reply_to: MessageId(9).to_string(),
        campaign: "c".to_owned(),
        ticket: "ti".to_owned(),
        workflow: "w".to_owned(),
        priority: pb::message::Priority::Bulk.into(),
        scheduled_at: Some(stamp(Timestamp(1_800_000_000_000_000))),
        expires_at: Some(stamp(Timestamp(1_900_000_000_000_000))),
        sensitive: true,
        ..Default::default()
    }
}

#[test]
fn what_a_caller_gives_comes_back() {
    let given = draft(full());
    assert_eq!(given.violations, Violations::default());
    let stored = Message::new(given.value, MessageId(7), Tenant::default(), Timestamp(5_000), "user_x");
    let out = message(&stored, "https://headless.ly/~default");
    let expected = pb::Message {
        id: MessageId(7).to_string(),
        context: "https://headless.ly/~default".to_owned(),
        version: 1,
        created_at: Some(stamp(Timestamp(5_000))),
        updated_at: Some(stamp(Timestamp(5_000))),
        created_by: "user_x".to_owned(),
        status: pb::message::Status::Draft.into(),
        generation: 1,
        ..full()
    };
    assert_eq!(out, expected);
}

#[test]
fn output_only_fields_of_a_request_are_left_aside() {
    let meta = pb::Message {
        id: "message_evil".to_owned(),
        version: 9,
        status: pb::message::Status::Read.into(),
        created_by: "user_root".to_owned(),
        ..full()
    };
    assert_eq!(draft(meta), draft(full()));
}

#[test]
fn what_is_not_served_or_not_known_is_noted_all_at_once() {
    let bad = pb::Message {
        template: "welcome".to_owned(),
        route: vec![pb::RouteStep::default()],
        channel: 9_999,
        direction: pb::message::Direction::Inbound.into(),
        priority: -1,
        scheduled_at: Some(prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 }),
        ..full()
    };
    let fields: Vec<_> = draft(bad).violations.0.into_iter().map(|violation| violation.field).collect();
    assert_eq!(fields, ["template", "route", "channel", "direction", "priority", "scheduled_at"]);
}

#[test]
fn without_a_mask_what_is_set_is_taken() {
    let given = patch(pb::Message { subject: "Hi".to_owned(), version: 3, ..Default::default() }, None);
    assert_eq!((given.value.fields, given.value.version), (vec!["subject"], 3));
    assert_eq!(patch(full(), None).value.fields, update::FIELDS);
    assert!(patch(pb::Message::default(), None).violations.names("update_mask"));
}

#[test]
fn a_failure_is_shown_with_its_word() {
    let mut stored =
        Message::new(draft(full()).value, MessageId(7), Tenant::default(), Timestamp(5_000), "user_x");
    let failure = Failure {
        at: Timestamp(6_000),
        reason: Reason::Undelivered,
        code: Some("5.1.1".to_owned()),
        detail: None,
    };
    stored.state.facts.learn(Fact::HandedOff(Timestamp(5_500)));
    stored.state.facts.learn(Fact::Failed(failure));
    let out = message(&stored, "");
    assert_eq!(out.status(), pb::message::Status::Failed);
    let failure = out.failure.unwrap_or_default();
    assert_eq!((failure.reason(), failure.code.as_str()), (pb::failure::Reason::Undelivered, "5.1.1"));
    assert!(failure.retryable);
}
