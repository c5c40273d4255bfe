//! What is wrong is refused with the name of the field, and changes nothing.

use headlessly_communication::pb::{
    self,
    message::{Channel, Priority},
};
use prost::Message as _;
use serde_json::json;
use tonic::{Code, Status};

use crate::harness::{TestApp, fields, json as filter, send_new, to, within};

type Spoil = fn(&mut pb::Message);

fn file(name: &str, content_type: &str, size: usize) -> Vec<pb::Attachment> {
    let (name, content_type) = (name.to_owned(), content_type.to_owned());
    vec![pb::Attachment { name, content_type, content: vec![b'x'; size].into(), ..Default::default() }]
}

fn time(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos })
}

fn metadata(json: &serde_json::Value) -> Option<prost_types::Struct> {
    let object = json.as_object().unwrap();
    let text = |value: &serde_json::Value| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(value.as_str().unwrap_or_default().to_owned())),
    };
    let fields = object.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    Some(prost_types::Struct { fields })
}

/// Each spoils a good e-mail; the field that the refusal has to name.
const MESSAGES: [(&str, Spoil); 34] = [
    ("recipient", |message| message.recipient.clear()),
    ("recipient", |message| message.recipient = "nobody".to_owned()),
    ("recipient", |message| message.recipient = "a@b.c\r\nBcc: v@x".to_owned()),
    ("recipient", |message| message.recipient = "\"a\r\nRCPT TO:<v>\"@b".to_owned()),
    ("recipient", |message| message.recipient = "Ann <ann@example.test>".to_owned()),
    ("recipient", |message| message.recipient = "contact_".to_owned()),
    ("recipient", |message| message.recipient = "contact_nobodyknows".to_owned()),
    ("recipient", |message| {
        (message.channel, message.recipient) = (Channel::Sms.into(), "+1 (555) 0100".to_owned());
    }),
    ("recipient", |message| {
        (message.channel, message.recipient) = (Channel::Sms.into(), "0015550100".to_owned());
    }),
    ("recipient", |message| {
        (message.channel, message.recipient) = (Channel::Sms.into(), "+1234567890123456".to_owned());
    }),
    ("recipient", |message| {
        (message.channel, message.recipient) = (Channel::Sms.into(), "+١٢٣٤٥٦٧٨".to_owned());
    }),
    ("recipient", |message| {
        (message.channel, message.recipient) = (Channel::Push.into(), "x".repeat(5_000));
    }),
    ("recipient", |message| {
        (message.channel, message.recipient) = (Channel::Push.into(), "to\nken".to_owned());
    }),
    ("sender", |message| message.sender = "boss@bank.test\u{202e}".to_owned()),
    ("channel", |message| message.channel = 9_999),
    ("priority", |message| message.priority = -1),
    ("subject", |message| message.subject = "Hi\r\nBcc: v@x".to_owned()),
    ("subject", |message| message.subject = "x".repeat(999)),
    ("body", |message| message.body.clear()),
    ("body", |message| message.body = "x".repeat(1024 * 1024 + 1)),
    ("body", |message| message.body = "\u{301}".repeat(600_000)),
    ("html_body", |message| message.html_body = "x".repeat(1024 * 1024 + 1)),
    ("headers[0]", |message| message.headers = [("Bcc".to_owned(), "v@x".to_owned())].into()),
    ("headers[0]", |message| message.headers = [("X A".to_owned(), "v".to_owned())].into()),
    ("headers[0]", |message| message.headers = [("X-A".to_owned(), "v\r\nBcc: v@x".to_owned())].into()),
    ("attachments[0].name", |message| message.attachments = file("../../x", "text/plain", 1)),
    ("attachments[0].content_type", |message| message.attachments = file("x", "text/html; x=\r\n", 1)),
    ("attachments[0].content", |message| message.attachments = file("x", "text/plain", 0)),
    ("metadata", |message| message.metadata = metadata(&json!({ "__proto__": "x" }))),
    ("metadata", |message| message.metadata = metadata(&json!({ "a": "x".repeat(40_000) }))),
    ("scheduled_at", |message| message.scheduled_at = time(253_402_300_799, 0)),
    ("scheduled_at", |message| message.scheduled_at = time(1_900_000_000, 1_000_000_000)),
    ("expires_at", |message| message.expires_at = time(1, 0)),
    ("template", |message| message.template = "template_welcome".to_owned()),
];

async fn nothing_happened(app: &TestApp) {
    assert!(app.api.find(&json!({})).await.is_empty());
    let request = pb::ListEventsRequest { types: vec!["Message.*".to_owned()], ..Default::default() };
    assert!(app.api.events().list(request).await.unwrap().into_inner().events.is_empty());
}

#[tokio::test]
async fn every_field_of_a_message() {
    let app = TestApp::start("").await;
    for (number, (field, spoil)) in MESSAGES.iter().enumerate() {
        let mut message = to(Channel::Email, "ann@example.test");
        spoil(&mut message);
        let Err(error) = app.api.messages().send(send_new(message)).await else {
            panic!("case {number}: {field} is taken");
        };
        assert_eq!(error.code(), Code::InvalidArgument, "case {number}: {error}");
        assert_eq!(fields(&error), [*field], "case {number}: {error}");
    }
    nothing_happened(&app).await;
    // All at once, in the order of the fields.
    let error = app.api.messages().send(send_new(pb::Message::default())).await.unwrap_err();
    assert_eq!(fields(&error), ["recipient", "body"]);
    let error = app.api.messages().send(pb::SendMessageRequest::default()).await.unwrap_err();
    assert_eq!((error.code(), fields(&error).is_empty()), (Code::InvalidArgument, false));
    nothing_happened(&app).await;
    // And the service is as well as before.
    let good = pb::Message { priority: Priority::Bulk.into(), ..to(Channel::Email, "ann@example.test") };
    app.api.send(good).await;
}

