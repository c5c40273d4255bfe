//! Contacts, devices, activities, tickets, keys: one row each.

use super::{
    super::dialect,
    after::After,
    bulk::{Bulk, Conn, Query, Script},
    insert,
    rows::json_text,
};
use crate::{
    model::{
        Channel, Timestamp,
        contact::Contact,
        crm::{Activity, Ticket},
        event::{EventData, NewEvent, kind},
    },
    store::{Ack, ApiKey, Clash, ContactWrite, DeviceWrite, Effects, Record, RequestKey, StoreError},
};

static ACTIVITIES: Bulk = Bulk::insert(
    "INSERT INTO activity (id, tenant, version, created_at, updated_at, created_by, subject, type, contact, status, \
     description, message_id, event) VALUES ",
    13,
    "",
);

static TICKETS: Bulk = Bulk::insert(
    "INSERT INTO ticket (id, tenant, version, created_at, updated_at, created_by, subject, description, status, priority, \
     channel, requester, message_id, event) VALUES ",
    14,
    "",
);

/// An answer (inner) or trouble with the database (outer).
type Answer<T> = Result<Result<T, StoreError>, StoreError>;

/// Remembers the request, if there is one; `Some` when the call is already answered by it.
async fn first(
    conn: &mut Conn,
    request: Option<&RequestKey>,
) -> Result<Option<Result<Ack, StoreError>>, StoreError> {
    let Some(key) = request else { return Ok(None) };
    let ack = insert::requests(conn, &[key]).await?.pop();
    Ok(ack.filter(|ack| !matches!(ack, Ok(Ack::Done))))
}

/// Creates, replaces or deletes a contact.
pub(in super::super) async fn contact(
    conn: &mut Conn,
    write: &ContactWrite,
    after: &mut After,
) -> Answer<Ack> {
    if let Some(ack) = first(conn, write.request.as_ref()).await? {
        return Ok(ack);
    }
    let contact = &write.contact;
    let text = if contact.version == 1 {
        "INSERT INTO contact (name, addresses, preferred_channel, locale, time_zone, metadata, deleted_at, version, \
         updated_at, created_at, created_by, tenant, id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (tenant, id) DO NOTHING"
    } else {
        "UPDATE contact SET name = $1, addresses = $2, preferred_channel = $3, locale = $4, time_zone = $5, \
         metadata = $6, deleted_at = $7, version = $8, updated_at = $9, created_at = $10, created_by = $11 \
         WHERE tenant = $12 AND id = $13 AND version = $8 - 1"
    };
    let written =
        bind_contact(sqlx::query(text), contact).execute(&mut *conn).await.map_err(dialect::error)?;
    if written.rows_affected() == 0 {
        if let Some(key) = &write.request {
            insert::forget_request(conn, key).await?;
        }
        return clash(conn, contact).await;
    }
    let mut script = Script::default();
    insert::events(conn, &mut script, std::slice::from_ref(&write.event)).await?;
    script.flush(conn).await?;
    after.log = true;
    after.contacts = true;
    Ok(Ok(Ack::Done))
}

async fn clash(conn: &mut Conn, contact: &Contact) -> Answer<Ack> {
    let version: Option<i64> =
        sqlx::query_scalar("SELECT version FROM contact WHERE tenant = $1 AND id = $2")
            .bind(contact.tenant.shared())
            .bind(contact.id.clone())
            .fetch_optional(conn)
            .await
            .map_err(dialect::error)?;
    Ok(Err(match version {
        None => StoreError::NotFound,
        Some(_) if contact.version == 1 => StoreError::Clash(Clash::Exists),
        Some(version) => StoreError::Clash(Clash::Version(version)),
    }))
}

fn bind_contact<'q>(query: Query<'q>, contact: &Contact) -> Query<'q> {
    let addresses: Vec<serde_json::Value> = contact
        .addresses
        .iter()
        .map(|address| {
            serde_json::json!({"channel": address.channel.as_str(), "value": address.value, "label": address.label})
        })
        .collect();
    query
        .bind(contact.name.clone())
        .bind(serde_json::Value::Array(addresses).to_string())
        .bind(contact.preferred_channel.map(Channel::as_str))
        .bind(contact.locale.clone())
        .bind(contact.time_zone.clone())
        .bind(json_text(&contact.metadata, contact.metadata.is_none()))
        .bind(contact.deleted_at.map(|at| at.0))
        .bind(contact.version)
        .bind(contact.updated_at.0)
        .bind(contact.created_at.0)
        .bind(contact.created_by.clone())
        .bind(contact.tenant.shared())
        .bind(contact.id.clone())
}

