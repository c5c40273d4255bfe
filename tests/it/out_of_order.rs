//! Reports in any order and any number make the same message.

use headlessly_communication::pb::{
    self,
    message::{Channel, Status},
};
use prost_types::value::Kind;
use serde_json::json;

use crate::harness::{TestApp, kinds, to};

fn is_late(event: &pb::Event) -> bool {
    let late = event.data.as_ref().and_then(|data| data.fields.get("late")).and_then(|it| it.kind.as_ref());
    matches!(late, Some(Kind::BoolValue(true)))
}

#[tokio::test]
async fn read_before_delivered_is_read() {
    let app = TestApp::start("").await;
    let id = app.api.send(to(Channel::Email, "outoforder@example.test")).await.id;
    let message = app
        .api
        .until(&id, "read and delivered", |message| {
            message.read_at.is_some() && message.delivered_at.is_some()
        })
        .await;
    assert_eq!(message.status(), Status::Read);
    let nanos = |time: Option<prost_types::Timestamp>| {
        let time = time.unwrap();
        i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
    };
    assert!(nanos(message.delivered_at) < nanos(message.read_at), "the times are those of the vendor");
    let history = app.api.history(&id).await;
    let all = ["Message.Created", "Message.Queued", "Message.Sent", "Message.Read", "Message.Delivered"];
    assert_eq!(kinds(&history), all);
    let late: Vec<bool> = history.iter().map(is_late).collect();
    assert_eq!(late, [false, false, false, false, true], "Delivered came after Read");
}

#[tokio::test]
async fn a_report_that_is_repeated_has_one_event() {
    let app = TestApp::start("").await;
    let id = app.api.send(to(Channel::Email, "duplicate@example.test")).await.id;
    app.api.reach(&id, Status::Delivered).await;
    let version = app.api.get(&id).await.version;
    // Receipts are applied in order: once that of a later message is, these are.
    let report = |event: &str, id: &str| json!({ "message_id": id, "event": event }).to_string();
    for again in ["delivered", "sent", "accepted", "deferred", "delivered", "never heard of"] {
        assert_eq!(app.call_edge("/webhooks/dev", &[], report(again, &id)).await, 204, "{again}");
    }
    let next = app.api.send(to(Channel::Email, "silent@example.test")).await.id;
    assert_eq!(app.call_edge("/webhooks/dev", &[], report("delivered", &next)).await, 204);
    app.api.reach(&next, Status::Delivered).await;
    let history = app.api.history(&id).await;
    let once = ["Message.Created", "Message.Queued", "Message.Sent", "Message.Delivered"];
    assert_eq!(kinds(&history), once);
    assert_eq!(app.api.get(&id).await.version, version);
    assert_eq!(app.api.activities(&id).await.len(), 1);
}

#[tokio::test]
async fn an_email_that_comes_back_after_it_was_delivered_has_failed() {
    let app = TestApp::start("").await;
    let report = |event: &str, id: &str| json!({ "message_id": id, "event": event }).to_string();
    // An e-mail bounces; an SMS or a read message stays what it is, and the report is kept with it.
    for (channel, recipient, first, end) in [
        (Channel::Email, "ann@example.test", "delivered", Status::Failed),
        (Channel::Sms, "+15005550099", "delivered", Status::Delivered),
        (Channel::Email, "bob@example.test", "read", Status::Read),
    ] {
        let id = app.api.send(to(channel, recipient)).await.id;
        app.api.reach(&id, Status::Delivered).await;
        for event in [first, "failed"] {
            assert_eq!(app.call_edge("/webhooks/dev", &[], report(event, &id)).await, 204);
        }
        let message = app.api.until(&id, "a failure", |message| message.failure.is_some()).await;
        assert_eq!(message.status(), end, "{recipient}");
        let last = app.api.history(&id).await.pop().unwrap();
        assert_eq!((last.r#type.as_str(), is_late(&last)), ("Message.Failed", end != Status::Failed));
    }
}
