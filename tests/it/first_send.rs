//! The example of the specification, from the draft to the activity.

use headlessly_communication::pb::{self, activity, message::Channel, message::Status};

use crate::harness::{Follow, TestApp, draft_to, kinds, to};

#[tokio::test]
async fn a_draft_is_sent_delivered_and_becomes_an_activity() {
    let app = TestApp::start("").await;
    let message = pb::Message {
        sender: "contact_k7TmPvQx".to_owned(),
        body: "Welcome to Acme! Your account is ready.".to_owned(),
        ..to(Channel::Email, "contact_fX9bL5nRd")
    };
    let request = pb::CreateMessageRequest { message: Some(message), ..Default::default() };
    let draft = app.api.messages().create(request).await.unwrap().into_inner();
    assert_eq!((draft.status(), draft.version), (Status::Draft, 1));
    assert!(draft.id.starts_with("message_") && draft.context == "https://headless.ly/~default");

    let request = pb::WatchMessagesRequest {
        message: draft.id.clone(),
        until_final: true,
        include_message: true,
        ..Default::default()
    };
    let mut follow = Follow::messages(&app.api, request).await;
    let queued = app.api.messages().send(draft_to(&draft.id)).await.unwrap().into_inner();
    assert_eq!(queued.id, draft.id);
    let seen = follow.rest().await;
    let events: Vec<pb::Event> = seen.iter().filter_map(|seen| seen.event.clone()).collect();
    assert_eq!(
        kinds(&events),
        ["Message.Created", "Message.Queued", "Message.Sent", "Message.Delivered"],
        "the stream ends by itself"
    );
    assert!(events.windows(2).all(|pair| pair[0].version < pair[1].version));
    assert!(events.iter().all(|event| event.target == draft.id && event.tenant == "default"));

    let sent = app.api.get(&draft.id).await;
    assert_eq!(sent.status(), Status::Delivered);
    assert_eq!((sent.provider.as_str(), sent.attempts, sent.generation), ("dev", 1, 1));
    assert_eq!(sent.body, "Welcome to Acme! Your account is ready.");
    assert!(sent.sent_at.is_some() && sent.delivered_at.is_some() && sent.failure.is_none());

    let activities = app.api.activities(&draft.id).await;
    let [one] = activities.as_slice() else { panic!("{activities:?}") };
    assert_eq!(one.subject, "Email sent to contact_fX9bL5nRd");
    assert_eq!((one.r#type(), one.status()), (activity::Type::Email, activity::Status::Completed));
    assert_eq!(one.contact, "contact_fX9bL5nRd");
    assert_eq!(one.event, events[2].id);
    assert!(app.api.tickets(&draft.id).await.is_empty());
}

#[tokio::test]
async fn a_send_may_wait_for_delivery() {
    let app = TestApp::start("").await;
    let request = pb::SendMessageRequest {
        wait_until: pb::send_message_request::WaitUntil::Delivered.into(),
        ..crate::harness::send_new(to(Channel::Email, "contact_fX9bL5nRd"))
    };
    let message = app.api.messages().send(request).await.unwrap().into_inner();
    assert_eq!(message.status(), Status::Delivered);
}
