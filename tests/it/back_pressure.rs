//! What comes in is bounded: refused at once, with who is meant and when to come back, and one tenant holds up no other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use headlessly_communication::pb::{self, api_key::Scope, message::Channel};
use serde_json::Value;
use tokio::sync::Semaphore;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::harness::{
    Clients, Gateway, Received, TestApp, at, reason, send_new, to,
    vendors::{http, taken},
};

/// Makes a key of a tenant on a server that needs none.
async fn key(api: &Clients, tenant: &str) -> String {
    let request = pb::CreateApiKeyRequest {
        name: "test".to_owned(),
        tenant: tenant.to_owned(),
        scopes: vec![Scope::Admin.into()],
        expires_at: None,
    };
    api.keys().create(request).await.unwrap().into_inner().secret
}

fn by(key: &str, body: usize) -> Request<pb::SendMessageRequest> {
    let mut message = to(Channel::Email, "ann@example.test");
    message.body = "x".repeat(body);
    let mut request = Request::new(send_new(message));
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

/// A vendor that answers as often as it is allowed to.
async fn slow(answers: &Arc<Semaphore>) -> Gateway {
    let answers = answers.clone();
    Gateway::start(move |request: Received| {
        let answers = answers.clone();
        async move {
            answers.acquire().await.unwrap().forget();
            taken(request).await as (u16, Value)
        }
    })
    .await
}

/// What a refusal for want of room says: the reason, the tenant that is meant, when to come back.
fn refusal(status: &Status) -> (String, String, Duration) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let quota = status.get_details_quota_failure().unwrap();
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    (reason(status), quota.violations[0].subject.clone(), wait)
}

#[tokio::test]
async fn a_tenant_fills_its_own_share_and_nobody_elses() {
    let answers = Arc::new(Semaphore::new(0));
    let gateway = slow(&answers).await;
    let toml = format!(
        "[limits]\ntenant_queue_depth = 40\nqueue_depth = 60\ntenant_queue_bytes = \"1MiB\"\n{}",
        http("slow", gateway.url(), "max_in_flight = 4")
    );
    let app = TestApp::start(&toml).await;
    let (loud, quiet) = (key(&app.api, "loud").await, key(&app.api, "quiet").await);
    let calls = (0..200).map(|_| {
        let (mut messages, request) = (app.api.messages(), by(&loud, 10));
        tokio::spawn(async move { messages.send(request).await })
    });
    let (mut taken, mut refused) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(_) => taken += 1,
            Err(status) => {
                let (reason, subject, wait) = refusal(&status);
                assert_eq!((reason.as_str(), subject.as_str()), ("TENANT_QUEUE_FULL", "loud"));
                assert!(wait >= Duration::from_millis(100) && wait <= Duration::from_secs(60), "{wait:?}");
                refused += 1;
            }
        }
    }
    assert_eq!((taken, refused), (40, 160), "exactly as many as there is room for, all at once or not");
    for _ in 0..20 {
        app.api.messages().send(by(&quiet, 10)).await.unwrap();
    }
    let (reason, subject, _) = refusal(&app.api.messages().send(by(&quiet, 10)).await.unwrap_err());
    assert_eq!((reason.as_str(), subject.as_str()), ("QUEUE_FULL", "quiet"));

    // A new start counts the same.
    answers.add_permits(Semaphore::MAX_PERMITS / 2);
    let app = TestApp::start_in(app.stop().await, &toml).await;
    let mut tries = 0;
    loop {
        tries += 1;
        match app.api.messages().send(by(&loud, 10)).await {
            Ok(_) => break,
            Err(status) => drop(refusal(&status)),
        }
        tokio::task::yield_now().await;
    }
    assert!(tries < 10_000, "what leaves makes room");
}

#[tokio::test]
async fn bytes_count_as_messages_do() {
    let toml = "[limits]\ntenant_queue_bytes = \"1MiB\"\n";
    let app = TestApp::start(toml).await;
    let loud = key(&app.api, "loud").await;
    // For later, so that it waits.
    let later = |size| {
        let mut request = by(&loud, size);
        request.get_mut().scheduled_at = at(Duration::from_secs(3_600));
        request
    };
    app.api.messages().send(later(600_000)).await.unwrap();
    let (reason, ..) = refusal(&app.api.messages().send(later(600_000)).await.unwrap_err());
    assert_eq!(reason, "TENANT_QUEUE_FULL");
    app.api.messages().send(later(400_000)).await.unwrap();
    // What waits is known again after a start.
    let app = TestApp::start_in(app.stop().await, toml).await;
    let (reason, ..) = refusal(&app.api.messages().send(later(100_000)).await.unwrap_err());
    assert_eq!(reason, "TENANT_QUEUE_FULL");
}

/// Ten thousand messages from one tenant, as fast as they can be asked for, against a limit of fifty a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_at_once_and_the_others_are_served() {
    const FLOOD: usize = 10_000;
    let app = TestApp::start("[limits]\ntenant_rate = 50\ntenant_burst = 100\n").await;
    let (loud, quiet) = (key(&app.api, "loud").await, key(&app.api, "quiet").await);
    let begin = Instant::now();
    let floods: Vec<_> = (0..8)
        .map(|_| {
            let (api, loud) = (app.api.clone(), loud.clone());
            tokio::spawn(async move {
                let (mut taken, mut waits) = (0, Vec::new());
                for _ in 0..FLOOD / 8 {
                    let asked = Instant::now();
                    match api.messages().send(by(&loud, 10)).await {
                        Ok(_) => taken += 1,
                        Err(status) => {
                            let (reason, subject, wait) = refusal(&status);
                            assert_eq!((reason.as_str(), subject.as_str()), ("RATE_LIMITED", "loud"));
                            assert!(wait <= Duration::from_millis(21), "a token comes every 20 ms: {wait:?}");
                            waits.push(asked.elapsed());
                        }
                    }
                }
                (taken, waits)
            })
        })
        .collect();
    // Meanwhile somebody else is served, each call.
    for _ in 0..100 {
        app.api.messages().send(by(&quiet, 10)).await.unwrap();
    }
    let (mut taken, mut waits) = (0, Vec::new());
    for flood in floods {
        let (more, times) = flood.await.unwrap();
        taken += more;
        waits.extend(times);
    }
    let lasted = begin.elapsed().as_secs_f64();
    waits.sort_unstable();
    let most = 100.0 + 50.0 * lasted + 1.0;
    assert!((100.0..=most).contains(&f64::from(taken)), "{taken} in {lasted:.1} s");
    assert_eq!(usize::try_from(taken).unwrap() + waits.len(), FLOOD);
    let median = waits[waits.len() / 2];
    eprintln!(
        "{FLOOD} calls in {lasted:.2} s, {taken} taken, refusals p50 {median:?}, p99 {:?}",
        waits[waits.len() * 99 / 100]
    );
    assert!(median < Duration::from_millis(50), "{median:?}");
}
