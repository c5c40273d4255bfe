//! A message that fails becomes one ticket.

use headlessly_communication::pb::{
    self,
    failure::Reason,
    message::{Channel, Status},
    ticket,
};

use crate::harness::{TestApp, kinds, to};

fn bounce() -> pb::Message {
    pb::Message { sender: "contact_k7TmPvQx".to_owned(), ..to(Channel::Email, "bounce@example.test") }
}

#[tokio::test]
async fn a_bounce_makes_one_ticket() {
    let app = TestApp::start("").await;
    let id = app.api.send(bounce()).await.id;
    let failed = app.api.reach(&id, Status::Failed).await;
    let failure = failed.failure.clone().unwrap();
    assert_eq!((failure.reason(), failure.code.as_str()), (Reason::BadRecipient, "5.1.1"));
    assert!(failed.failed_at.is_some() && failed.delivered_at.is_none());
    let tickets = app.api.tickets(&id).await;
    let [one] = tickets.as_slice() else { panic!("{tickets:?}") };
    assert_eq!(one.subject, "Message delivery failed: Email");
    assert_eq!((one.priority(), one.channel()), (ticket::Priority::High, ticket::Channel::Email));
    assert_eq!((one.requester.as_str(), one.status()), ("contact_k7TmPvQx", ticket::Status::Open));
    // It was handed off first, and that is an activity all the same.
    assert_eq!(app.api.activities(&id).await.len(), 1);
    // Saying it again changes nothing.
    let request = pb::FailMessageRequest { id: id.clone(), ..Default::default() };
    let again = app.api.messages().fail(request).await.unwrap().into_inner();
    assert_eq!(again.failure.unwrap().reason(), Reason::BadRecipient);
    assert_eq!(app.api.tickets(&id).await.len(), 1);
    let history = app.api.history(&id).await;
    assert_eq!(kinds(&history), ["Message.Created", "Message.Queued", "Message.Sent", "Message.Failed"]);
}

#[tokio::test]
async fn switched_off_it_makes_none() {
    let app = TestApp::start("[hooks]\ntickets = false\n").await;
    let id = app.api.send(bounce()).await.id;
    app.api.reach(&id, Status::Failed).await;
    assert!(app.api.tickets(&id).await.is_empty());
    assert_eq!(app.api.activities(&id).await.len(), 1);
}
