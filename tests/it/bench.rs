//! The measurement of the program measures, and counts what it sent.

use serde_json::Value;

use crate::harness::TestProcess;

#[tokio::test]
async fn every_measured_message_arrives_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (code, out, error) = TestProcess::output(
        folder.path(),
        &["bench", "http", "smtp", "--count", "300", "--dir", path, "--json"],
    )
    .await;
    assert_eq!(code, Some(0), "{error}");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|line| line["case"].as_str().unwrap()).collect();
    assert_eq!(names, ["store", "disk_sync", "http, unary to the gateway", "smtp, batches to the relay"]);
    assert_eq!(lines[0]["durability"], "synchronous=FULL");
    for line in &lines[2..] {
        assert_eq!(
            (&line["n"], &line["distinct"], &line["dup"]),
            (&300.into(), &300.into(), &0.into()),
            "{line}"
        );
        assert!(line["p99_us"].as_u64() >= line["p50_us"].as_u64(), "{line}");
    }
}

#[tokio::test]
async fn a_store_in_which_something_waits_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite://{}", folder.path().join("given.db").display());
    let arguments = ["bench", "accept", "--count", "100", "--store", &store];
    let (code, error) = TestProcess::run(folder.path(), &arguments).await;
    assert_eq!(code, Some(0), "{error}");
    // What was accepted is due a day later: now it waits.
    let (code, error) = TestProcess::run(folder.path(), &arguments).await;
    assert_eq!(code, Some(64), "{error}");
    assert!(error.contains("100 messages wait in"), "{error}");
}
