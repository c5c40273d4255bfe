//! SMS by Twilio: the request, the callbacks in every order, and what is not Twilio's.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use headlessly_communication::pb::{
    self,
    failure::Reason,
    message::{Channel, Direction, Status},
    ticket,
};
use serde_json::{Value, json};

use crate::harness::{
    Gateway, Received, TestApp, kinds, post, to,
    vendors::{PUBLIC_URL, twilio, twilio_call},
};

const SID: &str = "SM0123456789abcdef0123456789abcdef";

fn created(sid: &str) -> (u16, Value) {
    (201, json!({ "sid": sid, "status": "queued", "error_code": null, "error_message": null }))
}

async fn queued(_: Received) -> (u16, Value) {
    created(SID)
}

/// The part of a callback URL that the edge sees.
fn path(request: &Received) -> String {
    let url = request.form("StatusCallback").unwrap();
    url.strip_prefix(PUBLIC_URL).unwrap().to_owned()
}

/// Reports a status; returns what the edge answered.
async fn report(edge: SocketAddr, path: &str, status: &str, more: &[(&str, &str)]) -> u16 {
    report_on(edge, path, SID, status, more).await
}

async fn report_on(edge: SocketAddr, path: &str, sid: &str, status: &str, more: &[(&str, &str)]) -> u16 {
    let fields = [&[("MessageSid", sid), ("MessageStatus", status)], more].concat();
    let (body, signature) = twilio_call(path, &fields);
    post(edge, path, &[("x-twilio-signature", signature)], body).await
}