/// Registers or retires a device. A token that another person had moves to this one.
pub(in super::super) async fn device(conn: &mut Conn, write: &DeviceWrite, after: &mut After) -> Answer<Ack> {
    if let Some(ack) = first(conn, write.request.as_ref()).await? {
        return Ok(ack);
    }
    let device = &write.device;
    sqlx::query(
        "INSERT INTO device (id, tenant, contact, token, platform, provider, registered_at, retired_at, retired_reason) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant, token) DO UPDATE SET \
         contact = excluded.contact, platform = excluded.platform, provider = excluded.provider, \
         registered_at = excluded.registered_at, retired_at = excluded.retired_at, \
         retired_reason = excluded.retired_reason",
    )
    .bind(device.id.0)
    .bind(write.tenant.shared())
    .bind(write.contact.clone())
    .bind(device.token.clone())
    .bind(device.platform.clone())
    .bind(device.provider.clone())
    .bind(device.registered_at.0)
    .bind(device.retired_at.map(|at| at.0))
    .bind(device.retired_reason.clone())
    .execute(&mut *conn)
    .await
    .map_err(dialect::error)?;
    sqlx::query("UPDATE contact SET version = version + 1, updated_at = $1 WHERE tenant = $2 AND id = $3")
        .bind(write.event.at.0)
        .bind(write.tenant.shared())
        .bind(write.contact.clone())
        .execute(&mut *conn)
        .await
        .map_err(dialect::error)?;
    let mut script = Script::default();
    insert::events(conn, &mut script, std::slice::from_ref(&write.event)).await?;
    script.flush(conn).await?;
    after.log = true;
    after.contacts = true;
    Ok(Ok(Ack::Done))
}

async fn activities(conn: &mut Conn, script: &mut Script, activities: &[Activity]) -> Result<(), StoreError> {
    script
        .add(conn, &ACTIVITIES, activities, |query, activity| {
            query
                .bind(activity.id.0)
                .bind(activity.tenant.shared())
                .bind(activity.version)
                .bind(activity.created_at.0)
                .bind(activity.updated_at.0)
                .bind(activity.created_by.clone())
                .bind(activity.subject.clone())
                .bind(activity.kind.clone())
                .bind(activity.contact.clone())
                .bind(activity.status.clone())
                .bind(activity.description.clone())
                .bind(activity.message.map(|id| id.0))
                .bind(activity.event.map(|id| id.0))
        })
        .await?;
    let events: Vec<NewEvent> = activities.iter().map(activity_created).collect();
    insert::events(conn, script, &events).await
}

async fn tickets(conn: &mut Conn, script: &mut Script, tickets: &[Ticket]) -> Result<(), StoreError> {
    script
        .add(conn, &TICKETS, tickets, |query, ticket| {
            query
                .bind(ticket.id.0)
                .bind(ticket.tenant.shared())
                .bind(ticket.version)
                .bind(ticket.created_at.0)
                .bind(ticket.updated_at.0)
                .bind(ticket.created_by.clone())
                .bind(ticket.subject.clone())
                .bind(ticket.description.clone())
                .bind(ticket.status.clone())
                .bind(ticket.priority.clone())
                .bind(ticket.channel.clone())
                .bind(ticket.requester.clone())
                .bind(ticket.message.map(|id| id.0))
                .bind(ticket.event.map(|id| id.0))
        })
        .await?;
    let events: Vec<NewEvent> = tickets.iter().map(ticket_created).collect();
    insert::events(conn, script, &events).await
}

fn activity_created(activity: &Activity) -> NewEvent {
    NewEvent {
        kind: kind::ACTIVITY_CREATED,
        tenant: activity.tenant.clone(),
        target: activity.id.to_string(),
        entity: activity.id.0,
        actor: activity.created_by.clone(),
        at: activity.created_at,
        version: activity.version,
        data: EventData {
            status: Some(activity.status.clone()),
            message: activity.message.map(|id| id.to_string()),
            ..EventData::default()
        },
    }
}

