//! New messages, events, requests, attempts.

use std::collections::HashSet;

use super::{
    super::dialect,
    bulk::{Args, Bulk, Conn, Script},
    rows::{Reader, json_text, reporting_number, wait_number},
};
use crate::{
    model::{
        Channel, Priority, Timestamp,
        event::NewEvent,
        ids::{MessageId, Tenant},
        message::Message,
        verbs::{Queued, lane},
    },
    store::{Ack, Clash, NewAttempt, NewMessage, RequestKey, StoreError},
};

static MESSAGES: Bulk = Bulk::insert(
    "INSERT INTO message (id, tenant, version, created_at, updated_at, created_by, channel, direction, sender, recipient, \
     subject, body, headers, metadata, tags, thread, in_reply_to, campaign, ticket, workflow, priority, scheduled_at, \
     expires_at, sensitive, parts, status, generation, accepted_at, queued_at, delivered_at, attempts, reporting, \
     provider, provider_message_id) VALUES ",
    34,
    "",
);

static PARTS: Bulk = Bulk::insert(
    "INSERT INTO message_part (message_id, ordinal, name, content_type, content_id, content) VALUES ",
    6,
    "",
);

static QUEUE: Bulk = Bulk::insert(
    "INSERT INTO queue (message_id, tenant, channel, lane, state, due_at, epoch, tries, ambiguous, expires_at) VALUES ",
    10,
    " ON CONFLICT (message_id) DO UPDATE SET channel = excluded.channel, state = excluded.state, due_at = excluded.due_at, \
     epoch = excluded.epoch, tries = excluded.tries, ambiguous = excluded.ambiguous, expires_at = excluded.expires_at",
);

static EVENTS: Bulk =
    Bulk::insert("INSERT INTO event (tenant, kind, target, entity, actor, at, version, data) VALUES ", 8, "");

static ATTEMPTS: Bulk = Bulk::insert(
    "INSERT INTO attempt (id, tenant, message_id, generation, epoch, provider, started_at, ended_at, outcome, \
     provider_message_id, code, detail, retry_at, orphan) VALUES ",
    14,
    // A result that is written again because its answer was lost with the connection.
    " ON CONFLICT (id) DO NOTHING",
);

static PARTS_GONE: Bulk = Bulk::among("DELETE FROM message_part WHERE message_id IN (", 0, ")");

/// Messages with their parts. Their events and places are written with those of others.
pub(in super::super) async fn messages(
    conn: &mut Conn,
    script: &mut Script,
    new: &[&NewMessage],
) -> Result<(), StoreError> {
    script.add(conn, &MESSAGES, new, |args, new| bind_message(args, &new.message)).await?;
    let parts: Vec<Part> = new.iter().flat_map(|new| parts_of(&new.message)).collect();
    script.add(conn, &PARTS, &parts, bind_part).await
}

/// Replaces the parts of a message that was edited.
pub(in super::super) async fn replace_parts(conn: &mut Conn, message: &Message) -> Result<(), StoreError> {
    PARTS_GONE.run(conn, &[message.state.id.0], |query, id| query.bind(*id)).await?;
    PARTS.run(conn, &parts_of(message), bind_part).await?;
    Ok(())
}

struct Part {
    id: i64,
    ordinal: i32,
    name: Option<String>,
    content_type: String,
    content_id: Option<String>,
    content: Vec<u8>,
}

fn parts_of(message: &Message) -> Vec<Part> {
    let id = message.state.id.0;
    let html = message.content.html_body.as_ref().map(|html| Part {
        id,
        ordinal: 0,
        name: None,
        content_type: "text/html".to_owned(),
        content_id: None,
        content: html.as_bytes().to_vec(),
    });
    let files = message.content.attachments.iter().zip(1..).map(|(file, ordinal)| Part {
        id,
        ordinal,
        name: Some(file.name.clone()),
        content_type: file.content_type.clone(),
        content_id: file.content_id.clone(),
        content: file.content.to_vec(),
    });
    html.into_iter().chain(files).collect()
}