#[tokio::test]
async fn a_signed_callback_moves_it_and_no_other_does() {
    let gateway = Gateway::start(queued).await;
    let app = TestApp::start(&twilio(gateway.url())).await;
    let id = app.api.send(to(Channel::Sms, "+15005550010")).await.id;
    let request = gateway.wait_for(1).await.remove(0);
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json");
    assert!(request.headers["authorization"].to_str().unwrap().starts_with("Basic "));
    assert_eq!(request.form("To").as_deref(), Some("+15005550010"));
    assert_eq!(request.form("From").as_deref(), Some("+15005550006"));
    assert_eq!(request.form("Body").as_deref(), Some("Your table is ready."));
    let path = path(&request);
    assert_eq!(path, format!("/webhooks/sms?hly={id}"));
    let sent = app.api.reach(&id, Status::Sent).await;
    assert_eq!(sent.provider_message_id, SID);

    let (body, signature) = twilio_call(&path, &[("MessageSid", SID), ("MessageStatus", "delivered")]);
    let other = body.replace("delivered", "failed");
    let signed = [("x-twilio-signature", signature)];
    assert_eq!(app.call_edge(&path, &signed, other).await, 401, "another body");
    assert_eq!(app.call_edge("/webhooks/sms", &signed, body.clone()).await, 401, "another URL");
    assert_eq!(app.call_edge(&path, &[], body.clone()).await, 401, "no signature");
    let wrong = [("x-twilio-signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned())];
    assert_eq!(app.call_edge(&path, &wrong, body.clone()).await, 401, "a wrong signature");
    assert_eq!(app.call_edge(&path.replace("sms", "sm"), &signed, body).await, 404, "another provider");

    // About nothing of ours, or nothing new: taken, and harmless.
    for path in ["/webhooks/sms", "/webhooks/sms?hly=message_zzzzzz", "/webhooks/sms?hly="] {
        assert_eq!(report_on(app.edge, path, "SM99", "failed", &[]).await, 204, "{path}");
    }
    let version = app.api.get(&id).await.version;
    assert_eq!(report(app.edge, &path, "sent", &[]).await, 204);
    for _ in 0..3 {
        assert_eq!(report(app.edge, &path, "delivered", &[]).await, 204);
    }
    let delivered = app.api.reach(&id, Status::Delivered).await;
    assert!(delivered.version > version && delivered.failure.is_none());
    let history = app.api.history(&id).await;
    let once = ["Message.Created", "Message.Queued", "Message.Sent", "Message.Delivered"];
    assert_eq!(kinds(&history), once);
    assert!(app.api.tickets(&id).await.is_empty());
}

#[tokio::test]
async fn a_failure_makes_one_ticket() {
    let gateway = Gateway::start(queued).await;
    let app = TestApp::start(&twilio(gateway.url())).await;
    let id = app.api.send(to(Channel::Sms, "+15005550010")).await.id;
    let path = path(&gateway.wait_for(1).await[0]);
    for _ in 0..2 {
        assert_eq!(report(app.edge, &path, "undelivered", &[("ErrorCode", "30008")]).await, 204);
    }
    let failed = app.api.reach(&id, Status::Failed).await.failure.unwrap();
    assert_eq!((failed.reason(), failed.code.as_str()), (Reason::Undelivered, "30008"));
    let tickets = app.api.tickets(&id).await;
    let [one] = tickets.as_slice() else { panic!("{tickets:?}") };
    assert_eq!((one.subject.as_str(), one.channel()), ("Message delivery failed: SMS", ticket::Channel::Sms));
}

#[tokio::test]
async fn a_callback_that_overtakes_the_answer_is_not_lost() {
    let edge = Arc::new(OnceLock::<SocketAddr>::new());
    let known = edge.clone();
    let gateway = Gateway::start(move |request: Received| {
        let edge = *known.get().unwrap();
        async move {
            // To one number with our reference in the URL, to the other with Twilio's id alone.
            let whole = request.form("To").as_deref() == Some("+15005550010");
            let sid = if whole { SID } else { "SM11111111111111111111111111111111" };
            let path = if whole { path(&request) } else { "/webhooks/sms".to_owned() };
            let (body, signature) =
                twilio_call(&path, &[("MessageSid", sid), ("MessageStatus", "delivered")]);
            assert_eq!(post(edge, &path, &[("x-twilio-signature", signature)], body).await, 204);
            created(sid)
        }
    })
    .await;
    let app = TestApp::start(&twilio(gateway.url())).await;
    edge.set(app.edge).unwrap();
    for number in ["+15005550010", "+15005550011"] {
        let id = app.api.send(to(Channel::Sms, number)).await.id;
        let what = "delivered and handed off";
        let message = app
            .api
            .until(&id, what, |message| message.sent_at.is_some() && message.delivered_at.is_some())
            .await;
        assert_eq!(message.status(), Status::Delivered, "{number}");
        let history = app.api.history(&id).await;
        let count = |kind| kinds(&history).iter().filter(|have| **have == kind).count();
        assert_eq!((count("Message.Sent"), count("Message.Delivered"), history.len()), (1, 1, 4), "{number}");
    }
    assert_eq!(gateway.seen().len(), 2);
}

#[tokio::test]
async fn what_people_write_becomes_a_message_once() {
    let gateway = Gateway::start(queued).await;
    let app = TestApp::start(&twilio(gateway.url())).await;
    let fields = [
        ("MessageSid", "SM22222222222222222222222222222222"),
        ("SmsStatus", "received"),
        ("From", "+15005550010"),
        ("To", "+15005550006"),
        ("Body", "Is my table ready? 🍝"),
        ("NumMedia", "0"),
    ];
    let mut follow = crate::harness::Follow::events(&app.api, &["Message.Received"]).await;
    let (body, signature) = twilio_call("/webhooks/sms", &fields);
    for _ in 0..3 {
        let signed = [("x-twilio-signature", signature.clone())];
        assert_eq!(app.call_edge("/webhooks/sms", &signed, body.clone()).await, 200);
    }
    let event = follow.take(1).await.remove(0);
    // Receipts are applied in order: once this one is, the repetitions are.
    let id = app.api.send(to(Channel::Sms, "+15005550010")).await.id;
    let path = path(&gateway.wait_for(1).await[0]);
    assert_eq!(report(app.edge, &path, "delivered", &[]).await, 204);
    app.api.reach(&id, Status::Delivered).await;
    let inbound = app.api.find(&json!({ "direction": "INBOUND" })).await;
    let [one] = inbound.as_slice() else { panic!("{} messages", inbound.len()) };
    assert_eq!((one.id.as_str(), one.direction()), (event.target.as_str(), Direction::Inbound));
    assert_eq!((one.sender.as_str(), one.recipient.as_str()), ("+15005550010", "+15005550006"));
    assert_eq!((one.body.as_str(), one.status()), ("Is my table ready? 🍝", Status::Delivered));
    // It can be answered.
    let answer = pb::Message { in_reply_to: one.id.clone(), ..to(Channel::Sms, &one.sender) };
    let answer = app.api.send(answer).await;
    assert_eq!(answer.in_reply_to, one.id);
}