fn refused<T>(what: &str, answer: Result<T, Status>, field: &str) {
    let Err(error) = answer else { panic!("{what} is taken") };
    assert_eq!(
        (error.code(), fields(&error)),
        (Code::InvalidArgument, vec![field.to_owned()]),
        "{what}: {error}"
    );
}

#[tokio::test]
async fn everything_around_a_message() {
    let app = TestApp::start("").await;
    let mut messages = app.api.messages();
    for bad in ["x".repeat(129), "a\nb".to_owned(), "ä".to_owned()] {
        let mut request = send_new(to(Channel::Email, "ann@example.test"));
        request.request_id = bad.clone();
        refused(&bad, messages.send(request).await, "request_id");
    }
    for bad in ["", "x", "message_", "message_%00", "contact_k7TmPvQx", &"x".repeat(10_000)] {
        let request = pb::GetMessageRequest { id: bad.to_owned(), ..Default::default() };
        refused(bad, messages.get(request).await, "id");
    }
    let as_of = pb::GetMessageRequest { id: "message_x".to_owned(), as_of: time(1, 0) };
    assert!(messages.get(as_of).await.is_err());
    let find = pb::FindMessagesRequest::default;
    for bad in [json!({ "colour": "red" }), json!({ "body": { "$near": 1 } }), json!([1])] {
        let request = pb::FindMessagesRequest { filter: filter(&bad), ..find() };
        let error = messages.find(request).await.unwrap_err();
        assert!(fields(&error).iter().all(|field| field.starts_with("filter")), "{bad}: {error}");
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let request = pb::FindMessagesRequest { order_by: "colour".to_owned(), ..find() };
    refused("an order", messages.find(request).await, "order_by");
    let request = pb::FindMessagesRequest { page_token: "forged".to_owned(), ..find() };
    refused("a token", messages.find(request).await, "page_token");
    for size in [-1, i32::MAX] {
        messages.find(pb::FindMessagesRequest { page_size: size, ..find() }).await.unwrap();
    }
    let watch = pb::WatchMessagesRequest::default;
    let request = pb::WatchMessagesRequest { types: vec!["Message".to_owned()], ..watch() };
    refused("a pattern", messages.watch(request).await, "types[0]");
    let request = pb::WatchMessagesRequest { cursor: "yesterday".to_owned(), ..watch() };
    refused("a cursor", messages.watch(request).await, "cursor");
    let request = pb::WatchMessagesRequest { until_final: true, ..watch() };
    refused("an end without a message", messages.watch(request).await, "until_final");
    let batch = pb::SendMessageBatchRequest::default;
    refused("no messages", messages.send_batch(batch()).await, "messages");
    let many = vec![to(Channel::Email, "ann@example.test"); 1_001];
    let request = pb::SendMessageBatchRequest { messages: many, ..batch() };
    refused("too many messages", messages.send_batch(request).await, "messages");
    nothing_happened(&app).await;
}

/// Sends over gRPC-Web, as a client without limits of its own would; returns the `grpc-status`.
async fn send_within(app: &TestApp, timeout: &str) -> Code {
    let message = send_new(to(Channel::Email, "ann@example.test")).encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let request = reqwest::Client::new()
        .post(format!("http://{}/headlessly.communication.v1.MessageService/Send", app.address))
        .header("content-type", "application/grpc-web+proto")
        .header("grpc-timeout", timeout)
        .body(frame);
    let answer = within("an answer", request.send()).await.unwrap();
    let status = answer.headers().get("grpc-status").map(|status| status.as_bytes().to_owned());
    // A call that went well says so in the trailers, which are in the body here.
    Code::from_bytes(&status.unwrap_or_else(|| b"0".to_vec()))
}

#[tokio::test]
async fn the_time_that_a_call_may_take() {
    let app = TestApp::start("").await;
    for bad in ["99999999999H", "-1S", "1X", "H"] {
        assert_eq!(send_within(&app, bad).await, Code::InvalidArgument, "{bad}");
    }
    assert_eq!(send_within(&app, "0n").await, Code::DeadlineExceeded);
    nothing_happened(&app).await;
    assert_eq!(send_within(&app, "30S").await, Code::Ok);
    assert_eq!(app.api.find(&json!({})).await.len(), 1);
}

#[tokio::test]
async fn callbacks_that_cannot_be_read() {
    let app = TestApp::start("").await;
    let call = async |path: &str, body: &str| app.call_edge(path, &[], body.to_owned()).await;
    assert_eq!(call("/webhooks/nobody", "{}").await, 404);
    assert_eq!(call("/elsewhere", "{}").await, 404);
    assert_eq!(call("/webhooks/dev", "no json").await, 400);
    assert_eq!(call("/webhooks/dev", &" ".repeat(1024 * 1024 + 1)).await, 413);
    let packed = [("content-encoding", "gzip".to_owned())];
    assert_eq!(app.call_edge("/webhooks/dev", &packed, "{}".to_owned()).await, 415);
    nothing_happened(&app).await;
}
