//! What nobody took in time is found, and sent again when the trouble is over.

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
use serde_json::Value;

use crate::harness::{
    Gateway, Received, TestApp, TestProcess, at, to,
    vendors::{http, taken},
};

/// Answers 503 until it is told that it is well.
async fn gateway(well: &Arc<AtomicBool>) -> Gateway {
    let well = well.clone();
    Gateway::start(move |request: Received| {
        let well = well.load(Ordering::SeqCst);
        async move { if well { taken(request).await } else { (503, Value::Null) } }
    })
    .await
}

#[tokio::test]
async fn what_nobody_takes_in_time_is_a_dead_letter_and_what_is_late_expires() {
    let gateway = gateway(&Arc::default()).await;
    let toml = format!(
        "[dispatch]\nretry_first = \"10ms\"\nretry_max = \"20ms\"\nmax_attempts = 1000\nbreaker_probe = \"100ms\"\n\
         sweep = \"100ms\"\nmax_lifetime = \"1s\"\nmax_lateness = \"1s\"\n{}",
        http("gateway", gateway.url(), "")
    );
    let app = TestApp::start(&toml).await;
    let id = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    let later = pb::Message {
        scheduled_at: at(Duration::from_millis(300)),
        ..to(Channel::Email, "bob@example.test")
    };
    let late = app.api.send(later).await.id;
    let failed = app.api.reach(&id, Status::Failed).await;
    assert_eq!(failed.failure.unwrap().reason(), Reason::RetriesExhausted);
    assert_eq!(app.api.tickets(&id).await.len(), 1);
    app.api.reach(&late, Status::Expired).await;
}

#[tokio::test]
async fn all_dead_letters_are_sent_again_by_one_command() {
    let well = Arc::new(AtomicBool::new(false));
    let gateway = gateway(&well).await;
    let toml = format!(
        "[dispatch]\nretry_first = \"10ms\"\nmax_attempts = 1\nbreaker_probe = \"100ms\"\n{}",
        http("gateway", gateway.url(), "")
    );
    let app = TestApp::start(&toml).await;
    // Four: the fifth failure would make the provider the culprit.
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(app.api.send(to(Channel::Email, &format!("ann{number}@example.test"))).await.id);
    }
    for id in &ids {
        app.api.reach(id, Status::Failed).await;
    }
    well.store(true, Ordering::SeqCst);
    let (server, folder) = (format!("http://{}", app.address), tempfile::tempdir().unwrap());
    let none = r#"{"failure.reason": "POISON"}"#;
    for arguments in [
        &["--server", &server, "messages", "list", "--dead"][..],
        &["--server", &server, "messages", "retry", "--all", "--filter", none],
    ] {
        assert_eq!(TestProcess::run(folder.path(), arguments).await.0, Some(0), "{arguments:?}");
    }
    assert_eq!(app.api.get(&ids[0]).await.status(), Status::Failed);
    let (code, problem) =
        TestProcess::run(folder.path(), &["--server", &server, "messages", "retry", "--all"]).await;
    assert_eq!(code, Some(0), "{problem}");
    for id in &ids {
        app.api.reach(id, Status::Sent).await;
    }
}
