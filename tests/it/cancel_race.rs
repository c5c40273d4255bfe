//! Cancel against dispatch: what was cancelled was never handed off, and nothing goes out before its time.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use headlessly_communication::pb::{
    self,
    cancel_message_response::Outcome,
    message::{Channel, Status},
};

use crate::harness::{
    TestApp, at, reason, send_new, to,
    vendors::{http, sink},
};

const MESSAGES: u64 = 200;

fn scheduled(later: Duration) -> pb::SendMessageRequest {
    let message = pb::Message { scheduled_at: at(later), ..to(Channel::Email, "ann@example.test") };
    send_new(message)
}

fn cancel(id: &str) -> pb::CancelMessageRequest {
    pb::CancelMessageRequest { id: id.to_owned(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_means_never_handed_off() {
    let sink = sink().await;
    let app = TestApp::start(&http("sink", sink.url(), "max_in_flight = 8")).await;
    let all: Vec<_> = (0..MESSAGES)
        .map(|number| {
            let mut messages = app.api.messages();
            // Due at about the moment at which it is cancelled, or now.
            let later = Duration::from_millis(number % 16);
            tokio::spawn(async move {
                let id = messages.send(scheduled(later)).await.unwrap().into_inner().id;
                let answer = messages.cancel(cancel(&id)).await.unwrap().into_inner();
                let message = answer.message.clone().unwrap();
                match answer.outcome() {
                    Outcome::Cancelled => assert_eq!(message.status(), Status::Cancelled),
                    Outcome::TooLate => assert_ne!(message.status(), Status::Cancelled),
                    other => panic!("{other:?}"),
                }
                (id, answer.outcome())
            })
        })
        .collect();
    let (mut cancelled, mut late) = (HashSet::new(), HashSet::new());
    for one in all {
        let (id, outcome) = one.await.unwrap();
        if outcome == Outcome::Cancelled {
            cancelled.insert(id)
        } else {
            late.insert(id)
        };
    }
    for id in &late {
        app.api.reach(id, Status::Sent).await;
    }
    let handed_off: HashSet<String> = sink.seen().iter().map(|request| request.text("/id")).collect();
    assert_eq!(handed_off, late, "{} cancelled, {} too late", cancelled.len(), late.len());
    for id in &cancelled {
        let message = app.api.get(id).await;
        assert_eq!((message.status(), message.attempts, message.sent_at), (Status::Cancelled, 0, None));
    }
}

#[tokio::test]
async fn cancel_has_one_of_three_outcomes() {
    let sink = sink().await;
    let app = TestApp::start(&http("sink", sink.url(), "")).await;
    let mut messages = app.api.messages();
    let id = messages.send(scheduled(Duration::from_secs(3600))).await.unwrap().into_inner().id;
    let first = messages.cancel(cancel(&id)).await.unwrap().into_inner();
    assert_eq!(first.outcome(), Outcome::Cancelled);
    assert!(first.message.unwrap().cancelled_at.is_some());
    assert_eq!(messages.cancel(cancel(&id)).await.unwrap().into_inner().outcome(), Outcome::AlreadyCancelled);
    let error = messages.send(crate::harness::draft_to(&id)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::FailedPrecondition, "{}", reason(&error));
    let sent = app.api.send(to(Channel::Email, "ann@example.test")).await.id;
    app.api.reach(&sent, Status::Sent).await;
    assert_eq!(messages.cancel(cancel(&sent)).await.unwrap().into_inner().outcome(), Outcome::TooLate);
    assert_eq!(sink.seen().len(), 1);
}

#[tokio::test]
async fn nothing_goes_out_before_its_time() {
    let sink = sink().await;
    let app = TestApp::start(&http("sink", sink.url(), "")).await;
    let mut ids = Vec::new();
    for number in 0..40 {
        let message = app.api.messages().send(scheduled(Duration::from_millis(200 + number * 20))).await;
        let message = message.unwrap().into_inner();
        assert_eq!(message.status(), Status::Scheduled);
        ids.push(message.id);
    }
    for id in &ids {
        app.api.reach(id, Status::Sent).await;
    }
    let seen = sink.seen();
    assert_eq!(seen.len(), ids.len());
    for id in &ids {
        let handed = seen.iter().find(|request| request.text("/id") == *id).unwrap().time;
        let due = SystemTime::try_from(app.api.get(id).await.scheduled_at.unwrap()).unwrap();
        assert!(handed >= due, "{:?} early", due.duration_since(handed));
    }
}

#[tokio::test]
async fn a_message_can_be_moved_while_it_waits() {
    let sink = sink().await;
    let app = TestApp::start(&http("sink", sink.url(), "")).await;
    let mut messages = app.api.messages();
    let id = messages.send(scheduled(Duration::from_secs(3600))).await.unwrap().into_inner().id;
    let reschedule = |later: Duration| pb::RescheduleMessageRequest {
        id: id.clone(),
        scheduled_at: at(later),
        ..Default::default()
    };
    let moved = messages.reschedule(reschedule(Duration::from_millis(400))).await.unwrap().into_inner();
    assert_eq!(moved.status(), Status::Scheduled);
    app.api.reach(&id, Status::Sent).await;
    let due = SystemTime::try_from(moved.scheduled_at.unwrap()).unwrap();
    assert!(sink.seen()[0].time >= due);
    let error = messages.reschedule(reschedule(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::FailedPrecondition);
    // And sent at once, by Send.
    let id = messages.send(scheduled(Duration::from_secs(3600))).await.unwrap().into_inner().id;
    messages.send(crate::harness::draft_to(&id)).await.unwrap();
    app.api.reach(&id, Status::Sent).await;
}