fn bind_part(args: Args, part: &Part) -> Args {
    args.bind(part.id)
        .bind(part.ordinal)
        .bind(part.name.clone())
        .bind(part.content_type.clone())
        .bind(part.content_id.clone())
        .bind(part.content.clone())
}

/// Whether a message has parts beside its row.
pub(in super::super) fn has_parts(message: &Message) -> bool {
    message.content.html_body.is_some() || !message.content.attachments.is_empty()
}

fn bind_message(args: Args, message: &Message) -> Args {
    let (state, content) = (&message.state, &message.content);
    args.bind(state.id.0)
        .bind(state.tenant.shared())
        .bind(state.version)
        .bind(content.created_at.0)
        .bind(state.updated_at.0)
        .bind(content.created_by.clone())
        .bind(state.channel.map(Channel::as_str))
        .bind(content.direction.as_str())
        .bind(state.sender.clone())
        .bind(state.recipient.clone())
        .bind(content.subject.clone())
        .bind(content.body.clone())
        .bind(json_text(&content.headers, content.headers.is_empty()))
        .bind(json_text(&content.metadata, content.metadata.is_none()))
        .bind(json_text(&content.tags, content.tags.is_empty()))
        .bind(state.thread.clone())
        .bind(content.in_reply_to.clone())
        .bind(state.campaign.clone())
        .bind(content.ticket.clone())
        .bind(content.workflow.clone())
        .bind(lane(state.priority))
        .bind(state.scheduled_at.map(|at| at.0))
        .bind(state.expires_at.map(|at| at.0))
        .bind(i16::from(state.sensitive))
        .bind(i16::from(has_parts(message)))
        .bind(state.status().as_str())
        .bind(state.generation)
        .bind(state.facts.accepted.map(|at| at.0))
        .bind(state.facts.queued.map(|at| at.0))
        .bind(state.facts.delivered.map(|at| at.0))
        .bind(state.attempts)
        .bind(state.reporting.map(reporting_number))
        .bind(state.provider.clone())
        .bind(state.provider_message_id.clone())
}

/// A place in the queue, with the message it belongs to.
#[derive(Clone, Debug)]
pub(in super::super) struct Place {
    pub(in super::super) id: MessageId,
    pub(in super::super) tenant: Tenant,
    pub(in super::super) channel: Channel,
    pub(in super::super) priority: Priority,
    pub(in super::super) queued: Queued,
}

/// Places in the queue, new or changed.
pub(in super::super) async fn places(
    conn: &mut Conn,
    script: &mut Script,
    places: &[Place],
) -> Result<(), StoreError> {
    script
        .add(conn, &QUEUE, places, |query, place| {
            query
                .bind(place.id.0)
                .bind(place.tenant.shared())
                .bind(place.channel.as_str())
                .bind(lane(place.priority))
                .bind(wait_number(place.queued.wait))
                .bind(place.queued.due_at.0)
                .bind(place.queued.epoch)
                .bind(place.queued.tries)
                .bind(i16::from(place.queued.ambiguous))
                .bind(place.queued.expires_at.0)
        })
        .await
}

/// Lines of the log, in this order.
pub(in super::super) async fn events(
    conn: &mut Conn,
    script: &mut Script,
    events: &[NewEvent],
) -> Result<(), StoreError> {
    script
        .add(conn, &EVENTS, events, |query, event| {
            query
                .bind(event.tenant.shared())
                .bind(event.kind)
                .bind(event.target.clone())
                .bind(event.entity)
                .bind(event.actor.clone())
                .bind(event.at.0)
                .bind(event.version)
                .bind(serde_json::to_string(&event.data).unwrap_or_else(|_| "{}".to_owned()))
        })
        .await
}

