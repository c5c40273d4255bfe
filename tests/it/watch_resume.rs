//! Streams that go on where they ended: without a gap, without a repetition, also over a restart.

use std::time::Duration;

use headlessly_communication::pb::{
    self,
    message::{Channel, Status},
};
use tonic::Code;

use crate::harness::{Follow, TestApp, kinds, to, within};

fn watch(cursor: &str) -> pb::WatchMessagesRequest {
    pb::WatchMessagesRequest { cursor: cursor.to_owned(), ..Default::default() }
}

/// Sends a message and waits until it has all its events.
async fn delivered(app: &TestApp, recipient: &str) -> String {
    let id = app.api.send(to(Channel::Email, recipient)).await.id;
    app.api.reach(&id, Status::Delivered).await;
    id
}

fn event(seen: &pb::WatchMessagesResponse) -> &pb::Event {
    seen.event.as_ref().unwrap()
}

#[tokio::test]
async fn every_cut_goes_on_where_it_was() {
    let app = TestApp::start("").await;
    for number in 0..5 {
        delivered(&app, &format!("ann{number}@example.test")).await;
    }
    let all = Follow::messages(&app.api, watch("0")).await.take(20).await;
    let cursors: Vec<&str> = all.iter().map(|seen| event(seen).cursor.as_str()).collect();
    let app = TestApp::start_in(app.stop().await, "").await;
    for (cut, cursor) in cursors.iter().enumerate() {
        let rest = Follow::messages(&app.api, watch(cursor)).await.take(19 - cut).await;
        let rest: Vec<&str> = rest.iter().map(|seen| event(seen).cursor.as_str()).collect();
        assert_eq!(rest, cursors[cut + 1..]);
    }
    // From the last one on, what is new comes, live.
    let mut follow = Follow::messages(&app.api, watch(cursors[19])).await;
    let id = delivered(&app, "bob@example.test").await;
    let new = follow.take(4).await;
    assert!(new.iter().all(|seen| event(seen).target == id));
    assert_eq!(
        kinds(new.iter().map(event)),
        ["Message.Created", "Message.Queued", "Message.Sent", "Message.Delivered"]
    );
    // One page of the log says the same.
    let request = pb::ListEventsRequest { types: vec!["message.*".to_owned()], ..Default::default() };
    let log = app.api.events().list(request).await.unwrap().into_inner().events;
    let log: Vec<&str> = log.iter().map(|event| event.cursor.as_str()).collect();
    assert_eq!(log[..20], cursors);
}

#[tokio::test]
async fn patterns_and_contacts_choose() {
    let app = TestApp::start("").await;
    let mut failed = Follow::messages(
        &app.api,
        pb::WatchMessagesRequest { types: vec!["*.FAILED".to_owned()], ..watch("") },
    )
    .await;
    let mut welcomed = Follow::messages(
        &app.api,
        pb::WatchMessagesRequest {
            contact: "contact_fX9bL5nRd".to_owned(),
            types: vec!["message.sent".to_owned()],
            ..watch("")
        },
    )
    .await;
    delivered(&app, "ann@example.test").await;
    let bounced = app.api.send(to(Channel::Email, "bounce@example.test")).await.id;
    let welcome = delivered(&app, "contact_fX9bL5nRd").await;
    assert_eq!(event(&failed.take(1).await[0]).target, bounced);
    assert_eq!(event(&welcomed.take(1).await[0]).target, welcome);
}

#[tokio::test]
async fn a_stop_ends_the_streams_and_says_so() {
    let app = TestApp::start("").await;
    let mut stream = app.api.messages().watch(watch("0")).await.unwrap().into_inner();
    delivered(&app, "ann@example.test").await;
    for _ in 0..4 {
        within("an event", stream.message()).await.unwrap().unwrap();
    }
    let begin = std::time::Instant::now();
    let (stopped, error) = tokio::join!(app.stop(), within("the end of the stream", stream.message()));
    assert_eq!(error.unwrap_err().code(), Code::Unavailable);
    // Not by running into the time that hand-offs have to end, which is 30 s.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    // What had been seen before is what a new stream goes on from.
    let app = TestApp::start_in(stopped, "").await;
    assert_eq!(Follow::messages(&app.api, watch("0")).await.take(4).await.len(), 4);
}
