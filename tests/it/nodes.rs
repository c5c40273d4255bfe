//! Several nodes over one database: what one is asked, any may do; when one is gone, the others go on.

use std::{collections::HashSet, sync::Arc};

use headlessly_communication::pb::message::{Channel, Status};
use tokio::sync::Notify;

use crate::harness::{
    Database, Follow, Gateway, Received, TestProcess, share, to,
    vendors::{http, sink, taken},
    within,
};

/// Nodes over a new database; none when this machine has no PostgreSQL.
async fn nodes(count: usize, toml: &str) -> Option<Vec<(TestProcess, tempfile::TempDir)>> {
    let database = Database::new().await?;
    let mut nodes = Vec::new();
    for _ in 0..count {
        let folder = tempfile::tempdir().unwrap();
        share(folder.path(), &database.url);
        nodes.push((TestProcess::start(folder.path(), toml).await, folder));
    }
    Some(nodes)
}

#[tokio::test]
async fn each_sees_what_the_others_do() {
    let sink = sink().await;
    let Some(nodes) = nodes(2, &http("sink", sink.url(), "")).await else { return };
    let (one, two) = (&nodes[0].0.api, &nodes[1].0.api);
    let mut follow = Follow::events(two, &["Message.Sent"]).await;
    let mut ids = HashSet::new();
    for number in 0..40 {
        let node = if number % 2 == 0 { one } else { two };
        ids.insert(node.send(to(Channel::Email, &format!("n{number}@example.test"))).await.id);
    }
    let mut seen = HashSet::new();
    while seen.len() < ids.len() {
        for event in follow.until("a message that was sent", |_| true).await {
            assert!(seen.insert(event.target), "each once");
        }
    }
    assert_eq!(seen, ids);
    for id in &ids {
        assert_eq!(one.get(id).await.status(), Status::Sent);
        assert_eq!(two.get(id).await.status(), Status::Sent);
        assert_eq!(two.activities(id).await.len(), 1, "whichever node made it, once");
    }
    assert_eq!(sink.seen().len(), ids.len());
}

#[tokio::test]
async fn what_a_lost_node_held_moves_to_another() {
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes) = (began.clone(), go.clone());
    // The first call is never answered; the others are.
    let first = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let sink = Gateway::start(move |request: Received| {
        let (begins, goes, first) = (begins.clone(), goes.clone(), first.clone());
        async move {
            if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                begins.notify_one();
                goes.notified().await;
            }
            taken(request).await
        }
    })
    .await;
    let Some(mut nodes) = nodes(1, &http("sink", sink.url(), "")).await else { return };
    let (one, folder) = nodes.remove(0);
    let id = one.api.send(to(Channel::Email, "ann@example.test")).await.id;
    within("the first hand-off", began.notified()).await;
    let other = tempfile::tempdir().unwrap();
    share(other.path(), &std::fs::read_to_string(folder.path().join("database")).unwrap());
    let two = TestProcess::start(other.path(), &http("sink", sink.url(), "")).await;
    one.kill();
    let sent = two.api.reach(&id, Status::Sent).await;
    assert_eq!(sent.attempts, 1, "the lost try left no result");
    assert_eq!(sink.seen().len(), 2, "it may have been sent, so it was sent again");
    go.notify_waiters();
}
