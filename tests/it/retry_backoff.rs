//! Every kind of refusal, and what follows from it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use headlessly_communication::pb::{
    self,
    failure::Reason,
    message::{Channel, Status},
};
use serde_json::{Value, json};

use crate::harness::{
    Gateway, Received, TestApp, kinds, to,
    vendors::{CALLBACKS, http, signed, sink, taken},
};

const FAST: &str = "[dispatch]\nretry_first = \"50ms\"\n";

/// A gateway that answers this many requests with a status, and takes the others.
async fn refusing(times: usize, status: u16) -> Gateway {
    let tries = Arc::new(AtomicUsize::new(0));
    Gateway::start(move |request: Received| {
        let number = tries.fetch_add(1, Ordering::SeqCst);
        async move { if number < times { (status, Value::Null) } else { taken(request).await } }
    })
    .await
}

#[tokio::test]
async fn transient_refusals_are_tried_again_later_each_time() {
    let gateway = refusing(3, 503).await;
    let app = TestApp::start(&format!("{FAST}{}", http("gateway", gateway.url(), ""))).await;
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    let sent = app.api.reach(&id, Status::Sent).await;
    assert_eq!((sent.attempts, sent.provider_message_id), (4, format!("v-{id}")));
    let seen = gateway.seen();
    let waits: Vec<Duration> =
        seen.windows(2).map(|pair| pair[1].time.duration_since(pair[0].time).unwrap()).collect();
    // A quarter of each wait is left to chance: 50, 100, 200 ms are never less than this.
    for (wait, least) in waits.iter().zip([37, 75, 150]) {
        assert!(*wait >= Duration::from_millis(least), "{waits:?}");
    }
    assert_eq!(kinds(&app.api.history(&id).await), ["Message.Created", "Message.Queued", "Message.Sent"]);
}

#[tokio::test]
async fn tries_come_to_an_end() {
    let gateway = refusing(usize::MAX, 503).await;
    let toml = format!("{FAST}max_attempts = 3\n{}", http("gateway", gateway.url(), ""));
    let app = TestApp::start(&toml).await;
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    let failed = app.api.reach(&id, Status::Failed).await;
    let failure = failed.failure.unwrap();
    assert_eq!((failure.reason(), failure.retryable), (Reason::RetriesExhausted, true));
    assert_eq!((failed.attempts, gateway.seen().len()), (3, 3));
    assert_eq!(app.api.tickets(&id).await.len(), 1);
}

#[tokio::test]
async fn being_told_to_slow_down_costs_no_try() {
    let app = TestApp::start(&format!("{FAST}max_attempts = 1\n")).await;
    let id = app.api.send(to(Channel::Email, "throttle@example.test")).await.id;
    let delivered = app.api.reach(&id, Status::Delivered).await;
    assert_eq!(delivered.attempts, 3);
    let since =
        |time: Option<prost_types::Timestamp>| std::time::SystemTime::try_from(time.unwrap()).unwrap();
    let took = since(delivered.sent_at).duration_since(since(delivered.created_at)).unwrap();
    assert!(took >= Duration::from_secs(2), "the vendor asked for 1 s twice: {took:?}");
}

#[tokio::test]
async fn an_email_that_may_have_been_sent_is_sent_again() {
    let gateway = refusing(1, 500).await;
    let app = TestApp::start(&format!("{FAST}{}", http("gateway", gateway.url(), ""))).await;
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    assert_eq!(app.api.reach(&id, Status::Sent).await.attempts, 2);
    assert_eq!(gateway.seen().len(), 2);
}

#[tokio::test]
async fn an_sms_that_may_have_been_sent_waits_for_its_receipt() {
    let gateway = refusing(1, 500).await;
    let app = TestApp::start(&format!("{FAST}{}", http("gateway", gateway.url(), CALLBACKS))).await;
    let id = app.api.send(to(Channel::Sms, "+15005550010")).await.id;
    gateway.wait_for(1).await;
    // What is sent after it gets there: nothing is stopped but this message.
    let next = app.api.send(to(Channel::Sms, "+15005550011")).await.id;
    app.api.reach(&next, Status::Sent).await;
    let waiting = app.api.get(&id).await;
    assert_eq!((waiting.status(), waiting.failure), (Status::Queued, None));
    let cancel = pb::CancelMessageRequest { id: id.clone(), ..Default::default() };
    let outcome = app.api.messages().cancel(cancel).await.unwrap().into_inner().outcome();
    assert_eq!(outcome, pb::cancel_message_response::Outcome::TooLate);
    let body = json!({ "message": id, "status": "delivered" }).to_string();
    assert_eq!(app.call_edge("/webhooks/gateway", &[signed(&body)], body.clone()).await, 204);
    let delivered = app.api.reach(&id, Status::Delivered).await;
    assert_eq!(delivered.attempts, 1);
    assert_eq!(gateway.seen().len(), 2);
}

