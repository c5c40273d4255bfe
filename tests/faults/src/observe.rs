//! What the service says about everything, read over its API.

use std::{collections::HashMap, time::Duration};

use headlessly_communication::{
    model::status::Status,
    pb::{
        self, activity_service_client::ActivityServiceClient, event_service_client::EventServiceClient,
        message_service_client::MessageServiceClient, ticket_service_client::TicketServiceClient,
    },
};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tonic::transport::{Channel, Endpoint};

use crate::{
    check::{Found, History},
    load::number,
    problem::{Problem, Run, problem},
    time::pass,
};

const PAGE: i32 = 1_000;

/// A connection to a node that is made when it is first used.
pub(crate) fn connect(url: &str) -> Run<Channel> {
    Ok(Endpoint::from_shared(url.to_owned())?.connect_lazy())
}

/// Waits until no message waits for a hand-off, and the built-in rules have dealt with everything that happened. `false` when that
/// does not come about in time.
pub(crate) async fn settled(api: &Channel, patience: Duration) -> Run<bool> {
    let deadline = Instant::now() + patience;
    let filter = json!({ "status": { "$in": ["SCHEDULED", "QUEUED"] } }).to_string();
    loop {
        let request = pb::FindMessagesRequest {
            filter: Some(pb::Filter { json: filter.clone(), ..pb::Filter::default() }),
            page_size: 1,
            ..pb::FindMessagesRequest::default()
        };
        let waiting = MessageServiceClient::new(api.clone()).find(request).await?.into_inner().messages;
        if waiting.is_empty() {
            return rules_caught_up(api, deadline).await;
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        pass(Duration::from_millis(100)).await;
    }
}

/// The rules go by the log: when they made the activity of a chat message sent now, they are past all that was before it.
async fn rules_caught_up(api: &Channel, deadline: Instant) -> Run<bool> {
    let request = pb::WatchEventsRequest { types: vec!["Activity.Created".to_owned()], ..Default::default() };
    let mut events = EventServiceClient::new(api.clone()).watch(request).await?.into_inner();
    let message = pb::Message {
        channel: pb::message::Channel::Chat.into(),
        recipient: "marker".to_owned(),
        body: MARKER.to_owned(),
        ..pb::Message::default()
    };
    let target = Some(pb::send_message_request::Target::Message(Box::new(message)));
    let request = pb::SendMessageRequest { target, ..pb::SendMessageRequest::default() };
    let marker = MessageServiceClient::new(api.clone()).send(request).await?.into_inner().id;
    loop {
        let Ok(event) = timeout_at(deadline, events.message()).await else { return Ok(false) };
        let Some(event) = event? else { return problem("the service ended a stream of events") };
        let about = event.data.as_ref().and_then(|data| data.fields.get("message")?.kind.as_ref());
        if matches!(about, Some(prost_types::value::Kind::StringValue(about)) if *about == marker) {
            return Ok(true);
        }
    }
}

/// The body of the message by which it is seen that the rules caught up. It is not part of the load.
const MARKER: &str = "marker";

/// Reads everything into the history.
pub(crate) async fn read(api: &Channel, history: &mut History, with_log: bool) -> Run<()> {
    let (messages, activities, tickets, inversions) =
        tokio::try_join!(messages(api), activities(api), tickets(api), async {
            if with_log { inversions(api).await } else { Ok(0) }
        })?;
    let mut marked = Vec::new();
    for (id, message) in messages {
        if message.body == MARKER {
            marked.push(id);
        } else {
            history.found.insert(id, found(&message)?);
        }
    }
    for (about, counts) in [(activities, &mut history.activities), (tickets, &mut history.tickets)] {
        for id in about.iter().filter_map(|id| number(id)) {
            *counts.entry(id).or_default() += 1;
        }
    }
    for id in marked {
        history.activities.remove(&id);
    }
    history.order_inversions = inversions;
    Ok(())
}

fn found(message: &pb::Message) -> Run<Found> {
    let name = message.status().as_str_name();
    let status = Status::ALL.into_iter().find(|status| status.as_str() == name);
    let reason = message.failure.as_ref().map(pb::Failure::reason);
    Ok(Found {
        status: status.ok_or_else(|| Problem::Other(format!("the status {name} is not known")))?,
        sent: message.sent_at.is_some(),
        failed: message.failed_at.is_some(),
        ambiguous: reason == Some(pb::failure::Reason::Ambiguous),
    })
}

async fn messages(api: &Channel) -> Run<HashMap<i64, pb::Message>> {
    let (mut client, mut found, mut page_token) = (
        MessageServiceClient::new(api.clone()).max_decoding_message_size(64 << 20),
        HashMap::new(),
        String::new(),
    );
    loop {
        let request =
            pb::FindMessagesRequest { page_size: PAGE, page_token, ..pb::FindMessagesRequest::default() };
        let page = client.find(request).await?.into_inner();
        for message in page.messages {
            if let Some(id) = number(&message.id) {
                found.insert(id, message);
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

async fn activities(api: &Channel) -> Run<Vec<String>> {
    let (mut client, mut about, mut page_token) =
        (ActivityServiceClient::new(api.clone()), Vec::new(), String::new());
    loop {
        let request =
            pb::FindActivitiesRequest { page_size: PAGE, page_token, ..pb::FindActivitiesRequest::default() };
        let page = client.find(request).await?.into_inner();
        about.extend(page.activities.into_iter().map(|activity| activity.message));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(about);
        }
    }
}

async fn tickets(api: &Channel) -> Run<Vec<String>> {
    let (mut client, mut about, mut page_token) =
        (TicketServiceClient::new(api.clone()), Vec::new(), String::new());
    loop {
        let request =
            pb::FindTicketsRequest { page_size: PAGE, page_token, ..pb::FindTicketsRequest::default() };
        let page = client.find(request).await?.into_inner();
        about.extend(page.tickets.into_iter().map(|ticket| ticket.message));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(about);
        }
    }
}

/// Reads the log and counts the events that stand before an earlier one of the same message.
async fn inversions(api: &Channel) -> Run<u64> {
    let (mut client, mut versions, mut cursor, mut count) = (
        EventServiceClient::new(api.clone()).max_decoding_message_size(64 << 20),
        HashMap::<String, i64>::new(),
        String::new(),
        0,
    );
    loop {
        let request = pb::ListEventsRequest {
            cursor: cursor.clone(),
            page_size: PAGE,
            types: vec!["Message.*".to_owned()],
            ..pb::ListEventsRequest::default()
        };
        let page = client.list(request).await?.into_inner();
        for event in page.events {
            let last = versions.entry(event.target).or_default();
            count += u64::from(event.version < *last);
            *last = event.version.max(*last);
        }
        if page.next_cursor == cursor {
            return Ok(count);
        }
        cursor = page.next_cursor;
    }
}
