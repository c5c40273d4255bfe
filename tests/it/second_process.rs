//! One process has the store, and ends well when it is asked to.

use std::sync::Arc;

use headlessly_communication::pb::{
    GetMessageRequest,
    message::{Channel, Status},
};
use tokio::sync::Notify;

use crate::harness::{
    Gateway, Received, TestProcess, on_sqlite, to,
    vendors::{http, sink, taken},
    within,
};

#[tokio::test]
async fn a_second_one_is_sent_away() {
    // A database may have several.
    if !on_sqlite() {
        return;
    }
    let sink = sink().await;
    let (folder, toml) = (tempfile::tempdir().unwrap(), http("sink", sink.url(), ""));
    let first = TestProcess::start(folder.path(), &toml).await;
    let (code, error) = TestProcess::run(folder.path(), &["serve"]).await;
    assert_eq!(code, Some(75), "{error}");
    assert!(error.contains("in use by another hly process"), "{error}");
    // The first one is none the worse for it.
    let id = first.api.send(to(Channel::Email, "ann@example.test")).await.id;
    first.api.reach(&id, Status::Sent).await;
    assert!(first.terminate().await.success());
    // And now there is room.
    let next = TestProcess::start(folder.path(), &toml).await;
    assert_eq!(next.api.get(&id).await.status(), Status::Sent);
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_process_does() {
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes) = (began.clone(), go.clone());
    let slow = Gateway::start(move |request: Received| {
        let (begins, goes) = (begins.clone(), goes.clone());
        async move {
            begins.notify_one();
            goes.notified().await;
            taken(request).await
        }
    })
    .await;
    let (folder, toml) = (tempfile::tempdir().unwrap(), http("slow", slow.url(), ""));
    let process = TestProcess::start(folder.path(), &toml).await;
    let api = process.api.clone();
    let id = api.send(to(Channel::Email, "ann@example.test")).await.id;
    began.notified().await;
    let ending = tokio::spawn(process.terminate());
    // It takes no more calls, so that it is stopping is seen from outside; only then does the vendor answer.
    let get = GetMessageRequest { id: id.clone(), ..Default::default() };
    within("the end of the listener", async {
        while api.messages().get(get.clone()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    go.notify_one();
    assert!(ending.await.unwrap().success());
    assert_eq!(slow.seen().len(), 1);
    let next = TestProcess::start(folder.path(), &toml).await;
    let message = next.api.get(&id).await;
    assert_eq!((message.status(), message.attempts), (Status::Sent, 1));
    assert_eq!(slow.seen().len(), 1, "it is not sent again");
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let (code, error) =
        TestProcess::run_with(folder.path(), &["serve"], &[("HLY_API__LISTEN", &address)]).await;
    assert_eq!(code, Some(71), "{error}");
    assert!(error.contains(&address), "{error}");
}
