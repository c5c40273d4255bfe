//! A process that ends between the hand-off and the answer: an e-mail is sent again, an SMS is not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use headlessly_communication::pb::{
    failure::Reason,
    message::{Channel, Status},
};
use serde_json::{Value, json};

use crate::harness::{
    Gateway, Received, TestProcess, post, to,
    vendors::{CALLBACKS, http, signed, taken},
};

/// A gateway that takes everything, and answers only when it is told that it may.
async fn silent(answers: &Arc<AtomicBool>) -> Gateway {
    let answers = answers.clone();
    Gateway::start(move |request: Received| {
        let answers = answers.load(Ordering::SeqCst);
        async move { if answers { taken(request).await } else { std::future::pending::<(u16, Value)>().await } }
    })
    .await
}

fn times(gateway: &Gateway, id: &str) -> usize {
    gateway.seen().iter().filter(|request| request.text("/id") == id).count()
}

#[tokio::test]
async fn an_sms_is_not_sent_twice_because_we_ended() {
    let answers = Arc::new(AtomicBool::new(false));
    let gateway = silent(&answers).await;
    let folder = tempfile::tempdir().unwrap();
    let toml = http("gateway", gateway.url(), CALLBACKS);
    let process = TestProcess::start(folder.path(), &toml).await;
    let sms = process.api.send(to(Channel::Sms, "+15005550010")).await.id;
    let email = process.api.send(to(Channel::Email, "ann@example.test")).await.id;
    gateway.wait_for(2).await;
    process.kill();

    answers.store(true, Ordering::SeqCst);
    let process = TestProcess::start(folder.path(), &toml).await;
    assert_eq!(process.api.reach(&email, Status::Sent).await.attempts, 1);
    assert_eq!(times(&gateway, &email), 2, "twice is better than never");
    // Another SMS goes its way, and the first one waits.
    let other = process.api.send(to(Channel::Sms, "+15005550011")).await.id;
    process.api.reach(&other, Status::Sent).await;
    assert_eq!((times(&gateway, &sms), process.api.get(&sms).await.status()), (1, Status::Queued));
    let body = json!({ "message": sms, "status": "delivered" }).to_string();
    assert_eq!(post(process.edge, "/webhooks/gateway", &[signed(&body)], body.clone()).await, 204);
    process.api.reach(&sms, Status::Delivered).await;
    assert_eq!(times(&gateway, &sms), 1);
}

#[tokio::test]
async fn without_a_receipt_it_fails_and_says_why() {
    let answers = Arc::new(AtomicBool::new(false));
    let gateway = silent(&answers).await;
    let folder = tempfile::tempdir().unwrap();
    let more = "[dispatch]\nhold = \"1s\"\nsweep = \"100ms\"\n";
    let toml = format!("{more}{}", http("gateway", gateway.url(), ""));
    let process = TestProcess::start(folder.path(), &toml).await;
    let sms = process.api.send(to(Channel::Sms, "+15005550010")).await.id;
    gateway.wait_for(1).await;
    process.kill();
    let process = TestProcess::start(folder.path(), &toml).await;
    let failed = process.api.reach(&sms, Status::Failed).await;
    let failure = failed.failure.unwrap();
    assert_eq!((failure.reason(), failure.retryable), (Reason::Ambiguous, true));
    assert_eq!(times(&gateway, &sms), 1);
    // A person who knows more may have it sent again.
    answers.store(true, Ordering::SeqCst);
    let retry = headlessly_communication::pb::RetryMessageRequest { id: sms.clone(), ..Default::default() };
    process.api.messages().retry(retry).await.unwrap();
    process.api.reach(&sms, Status::Sent).await;
    assert_eq!(times(&gateway, &sms), 2);
}