/// A try with the message it belongs to.
#[derive(Clone, Debug)]
pub(in super::super) struct Tried {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) message: MessageId,
    pub(in super::super) generation: i32,
    pub(in super::super) attempt: NewAttempt,
    pub(in super::super) ended_at: Timestamp,
    pub(in super::super) orphan: bool,
}

/// Hand-off tries.
pub(in super::super) async fn attempts(
    conn: &mut Conn,
    script: &mut Script,
    tries: &[Tried],
) -> Result<(), StoreError> {
    script
        .add(conn, &ATTEMPTS, tries, |query, tried| {
            let attempt = &tried.attempt;
            query
                .bind(attempt.id)
                .bind(tried.tenant.shared())
                .bind(tried.message.0)
                .bind(tried.generation)
                .bind(attempt.epoch)
                .bind(attempt.provider.clone())
                .bind(attempt.started_at.0)
                .bind(tried.ended_at.0)
                .bind(attempt.outcome)
                .bind(attempt.provider_message_id.clone())
                .bind(attempt.code.clone())
                .bind(attempt.detail.clone())
                .bind(attempt.retry_at.map(|at| at.0))
                .bind(i16::from(tried.orphan))
        })
        .await
}

static REQUESTS: Bulk = Bulk::insert(
    "INSERT INTO idempotency (tenant, method, request_id, hash, result, created_at) VALUES ",
    6,
    " ON CONFLICT (tenant, method, request_id) DO NOTHING RETURNING tenant, method, request_id",
);

/// Remembers requests. For each, in order: [`Ack::Done`] when it is new, else what it was answered before, or
/// [`Clash::RequestId`] when it was another request.
pub(in super::super) async fn requests(
    conn: &mut Conn,
    keys: &[&RequestKey],
) -> Result<Vec<Result<Ack, StoreError>>, StoreError> {
    let mut fresh: HashSet<(String, String, String)> = HashSet::new();
    let bind = |args: Args, key: &&RequestKey| {
        args.bind(key.tenant.shared())
            .bind(key.method)
            .bind(key.request_id.clone())
            .bind(key.hash.to_vec())
            .bind(key.result.clone())
            .bind(key.now.0)
    };
    for row in REQUESTS.fetch(conn, |args| args, keys, bind).await? {
        let mut row = Reader::new(&row, 0);
        fresh.insert((row.get()?, row.get()?, row.get()?));
    }
    let mut acks = Vec::with_capacity(keys.len());
    for key in keys {
        let name = (key.tenant.to_string(), key.method.to_owned(), key.request_id.clone());
        // The first of several with one key is the one that was inserted.
        let before = if fresh.remove(&name) { None } else { answered(conn, key).await? };
        acks.push(before.unwrap_or(Ok(Ack::Done)));
    }
    Ok(acks)
}

/// What a request was answered before, or that it was another request; `None` when it is new.
pub(in super::super) async fn answered(
    conn: &mut Conn,
    key: &RequestKey,
) -> Result<Option<Result<Ack, StoreError>>, StoreError> {
    let known: Option<(Vec<u8>, String)> = sqlx::query_as(
        "SELECT hash, result FROM idempotency WHERE tenant = $1 AND method = $2 AND request_id = $3",
    )
    .bind(key.tenant.shared())
    .bind(key.method)
    .bind(key.request_id.clone())
    .fetch_optional(conn)
    .await
    .map_err(dialect::error)?;
    Ok(known.map(|(hash, result)| {
        if hash == key.hash { Ok(Ack::Replayed(result)) } else { Err(StoreError::Clash(Clash::RequestId)) }
    }))
}

/// Forgets a request that was refused after all: it uses no id up.
pub(in super::super) async fn forget_request(conn: &mut Conn, key: &RequestKey) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM idempotency WHERE tenant = $1 AND method = $2 AND request_id = $3")
        .bind(key.tenant.shared())
        .bind(key.method)
        .bind(key.request_id.clone())
        .execute(conn)
        .await
        .map(drop)
        .map_err(dialect::error)
}
