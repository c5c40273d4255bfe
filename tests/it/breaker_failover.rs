//! Providers that fail, come back, share the work and keep to a rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use headlessly_communication::pb::{
    self,
    message::{Channel, Status},
    provider::State,
};
use serde_json::Value;

use crate::harness::{
    Gateway, Received, TestApp, to,
    vendors::{http, sink, taken},
};

/// A gateway that answers with this status; 200 takes the message.
async fn answering(status: &Arc<AtomicU16>) -> Gateway {
    let status = status.clone();
    Gateway::start(move |request: Received| {
        let status = status.load(Ordering::SeqCst);
        async move { if status == 200 { taken(request).await } else { (status, Value::Null) } }
    })
    .await
}

async fn provider(app: &TestApp, name: &str) -> pb::Provider {
    let listed = app.api.providers().list(pb::ListProvidersRequest {}).await.unwrap().into_inner().providers;
    listed.into_iter().find(|provider| provider.name == name).unwrap()
}

/// Sends these at once; returns their ids.
async fn send(app: &TestApp, count: usize) -> Vec<String> {
    let messages =
        (0..count).map(|number| to(Channel::Email, &format!("ann{number}@example.test"))).collect();
    let request = pb::SendMessageBatchRequest { messages, ..Default::default() };
    let sent = app.api.messages().send_batch(request).await.unwrap().into_inner().results;
    sent.into_iter()
        .map(|result| match result.result {
            Some(pb::send_message_batch_response::result::Result::Message(message)) => message.id,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn an_outage_costs_no_tries_and_the_queue_drains_after_it() {
    let status = Arc::new(AtomicU16::new(503));
    let gateway = answering(&status).await;
    let toml = format!(
        "[dispatch]\nretry_first = \"10ms\"\nretry_max = \"20ms\"\nmax_attempts = 6\nbreaker_probe = \"100ms\"\n{}",
        http("gateway", gateway.url(), "max_in_flight = 4")
    );
    let app = TestApp::start(&toml).await;
    let ids = send(&app, 10).await;
    // Five failures open it; then more probes fail than any message has tries.
    gateway.wait_for(20).await;
    let down = provider(&app, "gateway").await;
    assert!(matches!(down.state(), State::Open | State::HalfOpen), "{down:?}");
    assert!(down.last_error.starts_with("TRANSIENT"), "{down:?}");
    status.store(200, Ordering::SeqCst);
    for id in &ids {
        app.api.reach(id, Status::Sent).await;
    }
    let well = provider(&app, "gateway").await;
    assert!(
        matches!(well.state(), State::Closed | State::HalfOpen) && well.paused_until.is_none(),
        "{well:?}"
    );
    assert_eq!(well.accepted, 10);
}

#[tokio::test]
async fn what_is_surely_refused_goes_on_to_the_next_provider_at_once() {
    let down = answering(&Arc::new(AtomicU16::new(503))).await;
    let well = sink().await;
    // Whoever waited for the back-off would wait for longer than the test.
    let toml = format!(
        "[dispatch]\nretry_first = \"1h\"\nretry_max = \"1h\"\n{}{}",
        http("first", down.url(), "priority = 1"),
        http("second", well.url(), "priority = 2")
    );
    let app = TestApp::start(&toml).await;
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    let sent = app.api.reach(&id, Status::Sent).await;
    assert_eq!((sent.provider.as_str(), sent.attempts), ("second", 2));
    let request = pb::ExplainMessageRequest { id };
    let told = app.api.messages().explain(request).await.unwrap().into_inner().decisions;
    let told: Vec<&str> = told.iter().map(|decision| decision.summary.as_str()).collect();
    assert!(told.contains(&"second was chosen after first."), "{told:#?}");
    // Once the first is known to be down, nobody goes there any more.
    let ids = send(&app, 20).await;
    for id in &ids {
        app.api.reach(id, Status::Sent).await;
    }
    assert_eq!(provider(&app, "first").await.state(), State::Open);
    let before = down.seen().len();
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    assert_eq!(app.api.reach(&id, Status::Sent).await.attempts, 1);
    assert_eq!(down.seen().len(), before);
}

#[tokio::test]
async fn the_messages_own_fault_ends_it_without_another_provider() {
    let refuses = answering(&Arc::new(AtomicU16::new(422))).await;
    let well = sink().await;
    let toml = format!(
        "{}{}",
        http("first", refuses.url(), "priority = 1"),
        http("second", well.url(), "priority = 2")
    );
    let app = TestApp::start(&toml).await;
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    assert_eq!(app.api.reach(&id, Status::Failed).await.attempts, 1);
    assert!(well.seen().is_empty());
}

#[tokio::test]
async fn providers_of_equal_priority_share_by_weight() {
    let (heavy, light) = (sink().await, sink().await);
    let toml = format!(
        "{}{}",
        http("light", light.url(), "weight = 50\nmax_in_flight = 500"),
        http("heavy", heavy.url(), "weight = 150\nmax_in_flight = 500")
    );
    let app = TestApp::start(&toml).await;
    let ids = send(&app, 400).await;
    for id in &ids {
        app.api.reach(id, Status::Sent).await;
    }
    let (heavy, light) = (heavy.seen().len(), light.seen().len());
    // 300 and 100 are expected; five standard deviations are 43.
    assert!(heavy.abs_diff(300) < 45 && heavy + light == 400, "{heavy} and {light}");
}

#[tokio::test]
async fn a_provider_is_asked_no_faster_than_its_rate() {
    let gateway = sink().await;
    let toml = http("gateway", gateway.url(), "rate = \"20/s\"\nburst = 2");
    let app = TestApp::start(&toml).await;
    let ids = send(&app, 20).await;
    for id in &ids {
        app.api.reach(id, Status::Sent).await;
    }
    let seen = gateway.seen();
    let took = seen[19].time.duration_since(seen[0].time).unwrap();
    // 18 of them wait for 50 ms each; a request may be slower than the next by a little.
    assert!(took >= Duration::from_millis(800), "{took:?}");
    assert_eq!(provider(&app, "gateway").await.rate, 20.0);
}