fn ticket_created(ticket: &Ticket) -> NewEvent {
    NewEvent {
        kind: kind::TICKET_CREATED,
        tenant: ticket.tenant.clone(),
        target: ticket.id.to_string(),
        entity: ticket.id.0,
        actor: ticket.created_by.clone(),
        at: ticket.created_at,
        version: ticket.version,
        data: EventData {
            status: Some(ticket.status.clone()),
            message: ticket.message.map(|id| id.to_string()),
            ..EventData::default()
        },
    }
}

/// Creates an activity or a ticket.
pub(in super::super) async fn record(
    conn: &mut Conn,
    record: &Record,
    request: Option<&RequestKey>,
    after: &mut After,
) -> Answer<Ack> {
    if let Some(ack) = first(conn, request).await? {
        return Ok(ack);
    }
    let mut script = Script::default();
    match record {
        Record::Activity(activity) => activities(conn, &mut script, std::slice::from_ref(activity)).await?,
        Record::Ticket(ticket) => tickets(conn, &mut script, std::slice::from_ref(ticket)).await?,
    }
    script.flush(conn).await?;
    after.log = true;
    Ok(Ok(Ack::Done))
}

/// Writes what a consumer made of the log, and how far it came; refused when somebody else went on from there.
pub(in super::super) async fn effects(conn: &mut Conn, effects: &Effects, after: &mut After) -> Answer<()> {
    let moved = sqlx::query(
        "INSERT INTO consumer (name, seq) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET seq = excluded.seq WHERE consumer.seq = $3",
    )
    .bind(effects.consumer)
    .bind(effects.to)
    .bind(effects.from)
    .execute(&mut *conn)
    .await
    .map_err(dialect::error)?;
    if moved.rows_affected() == 0 {
        let seq: i64 = sqlx::query_scalar("SELECT seq FROM consumer WHERE name = $1")
            .bind(effects.consumer)
            .fetch_one(conn)
            .await
            .map_err(dialect::error)?;
        return Ok(Err(StoreError::Clash(Clash::Version(seq))));
    }
    let mut script = Script::default();
    activities(conn, &mut script, &effects.activities).await?;
    tickets(conn, &mut script, &effects.tickets).await?;
    script.flush(conn).await?;
    after.log |= !effects.activities.is_empty() || !effects.tickets.is_empty();
    Ok(Ok(()))
}

/// Writes an API key.
pub(in super::super) async fn key(conn: &mut Conn, key: &ApiKey) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO api_key (id, tenant, name, hash, prefix, scopes, created_at, expires_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET revoked_at = excluded.revoked_at",
    )
    .bind(key.id.0)
    .bind(key.tenant.shared())
    .bind(key.name.clone())
    .bind(key.hash.clone())
    .bind(key.prefix.clone())
    .bind(key.scopes)
    .bind(key.created_at.0)
    .bind(key.expires_at.map(|at| at.0))
    .bind(key.revoked_at.map(|at| at.0))
    .execute(conn)
    .await
    .map(drop)
    .map_err(dialect::error)
}

/// Forgets old requests, a bounded number at a time so that the writer is never held up.
pub(in super::super) async fn purge(conn: &mut Conn, before: i64) -> Result<u64, StoreError> {
    sqlx::query(
        "DELETE FROM idempotency WHERE (tenant, method, request_id) IN \
         (SELECT tenant, method, request_id FROM idempotency WHERE created_at < $1 LIMIT 5000)",
    )
    .bind(before)
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
    .map_err(dialect::error)
}

/// A write that matters to nobody.
pub(in super::super) async fn probe(
    conn: &mut Conn,
    now: Timestamp,
    after: &mut After,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO meta (name, value) VALUES ('probe', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(now.0.to_be_bytes().to_vec())
        .execute(conn)
        .await
        .map_err(dialect::error)?;
    after.probed = true;
    Ok(())
}

/// The store's own secret, made on first use.
pub(in super::super) async fn secret(conn: &mut Conn) -> Result<Vec<u8>, StoreError> {
    let mut fresh = [0u8; 32];
    aws_lc_rs::rand::fill(&mut fresh).map_err(|_| StoreError::Unavailable("no random numbers".to_owned()))?;
    sqlx::query("INSERT INTO meta (name, value) VALUES ('secret', $1) ON CONFLICT (name) DO NOTHING")
        .bind(fresh.to_vec())
        .execute(&mut *conn)
        .await
        .map_err(dialect::error)?;
    sqlx::query_scalar("SELECT value FROM meta WHERE name = 'secret'")
        .fetch_one(conn)
        .await
        .map_err(dialect::error)
}
