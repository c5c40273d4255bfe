//! The same request twice is one message.

use headlessly_communication::pb::{
    self, SendMessageBatchRequest, SendMessageRequest,
    message::{Channel, Status},
    send_message_batch_response::result::Result as One,
};
use tonic::Code;

use crate::harness::{
    TestApp, fields, reason, send_new, to,
    vendors::{http, sink},
};

fn request(body: &str, request_id: &str) -> SendMessageRequest {
    let message = pb::Message { body: body.to_owned(), ..to(Channel::Email, "ann@example.test") };
    SendMessageRequest { request_id: request_id.to_owned(), ..send_new(message) }
}

#[tokio::test]
async fn a_repetition_is_answered_and_not_carried_out() {
    let sink = sink().await;
    let toml = http("sink", sink.url(), "");
    let app = TestApp::start(&toml).await;
    let mut messages = app.api.messages();
    let first = messages.send(request("one", "r-1")).await.unwrap().into_inner();
    let second = messages.send(request("one", "r-1")).await.unwrap().into_inner();
    assert_eq!(first.id, second.id);
    app.api.reach(&first.id, Status::Sent).await;
    let third = messages.send(request("one", "r-1")).await.unwrap().into_inner();
    assert_eq!((third.id.as_str(), third.status()), (first.id.as_str(), Status::Sent));

    let error = messages.send(request("another", "r-1")).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    // What is refused uses no id up.
    let error = messages.send(request("", "r-2")).await.unwrap_err();
    assert_eq!((error.code(), fields(&error)), (Code::InvalidArgument, vec!["body".to_owned()]));
    let other = messages.send(request("two", "r-2")).await.unwrap().into_inner();
    assert_ne!(other.id, first.id);
    // Another verb has ids of its own.
    let create = pb::CreateMessageRequest {
        message: Some(to(Channel::Email, "ann@example.test")),
        request_id: "r-1".to_owned(),
    };
    assert_ne!(messages.create(create).await.unwrap().into_inner().id, first.id);

    // Also after the process has ended and begun again.
    app.api.reach(&other.id, Status::Sent).await;
    let app = TestApp::start_in(app.stop().await, &toml).await;
    let fourth = app.api.messages().send(request("one", "r-1")).await.unwrap().into_inner();
    assert_eq!(fourth.id, first.id);
    let last = app.api.send(to(Channel::Email, "ann@example.test")).await;
    app.api.reach(&last.id, Status::Sent).await;
    let sent: Vec<String> = sink.seen().iter().map(|request| request.text("/id")).collect();
    assert_eq!(sent, [first.id, other.id, last.id]);
}

#[tokio::test]
async fn so_is_a_batch_with_what_was_refused_in_it() {
    let sink = sink().await;
    let app = TestApp::start(&http("sink", sink.url(), "")).await;
    let batch = |bodies: &[&str]| SendMessageBatchRequest {
        messages: bodies
            .iter()
            .map(|body| pb::Message { body: (*body).to_owned(), ..to(Channel::Email, "ann@example.test") })
            .collect(),
        request_id: "b-1".to_owned(),
        ..Default::default()
    };
    let send = async |request: SendMessageBatchRequest| {
        let results = app.api.messages().send_batch(request).await?.into_inner().results;
        let one = |result: pb::send_message_batch_response::Result| match result.result {
            Some(One::Message(message)) => Ok(message.id),
            Some(One::Status(status)) => Err((status.code, status.message)),
            None => panic!("neither a message nor a status"),
        };
        Ok::<_, tonic::Status>(results.into_iter().map(one).collect::<Vec<_>>())
    };
    let first = send(batch(&["one", "", "three"])).await.unwrap();
    assert!(first[0].is_ok() && first[1].is_err() && first[2].is_ok());
    assert_eq!(send(batch(&["one", "", "three"])).await.unwrap(), first);
    let error = send(batch(&["one", "two", "three"])).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    // All or nothing: nothing, and the id is free.
    let all = |bodies: &[&str]| SendMessageBatchRequest {
        atomic: true,
        request_id: "b-2".to_owned(),
        ..batch(bodies)
    };
    let error = send(all(&["one", "", "three"])).await.unwrap_err();
    assert_eq!(fields(&error), ["messages[1].body"]);
    let second = send(all(&["one", "two"])).await.unwrap();
    for id in first.iter().chain(&second).flatten() {
        app.api.reach(id, Status::Sent).await;
    }
    assert_eq!(sink.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_at_the_same_moment_are_one() {
    let sink = sink().await;
    let app = TestApp::start(&http("sink", sink.url(), "")).await;
    let twins: Vec<_> = (0..32)
        .map(|number| {
            let mut messages = app.api.messages();
            // Eight requests, four of each.
            let request = request("same", &format!("t-{}", number % 8));
            tokio::spawn(async move { messages.send(request).await.unwrap().into_inner().id })
        })
        .collect();
    let mut ids = Vec::new();
    for twin in twins {
        ids.push(twin.await.unwrap());
    }
    assert!((8..32).all(|number| ids[number] == ids[number - 8]), "{ids:?}");
    for id in &ids[..8] {
        app.api.reach(id, Status::Sent).await;
    }
    assert_eq!(sink.seen().len(), 8);
}
