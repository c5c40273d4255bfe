//! Commands against a server, over the wire.

#![allow(clippy::unwrap_used)]

use super::{
    fake::{Fake, MESSAGES},
    output::tests::Buffer,
    *,
};

/// Runs a command; gives what it printed and how it ended.
async fn hly(server: &str, arguments: &[&str]) -> (String, Result<(), Failure>) {
    let cli = Cli::try_parse_from(["hly", "--api-key", "hly_sk_test"].iter().chain(arguments)).unwrap();
    let Global { api_key, timeout, json, config, .. } = cli.global;
    let buffer = Buffer::default();
    let target = Target { server: server.to_owned(), api_key, timeout };
    let context = Context { target, config, output: buffer.output(json, false) };
    let result = dispatch(context, cli.command, &super::tests::Nobody).await;
    (buffer.text(), result)
}

#[tokio::test]
async fn send_carries_key_deadline_and_fields() {
    let fake = Fake::default();
    let server = fake.serve().await;
    let words = ["send", "--to", "contact_1", "--channel", "sms", "--body", "Hi", "--metadata", "order=7"];
    let (printed, result) = hly(&server, &words).await;
    assert_eq!(result, Ok(()));
    assert_eq!(printed, "message_1  QUEUED  SMS  contact_1\n");
    let metadata = fake.seen().metadata.remove(0);
    let header = |name| metadata.get(name).unwrap().to_str().unwrap();
    assert_eq!(header("authorization"), "Bearer hly_sk_test");
    assert_eq!(header("grpc-timeout"), "30000000u");
    let (printed, _) = hly(&server, &[&words[..], &["--json"]].concat()).await;
    expect_test::expect![[r#"
        {"id":"message_1","channel":"SMS","recipient":"contact_1","body":"Hi","metadata":{"order":7},"status":"QUEUED"}
    "#]]
    .assert_eq(&printed);
}

#[tokio::test]
async fn attachments_and_html_are_read_from_files() {
    let fake = Fake::default();
    let server = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.PDF");
    std::fs::write(&file, b"\xff").unwrap();
    let file = file.to_str().unwrap();
    let (_, result) = hly(&server, &["send", "--to", "a@b.example", "--body", "x", "--attach", file]).await;
    assert_eq!(result, Ok(()));
    let Some(v1::send_message_request::Target::Message(message)) = fake.seen().sent[0].target.clone() else {
        panic!("a message was sent");
    };
    let attachment = &message.attachments[0];
    assert_eq!((&*attachment.name, &*attachment.content_type), ("a.PDF", "application/pdf"));
    let (_, result) = hly(&server, &["send", "--to", "x", "--body", "x", "--html", file]).await;
    assert!(result.unwrap_err().to_string().ends_with("is not UTF-8"));
}

#[tokio::test]
async fn what_the_server_refuses_is_told_in_full() {
    let server = Fake::default().serve().await;
    let failure = hly(&server, &["send", "--to", "x", "--body", ""]).await.1.unwrap_err();
    assert_eq!(failure.exit, Exit::NotOk);
    assert_eq!(failure.lines, ["INVALID_ARGUMENT INVALID_MESSAGE: 1 problem", "message.body: is required"]);
    let failure = hly(&server, &["messages", "get", "message_1"]).await.1.unwrap_err();
    assert!(failure.lines[0].starts_with("UNIMPLEMENTED"), "{failure}");
    let failure = hly(&server, &["messages", "cancel", "message_1"]).await.1.unwrap_err();
    assert_eq!(failure.exit, Exit::NotOk);
}

#[tokio::test]
async fn waiting_that_ends_early_is_said_so() {
    let server = Fake::default().serve().await;
    let (printed, result) = hly(&server, &["send", "--to", "x", "--body", "x", "--wait", "sent"]).await;
    assert!(printed.starts_with("message_1  QUEUED"));
    assert_eq!(result.unwrap_err().exit, Exit::TryAgain);
}

#[tokio::test]
async fn lists_page_until_the_limit() {
    let fake = Fake::default();
    let server = fake.serve().await;
    let words = ["messages", "list", "--status", "failed", "--channel", "SMS", "--limit", "0", "--json"];
    let (printed, result) = hly(&server, &words).await;
    assert_eq!(result, Ok(()));
    assert_eq!(printed.lines().count(), MESSAGES);
    let filter = fake.seen().found[0].filter.clone().unwrap();
    let mut fields: Vec<_> = filter.r#where.into_keys().collect();
    fields.sort();
    assert_eq!(fields, ["channel", "status"]);
    let (printed, _) = hly(&server, &["messages", "list", "--limit", "3"]).await;
    assert_eq!(printed.lines().count(), 4);
    assert!(printed.starts_with("ID         STATUS"), "{printed}");
}

#[tokio::test]
async fn a_watch_goes_on_after_the_last_event_seen() {
    let fake = Fake::default();
    let server = fake.serve().await;
    let (printed, result) = hly(&server, &["messages", "watch", "message_1", "--json"]).await;
    assert_eq!(result, Ok(()));
    assert_eq!(printed.matches("Message.Sent").count(), 1);
    assert_eq!(printed.matches("Message.Delivered").count(), 1);
    assert_eq!(fake.seen().cursors, ["", "1"]);
}

#[tokio::test]
async fn a_batch_is_sent_in_chunks_that_repeat_safely() {
    let fake = Fake::default();
    let server = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, rejected) = (folder.path().join("m.jsonl"), folder.path().join("rejected.jsonl"));
    let mut text = "{\"recipient\":\"x\",\"body\":\"b\"}\n".repeat(600);
    text.push_str("{\"recipient\":\"x\",\"body\":\"\"}\n{\"bdoy\":\"x\"}\n");
    std::fs::write(&file, text).unwrap();
    let words = ["send", "--batch", file.to_str().unwrap(), "--rejected", rejected.to_str().unwrap()];
    let (printed, result) = hly(&server, &words).await;
    assert_eq!(result, Err(Failure::quiet(Exit::NotOk)));
    assert_eq!(printed.lines().count(), 600);
    let refused = std::fs::read_to_string(&rejected).unwrap();
    assert_eq!(refused, "{\"bdoy\":\"x\"}\n{\"recipient\":\"x\",\"body\":\"\"}\n");
    hly(&server, &words).await.1.unwrap_err();
    let ids: Vec<_> = fake.seen().batches.iter().map(|batch| batch.request_id.clone()).collect();
    let [first_try, first, second, first_again, second_again] = &ids[..] else { panic!("{ids:?}") };
    assert!(first.ends_with("-1") && second.ends_with("-501"), "{ids:?}");
    assert_eq!((first_try, first, second), (first, first_again, second_again));
}