#[tokio::test]
async fn an_sms_without_a_receipt_fails_as_ambiguous() {
    let gateway = refusing(usize::MAX, 500).await;
    let toml = format!("{FAST}hold = \"1s\"\nsweep = \"100ms\"\n{}", http("gateway", gateway.url(), ""));
    let app = TestApp::start(&toml).await;
    let id = app.api.send(to(Channel::Sms, "+15005550010")).await.id;
    let failed = app.api.reach(&id, Status::Failed).await;
    assert_eq!((failed.failure.unwrap().reason(), failed.attempts), (Reason::Ambiguous, 1));
    assert_eq!(gateway.seen().len(), 1);
}

#[tokio::test]
async fn a_provider_that_can_be_asked_is_asked_instead_of_given_it_twice() {
    let toml = format!(
        "{FAST}[[provider]]\nname = \"dev\"\nkind = \"dev\"\nambiguous = \"reconcile\"\ndelivery_delay = \"20s\"\n"
    );
    let app = TestApp::start(&toml).await;
    let id = app.api.send(to(Channel::Email, "ambiguous@example.test")).await.id;
    let sent = app.api.until(&id, "two tries", |message| message.attempts == 2).await;
    assert!(sent.sent_at.is_some(), "{sent:?}");
    let request = pb::ExplainMessageRequest { id };
    let told = app.api.messages().explain(request).await.unwrap().into_inner().decisions;
    assert!(told.iter().any(|decision| decision.summary == "Try 2: dev was asked and has it."), "{told:#?}");
}

#[tokio::test]
async fn definite_refusals_end_it_at_once() {
    let app = TestApp::start(FAST).await;
    for (who, reason, code) in [
        ("reject@example.test", Reason::Rejected, "rejected"),
        ("badrecipient@example.test", Reason::BadRecipient, "unknown-recipient"),
    ] {
        let id = app.api.send(to(Channel::Email, who)).await.id;
        let failed = app.api.reach(&id, Status::Failed).await;
        let failure = failed.failure.unwrap();
        assert_eq!((failure.reason(), failure.code.as_str()), (reason, code), "{who}");
        assert_eq!((failed.attempts, failure.retryable, failed.sent_at), (1, false, None), "{who}");
        assert_eq!(app.api.tickets(&id).await.len(), 1, "{who}");
        assert!(app.api.activities(&id).await.is_empty(), "{who}");
    }
}

#[tokio::test]
async fn refused_credentials_pause_the_provider_and_keep_the_message() {
    let (broken, well) = (refusing(usize::MAX, 401).await, sink().await);
    let toml = format!(
        "{FAST}{}{}",
        http("first", broken.url(), "priority = 1"),
        http("second", well.url(), "priority = 2")
    );
    let app = TestApp::start(&toml).await;
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    let sent = app.api.reach(&id, Status::Sent).await;
    assert_eq!((sent.provider.as_str(), sent.attempts), ("second", 2));
    let listed = app.api.providers().list(pb::ListProvidersRequest {}).await.unwrap().into_inner().providers;
    let first = listed.iter().find(|provider| provider.name == "first").unwrap();
    assert_eq!((first.paused_reason.as_str(), first.refused, first.accepted), ("UNAUTHORIZED", 1, 0));
    assert!(first.paused_until.is_some());
    let second = listed.iter().find(|provider| provider.name == "second").unwrap();
    assert_eq!((second.paused_until, second.accepted), (None, 1));
    // The next one does not even try the first.
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    assert_eq!(app.api.reach(&id, Status::Sent).await.attempts, 1);
    assert_eq!(broken.seen().len(), 1);
}

/// What one provider may have is not given to another: only what it surely refused moves on.
#[tokio::test]
async fn a_message_that_a_provider_may_have_stays_with_it() {
    let unsure = refusing(usize::MAX, 500).await;
    let other = Gateway::start(taken).await;
    let toml = format!(
        "{FAST}{}{}",
        http("first", unsure.url(), "priority = 1\n"),
        http("second", other.url(), "priority = 2\n")
    );
    let app = TestApp::start(&toml).await;
    // Enough to make the first provider rest, so that the second one is who has places.
    for number in 0..6 {
        app.api.send(to(Channel::Email, &format!("ann{number}@example.test"))).await;
    }
    unsure.wait_for(5).await;
    let later = pb::Message {
        scheduled_at: crate::harness::at(Duration::from_secs(1)),
        ..to(Channel::Email, "bob@example.test")
    };
    let id = app.api.send(later).await.id;
    app.api.reach(&id, Status::Sent).await;
    let ids = |gateway: &Gateway| gateway.seen().iter().map(|one| one.text("/id")).collect::<Vec<_>>();
    let (unsure, other) = (ids(&unsure), ids(&other));
    assert!(other.contains(&id), "{other:?}");
    assert!(other.iter().all(|id| !unsure.contains(id)), "{unsure:?} went on as {other:?}");
}
