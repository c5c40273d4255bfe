//! Expiry, Retry, Delete and Update.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use headlessly_communication::pb::{
    self,
    failure::Reason,
    message::{Channel, Status},
};
use serde_json::json;
use tokio::sync::Notify;
use tonic::Code;

use crate::harness::{
    Gateway, Received, TestApp, at, draft_to, fields, kinds, reason, to,
    vendors::{http, sink, taken},
};

#[tokio::test]
async fn what_is_too_late_is_not_sent() {
    // One place, taken until the second message has expired.
    let go = Arc::new(Notify::new());
    let goes = go.clone();
    let slow = Gateway::start(move |request: Received| {
        let goes = goes.clone();
        async move {
            if request.text("/text") == "hold" {
                goes.notified().await;
            }
            taken(request).await
        }
    })
    .await;
    let more = "max_in_flight = 1\n\n[dispatch]\nsweep = \"100ms\"\n";
    let app = TestApp::start(&http("slow", slow.url(), more)).await;
    let hold = pb::Message { body: "hold".to_owned(), ..to(Channel::Email, "ann@example.test") };
    let first = app.api.send(hold).await.id;
    slow.wait_for(1).await;
    let short =
        pb::Message { expires_at: at(Duration::from_millis(300)), ..to(Channel::Email, "bob@example.test") };
    let second = app.api.send(short).await.id;
    let expired = app.api.reach(&second, Status::Expired).await;
    assert_eq!((expired.attempts, expired.sent_at, expired.failure), (0, None, None));
    go.notify_one();
    app.api.reach(&first, Status::Sent).await;
    assert_eq!(slow.seen().len(), 1);
    assert!(app.api.tickets(&second).await.is_empty());
    let history = app.api.history(&second).await;
    assert_eq!(kinds(&history), ["Message.Created", "Message.Queued", "Message.Expired"]);
}

#[tokio::test]
async fn retry_really_sends_again() {
    let refused = Arc::new(AtomicBool::new(false));
    let gateway = Gateway::start(move |request: Received| {
        let first = !refused.swap(true, Ordering::SeqCst);
        async move { if first { (400, json!({ "error": "no" })) } else { taken(request).await } }
    })
    .await;
    let app = TestApp::start(&http("gateway", gateway.url(), "")).await;
    let mut messages = app.api.messages();
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    let failed = app.api.reach(&id, Status::Failed).await;
    assert_eq!((failed.generation, failed.failure.unwrap().reason()), (1, Reason::Rejected));
    let retry = pb::RetryMessageRequest { id: id.clone(), request_id: "again-1".to_owned() };
    let again = messages.retry(retry.clone()).await.unwrap().into_inner();
    assert_eq!((again.generation, again.failure, again.failed_at), (2, None, None));
    let sent = app.api.reach(&id, Status::Sent).await;
    assert_eq!((sent.attempts, gateway.seen().len()), (2, 2));
    // The same request again is not a third generation, and another one finds nothing to retry.
    assert_eq!(messages.retry(retry).await.unwrap().into_inner().generation, 2);
    let retry = pb::RetryMessageRequest { id: id.clone(), ..Default::default() };
    assert_eq!(messages.retry(retry).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!((app.api.tickets(&id).await.len(), app.api.activities(&id).await.len()), (1, 1));
    let history = app.api.history(&id).await;
    let all = ["Created", "Queued", "Failed", "Retried", "Sent"].map(|verb| format!("Message.{verb}"));
    assert_eq!(kinds(&history), all);
}

#[tokio::test]
async fn deleted_is_left_out_but_not_forgotten() {
    let sink = sink().await;
    let app = TestApp::start(&http("sink", sink.url(), "")).await;
    let mut messages = app.api.messages();
    let delete = |id: &str| pb::DeleteMessageRequest { id: id.to_owned(), ..Default::default() };
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    app.api.reach(&id, Status::Sent).await;
    assert_eq!(app.api.find(&json!({ "channel": "EMAIL" })).await.len(), 1);
    let deleted = messages.delete(delete(&id)).await.unwrap().into_inner();
    assert!(deleted.deleted_at.is_some());
    assert_eq!(messages.delete(delete(&id)).await.unwrap().into_inner().version, deleted.version);
    assert!(app.api.find(&json!({ "channel": "EMAIL" })).await.is_empty());
    let request = pb::FindMessagesRequest { include_deleted: true, ..Default::default() };
    assert_eq!(messages.find(request).await.unwrap().into_inner().messages.len(), 1);
    assert_eq!(app.api.history(&id).await.last().unwrap().r#type, "Message.Deleted");
    // What waits must be cancelled first.
    let later =
        pb::Message { scheduled_at: at(Duration::from_secs(3600)), ..to(Channel::Email, "ann@example.test") };
    let id = app.api.send(later).await.id;
    assert_eq!(messages.delete(delete(&id)).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn update_sees_who_was_first() {
    let sink = sink().await;
    let app = TestApp::start(&http("sink", sink.url(), "")).await;
    let mut messages = app.api.messages();
    let request = pb::CreateMessageRequest {
        message: Some(to(Channel::Email, "ann@example.test")),
        ..Default::default()
    };
    let draft = messages.create(request).await.unwrap().into_inner();
    let update = |version: i64, body: &str| pb::UpdateMessageRequest {
        message: Some(pb::Message {
            id: draft.id.clone(),
            version,
            body: body.to_owned(),
            subject: "not in the mask".to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["body".to_owned()] }),
        ..Default::default()
    };
    let changed = messages.update(update(draft.version, "mine")).await.unwrap().into_inner();
    assert_eq!((changed.body.as_str(), changed.subject.as_str()), ("mine", ""));
    assert_eq!(changed.version, draft.version + 1);
    let error = messages.update(update(draft.version, "too late")).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Aborted, "VERSION_MISMATCH"));
    let error = messages.update(update(0, " ")).await.unwrap_err();
    assert_eq!((error.code(), fields(&error)), (Code::InvalidArgument, vec!["body".to_owned()]));
    messages.update(update(0, "without a version")).await.unwrap();
    messages.send(draft_to(&draft.id)).await.unwrap();
    app.api.reach(&draft.id, Status::Sent).await;
    assert_eq!(sink.seen()[0].text("/text"), "without a version");
    let error = messages.update(update(0, "after it was sent")).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
}
