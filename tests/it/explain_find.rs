//! Asking afterwards: why it went as it went, and which there are.

use std::collections::{BTreeMap, BTreeSet};

use headlessly_communication::pb::{
    self,
    decision::Kind,
    message::{Channel, Status},
};
use prost_types::{Value, value};
use serde_json::json;
use tonic::Code;

use crate::harness::{TestApp, fields, json as filter, to};

#[tokio::test]
async fn explain_tells_each_try() {
    let app = TestApp::start("[dispatch]\nretry_first = \"20ms\"\n").await;
    let id = app.api.send(to(Channel::Email, "transient@example.test")).await.id;
    app.api.reach(&id, Status::Delivered).await;
    let request = pb::ExplainMessageRequest { id: id.clone() };
    let explained = app.api.messages().explain(request).await.unwrap().into_inner();
    assert_eq!(explained.message.unwrap().id, id);
    let of = |kind: Kind| explained.decisions.iter().filter(move |decision| decision.kind() == kind);
    assert_eq!(of(Kind::Attempt).map(|attempt| attempt.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        of(Kind::Attempt).map(|attempt| attempt.code.as_str()).collect::<Vec<_>>()[..2],
        ["unavailable"; 2]
    );
    assert!(of(Kind::Attempt).all(|attempt| attempt.provider == "dev"));
    assert_eq!(of(Kind::Retry).count(), 2);
    assert!(of(Kind::Receipt).count() >= 1 && of(Kind::Accept).count() >= 1);
    assert!(explained.decisions.iter().all(|decision| !decision.summary.is_empty() && decision.at.is_some()));
    let text = format!("{:?}", explained.decisions);
    assert!(!text.contains("Your table is ready"), "bodies are not told");
    let error = app.api.messages().explain(pb::ExplainMessageRequest::default()).await.unwrap_err();
    assert_eq!(fields(&error), ["id"]);
}

fn text(text: &str) -> Value {
    Value { kind: Some(value::Kind::StringValue(text.to_owned())) }
}

#[tokio::test]
async fn find_pages_through_what_a_filter_means() {
    let app = TestApp::start("").await;
    for number in 0..25 {
        let order = if number % 5 == 0 { "A-17" } else { "B-3" };
        let message = pb::Message {
            metadata: Some(prost_types::Struct { fields: [("order".to_owned(), text(order))].into() }),
            subject: format!("Number {number}"),
            ..to(Channel::Email, "ann@example.test")
        };
        let id = app.api.send(message).await.id;
        app.api.reach(&id, Status::Delivered).await;
    }
    app.api.send(to(Channel::Chat, "ann")).await;
    let pages = async |request: pb::FindMessagesRequest| {
        let (mut subjects, mut sizes, mut request) = (Vec::new(), Vec::new(), request);
        loop {
            let page = app.api.messages().find(request.clone()).await.unwrap().into_inner();
            sizes.push(page.messages.len());
            subjects.extend(page.messages.into_iter().map(|message| message.subject));
            if page.next_page_token.is_empty() {
                return (subjects, sizes);
            }
            request.page_token = page.next_page_token;
        }
    };
    let email = pb::FindMessagesRequest {
        filter: filter(&json!({ "channel": "EMAIL" })),
        page_size: 10,
        order_by: "created_at".to_owned(),
        ..Default::default()
    };
    let (subjects, sizes) = pages(email.clone()).await;
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(subjects, (0..25).map(|number| format!("Number {number}")).collect::<Vec<_>>());
    // The same filter in its two forms.
    let (as_json, _) = pages(pb::FindMessagesRequest {
        filter: filter(&json!({ "metadata.order": "A-17", "subject": { "$regex": "[05]$" }, "status": { "$in": ["DELIVERED"] } })),
        ..email.clone()
    })
    .await;
    let one = |condition: pb::Condition| condition;
    let typed: BTreeMap<String, pb::Condition> = [
        ("metadata.order".to_owned(), one(pb::Condition { eq: Some(text("A-17")), ..Default::default() })),
        ("status".to_owned(), one(pb::Condition { ne: Some(text("FAILED")), ..Default::default() })),
    ]
    .into();
    let (as_typed, _) = pages(pb::FindMessagesRequest {
        filter: Some(pb::Filter { r#where: typed, ..Default::default() }),
        ..email.clone()
    })
    .await;
    assert_eq!((as_json.len(), &as_json), (5, &as_typed));
    let set: BTreeSet<String> = as_json.into_iter().collect();
    assert!(set.contains("Number 20") && !set.contains("Number 21"));
    // A token belongs to its filter.
    let page = app.api.messages().find(email.clone()).await.unwrap().into_inner();
    let stolen = pb::FindMessagesRequest {
        filter: filter(&json!({ "channel": "CHAT" })),
        page_token: page.next_page_token,
        ..email
    };
    let error = app.api.messages().find(stolen).await.unwrap_err();
    assert_eq!((error.code(), fields(&error)), (Code::InvalidArgument, vec!["page_token".to_owned()]));
}
