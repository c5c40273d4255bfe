//! Stores that somebody has edited, and stores of other versions: served as far as they can be, told of, repaired.

use std::path::Path;

use headlessly_communication::pb::message::{Channel, Status};
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::harness::{
    Gateway, Received, TestApp, TestProcess, at, on_sqlite, to,
    vendors::{http, sink},
};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Does this to the database of a folder, whatever its checks say.
async fn edit(folder: &Path, statements: &'static [&'static str]) {
    let options = SqliteConnectOptions::new().filename(folder.join("hly.db"));
    let mut database = options.pragma("ignore_check_constraints", "on").connect().await.unwrap();
    for statement in statements {
        sqlx::query(*statement).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
}

async fn number(folder: &Path, query: &'static str) -> i64 {
    let options = SqliteConnectOptions::new().filename(folder.join("hly.db"));
    let mut database = options.connect().await.unwrap();
    let number = sqlx::query_scalar(query).fetch_one(&mut database).await.unwrap();
    database.close().await.unwrap();
    number
}

/// A store with one message that waits for a vendor that does not answer, and one that is scheduled.
async fn store() -> (tempfile::TempDir, String, String) {
    let silent = Gateway::start(|_: Received| std::future::pending::<(u16, Value)>()).await;
    let toml = format!("[dispatch]\nshutdown = \"1s\"\n{}", http("sink", silent.url(), ""));
    let app = TestApp::start(&toml).await;
    let queued = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    silent.wait_for(1).await;
    let mut later = to(Channel::Email, "ben@example.test");
    later.scheduled_at = at(HOUR);
    let scheduled = app.api.send(later).await.id;
    (app.stop().await, queued, scheduled)
}

/// What was done to a store, and what the doctor says of it.
const CASES: &[(&[&str], &str)] = &[
    (&["UPDATE queue SET epoch = -1"], "values that have no meaning"),
    (&["UPDATE queue SET tries = -5"], "values that have no meaning"),
    (&["UPDATE queue SET state = 9"], "values that have no meaning"),
    (&["UPDATE queue SET lane = 7"], "values that have no meaning"),
    (&["UPDATE queue SET channel = 'PIGEON'"], "values that have no meaning"),
    (&["UPDATE queue SET due_at = 'soon'"], "values that have no meaning"),
    (&["UPDATE queue SET due_at = 9223372036854775807"], "values that have no meaning"),
    (&["UPDATE queue SET expires_at = -9223372036854775808"], "values that have no meaning"),
    (&["DELETE FROM queue"], "wait without a place in the queue"),
    (&["UPDATE message SET status = 'READ'"], "a status that is not what their facts make"),
    (&["INSERT INTO message_part VALUES (5, 0, NULL, 'text/html', NULL, 'x')"], "parts belong to no message"),
    (
        &["INSERT INTO queue VALUES (5, 'default', 'EMAIL', 1, 0, 1, 0, 0, 0, 2000000000000000, 0, 0, 0)"],
        "belong to no message",
    ),
    (&["DROP INDEX queue_ready"], "the index queue_ready is missing"),
];

#[tokio::test]
async fn what_somebody_did_to_a_store_is_found_and_repaired() {
    // It looks into the file.
    if !on_sqlite() {
        return;
    }
    let (folder, queued, scheduled) = store().await;
    let sink = sink().await;
    let toml = http("sink", sink.url(), "");
    // The simulator: the doctor asks the providers how they do.
    std::fs::write(folder.path().join("hly.toml"), "").unwrap();
    let original = std::fs::read(folder.path().join("hly.db")).unwrap();
    for (statements, finding) in CASES {
        std::fs::write(folder.path().join("hly.db"), &original).unwrap();
        edit(folder.path(), statements).await;
        let (_, told) = TestProcess::run(folder.path(), &["doctor"]).await;
        assert!(told.contains(finding) && told.contains("FAIL  content"), "{statements:?}: {told}");
        let (_, told) = TestProcess::run(folder.path(), &["doctor", "--repair"]).await;
        assert!(told.contains("repaired: ") && told.contains(finding), "{statements:?}: {told}");
        let (_, told) = TestProcess::run(folder.path(), &["doctor"]).await;
        assert!(told.contains("nothing is wrong with it"), "{statements:?}: {told}");
    }
    // The last one is whole again: what waited is sent, what is for later waits.
    let process = TestProcess::start(folder.path(), &toml).await;
    process.api.reach(&queued, Status::Sent).await;
    assert_eq!(process.api.get(&scheduled).await.status(), Status::Scheduled);
    let (_, told) = TestProcess::run(folder.path(), &["doctor"]).await;
    assert!(told.contains("not looked at while a server has it open"), "{told}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_holds_up_nobody() {
    // It looks into the file.
    if !on_sqlite() {
        return;
    }
    for broken in [
        &["UPDATE queue SET epoch = -1 WHERE state = 0 AND ambiguous = 1"],
        &["UPDATE message SET headers = 'no JSON' WHERE status = 'QUEUED'"],
        &["UPDATE message SET priority = 9 WHERE status = 'QUEUED'"],
        &["DELETE FROM message WHERE status = 'QUEUED'"],
    ] {
        let (folder, ..) = store().await;
        let (sink, folder) = (sink().await, folder);
        edit(folder.path(), broken).await;
        let app = TestApp::start_in(folder, &http("sink", sink.url(), "")).await;
        let id = app.api.send(to(Channel::Email, "eve@example.test")).await.id;
        app.api.reach(&id, Status::Sent).await;
        // The channel's loop has looked into the queue before it could claim this one.
        let mut later = to(Channel::Email, "eve@example.test");
        later.scheduled_at = at(std::time::Duration::from_millis(3_500));
        let id = app.api.send(later).await.id;
        app.api.reach(&id, Status::Sent).await;
        let folder = app.stop().await;
        assert_eq!(number(folder.path(), "SELECT COUNT(*) FROM quarantine").await, 1, "{broken:?}");
        assert_eq!(
            number(folder.path(), "SELECT COUNT(*) FROM queue WHERE state = 0").await,
            1,
            "{broken:?}"
        );
    }
}

#[tokio::test]
async fn tables_are_migrated_and_newer_ones_refused() {
    // It looks into the file.
    if !on_sqlite() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hly.toml"), "").unwrap();
    let (code, told) = TestProcess::run(folder.path(), &["migrate", "--check"]).await;
    assert!(code == Some(1) && told.contains("to be migrated from version 0 to"), "{told}");
    let (code, told) = TestProcess::run(folder.path(), &["migrate"]).await;
    assert!(code == Some(0) && told.contains("migrated from version 0 to"), "{told}");
    let (code, told) = TestProcess::run(folder.path(), &["migrate", "--check"]).await;
    assert!(code == Some(0) && told.contains("nothing to do"), "{told}");
    edit(folder.path(), &["INSERT INTO _sqlx_migrations VALUES (999, 'later', '2030-01-01', 1, x'00', 0)"])
        .await;
    for command in [&["migrate"][..], &["migrate", "--check"], &["serve"]] {
        let (code, told) = TestProcess::run(folder.path(), command).await;
        assert!(code == Some(78) && told.contains("999"), "{command:?}: {code:?} {told}");
    }
}
