//! A disk that is full, nearly full, or broken.

use std::{path::Path, process::Command};

use headlessly_communication::pb::{
    CancelMessageRequest,
    message::{Channel, Status},
};
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;

use crate::harness::{
    TestApp, TestProcess, at, on_sqlite, post, reason, send_new, to,
    vendors::{CALLBACKS, http, signed, sink},
    within,
};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Whether the database is whole, by its own word.
async fn integrity(folder: &Path) -> String {
    let options = SqliteConnectOptions::new().filename(folder.join("hly.db"));
    let mut database = options.connect().await.unwrap();
    let word = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut database).await.unwrap();
    database.close().await.unwrap();
    word
}

#[tokio::test]
async fn below_the_watermark_new_work_is_refused_and_the_rest_goes_on() {
    // It looks into the file.
    if !on_sqlite() {
        return;
    }
    let app = TestApp::start("").await;
    let mut later = to(Channel::Email, "ann@example.test");
    later.scheduled_at = at(HOUR);
    let waits = app.api.send(later).await.id;
    let app = TestApp::start_in(app.stop().await, "[store]\nmin_free = \"1024TiB\"\n").await;
    let refused =
        app.api.messages().send(send_new(to(Channel::Email, "ann@example.test"))).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "STORAGE_FULL"));
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(app.api.get(&waits).await.status(), Status::Scheduled);
    let cancel = CancelMessageRequest { id: waits.clone(), ..Default::default() };
    app.api.messages().cancel(cancel).await.unwrap();
    assert_eq!(app.api.get(&waits).await.status(), Status::Cancelled);
}

/// No file of the process may grow over this many KiB.
const LIMIT: usize = 4_096;

#[tokio::test]
async fn what_was_acknowledged_survives_a_file_that_may_not_grow() {
    // It looks into the file.
    if !on_sqlite() {
        return;
    }
    let sink = sink().await;
    let folder = tempfile::tempdir().unwrap();
    let toml = http("sink", sink.url(), CALLBACKS);
    let limited = format!("ulimit -f $(({LIMIT} * 1024 / 512)); exec \"$0\" \"$@\"");
    let process = TestProcess::start_under(folder.path(), &toml, &["dash", "-c", &limited]).await;
    let mut acknowledged = Vec::new();
    let refused = loop {
        let mut message = to(Channel::Email, "ann@example.test");
        message.body = "x".repeat(60_000);
        match process.api.messages().send(send_new(message)).await {
            Ok(message) => acknowledged.push(message.into_inner().id),
            Err(status) => break status,
        }
        assert!(acknowledged.len() < 1_000, "the limit is not felt");
    };
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::Unavailable, "STORAGE_FULL"),
        "{refused:?}"
    );
    assert!(acknowledged.len() > 5);
    // It lives, and still answers what needs no room.
    assert_eq!(process.api.get(&acknowledged[0]).await.id, acknowledged[0]);
    // What a vendor reports cannot be kept now: it is asked to say it again. And who asks whether this server is well is told.
    let body = json!({ "message": acknowledged[0], "status": "delivered" }).to_string();
    assert_eq!(post(process.edge, "/webhooks/sink", &[signed(&body)], body.clone()).await, 503);
    let mut health = HealthClient::new(process.api.channel());
    within("a server that is not well says so", async {
        loop {
            let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
            if answer.status() == ServingStatus::NotServing {
                break;
            }
            // Until the last corner is filled: what is small may still fit where the others did not.
            if let Ok(message) =
                process.api.messages().send(send_new(to(Channel::Email, "ann@example.test"))).await
            {
                acknowledged.push(message.into_inner().id);
            }
        }
    })
    .await;
    process.kill();
    assert_eq!(integrity(folder.path()).await, "ok");

    let process = TestProcess::start(folder.path(), &toml).await;
    for id in &acknowledged {
        process.api.reach(id, Status::Sent).await;
    }
    assert!(process.terminate().await.success());
    assert_eq!(integrity(folder.path()).await, "ok");
}

/// Syncs that fail, by strace; where that is not installed there is nothing to make them fail with.
#[tokio::test]
async fn a_sync_that_fails_ends_the_process_and_the_next_one_has_everything() {
    // It looks into the file.
    if !on_sqlite() {
        return;
    }
    if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let sink = sink().await;
    let folder = tempfile::tempdir().unwrap();
    let toml = http("sink", sink.url(), "");
    let log = folder.path().join("strace").display().to_string();
    let strace = ["strace", "-D", "-f", "-qq", "-o", &log, "-e", "trace=fdatasync,fsync", "-e"];
    let inject = ["inject=fdatasync,fsync:error=EIO:when=60+"];
    let full = [("HLY_STORE__SYNCHRONOUS", "full")];
    let under = [&strace[..], &inject].concat();
    let process = TestProcess::start_with(folder.path(), &toml, &under, &full).await;
    let mut acknowledged = Vec::new();
    let failed = loop {
        match process.api.messages().send(send_new(to(Channel::Email, "ann@example.test"))).await {
            Ok(message) => acknowledged.push(message.into_inner().id),
            Err(status) => break status,
        }
        assert!(acknowledged.len() < 1_000, "no sync failed");
    };
    assert!(matches!(failed.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{failed:?}");
    let ended = process.ended().await;
    assert_eq!(ended.code(), Some(74), "{}", std::fs::read_to_string(folder.path().join("log")).unwrap());
    assert_eq!(integrity(folder.path()).await, "ok");
    let process = TestProcess::start(folder.path(), &toml).await;
    for id in &acknowledged {
        process.api.reach(id, Status::Sent).await;
    }
    assert!(process.terminate().await.success());
}

/// The same while what was written is brought into the database file, of which SQLite itself says nothing.
#[tokio::test]
async fn a_sync_that_fails_while_the_log_is_folded_ends_the_process_too() {
    if !on_sqlite() || !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
    {
        return;
    }
    let sink = sink().await;
    let folder = tempfile::tempdir().unwrap();
    let toml = http("sink", sink.url(), "");
    // Made before, so that only the folding syncs it.
    assert!(TestProcess::start(folder.path(), &toml).await.terminate().await.success());
    let (log, file) = (
        folder.path().join("strace").display().to_string(),
        folder.path().join("hly.db").display().to_string(),
    );
    let strace = ["strace", "-D", "-f", "-qq", "-o", &log, "-P", &file, "-e", "trace=fdatasync,fsync", "-e"];
    let under = [&strace[..], &["inject=fdatasync,fsync:error=EIO"]].concat();
    let full = [("HLY_STORE__SYNCHRONOUS", "full")];
    let process = TestProcess::start_with(folder.path(), &toml, &under, &full).await;
    let mut acknowledged = Vec::new();
    let mut message = to(Channel::Email, "ann@example.test");
    message.body = "x".repeat(60_000);
    while let Ok(message) = process.api.messages().send(send_new(message.clone())).await {
        acknowledged.push(message.into_inner().id);
        assert!(acknowledged.len() < 2_000, "no sync failed");
    }
    let ended = process.ended().await;
    assert_eq!(ended.code(), Some(74), "{}", std::fs::read_to_string(folder.path().join("log")).unwrap());
    let process = TestProcess::start(folder.path(), &toml).await;
    for id in &acknowledged {
        process.api.reach(id, Status::Sent).await;
    }
    assert!(process.terminate().await.success());
}
