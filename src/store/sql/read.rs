//! Reads: none of them locks anything.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Row as _};

use super::{
    super::{Db, dialect},
    bulk::{Args, Bulk, Conn},
    rows::{DbRow, Reader, content_columns, full_row, message, place_columns, state_columns},
};
use crate::{
    model::{
        Channel, Timestamp,
        contact::{Address, Contact, Device},
        crm::{About, Activity, Ticket},
        event::Event,
        ids::{ActivityId, ApiKeyId, DeviceId, EventId, MessageId, Tenant, TicketId, entity_of},
        message::Message,
        verbs::Row,
    },
    store::{
        ApiKey, Attempt, EventQuery, FindQuery, Page, QueueDepth, ReceiptRow, StoreError,
        find::{Bind, Entity, Find, SortKind},
    },
};

const MESSAGE: &str = concat!(state_columns!(), ", ", content_columns!());
const CONTACT: &str = "id, tenant, version, created_at, updated_at, created_by, name, addresses, preferred_channel, locale, \
     time_zone, metadata, deleted_at";
const ACTIVITY: &str = "id, tenant, version, created_at, updated_at, created_by, subject, type, contact, status, \
     description, message_id, event";
const TICKET: &str = "id, tenant, version, created_at, updated_at, created_by, subject, description, status, priority, \
     channel, requester, message_id, event";
const KEY: &str = "id, tenant, name, hash, prefix, scopes, created_at, expires_at, revoked_at";

static ABOUT: Bulk =
    Bulk::among("SELECT id, tenant, channel, sender, recipient FROM message WHERE id IN (", 0, ")");
static CONTACTS: Bulk = Bulk::among(
    "SELECT id, tenant, version, created_at, updated_at, created_by, name, addresses, preferred_channel, locale, \
     time_zone, metadata, deleted_at FROM contact WHERE tenant = $1 AND id IN (",
    1,
    ")",
);
static DEVICES: Bulk = Bulk::among(
    "SELECT contact, id, token, platform, provider, registered_at, retired_at, retired_reason FROM device \
     WHERE tenant = $1 AND contact IN (",
    1,
    ") ORDER BY registered_at DESC, id DESC",
);

/// A page of rows by filter, read by `read` from the first column on.
async fn find<T>(
    conn: &mut Conn,
    entity: Entity,
    columns: &str,
    query: &FindQuery,
    read: impl Fn(&DbRow) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let find = Find {
        entity,
        tenant: &query.tenant,
        filter: &query.filter,
        order: &query.order,
        page_size: u32::try_from(query.limit).unwrap_or(u32::MAX),
        page_token: &query.page_token,
        include_deleted: query.include_deleted,
    };
    let compiled = find.compile(dialect::DIALECT, columns)?;
    let mut statement = sqlx::query::<Db>(AssertSqlSafe(compiled.sql.clone())).persistent(false);
    for bind in compiled.binds.clone() {
        statement = match bind {
            Bind::Text(text) => statement.bind(text),
            Bind::Int(number) => statement.bind(number),
            Bind::Real(number) => statement.bind(number),
            Bind::Null => statement.bind(None::<i64>),
        };
    }
    let rows = statement.fetch_all(conn).await.map_err(dialect::error)?;
    let (rows, next_page_token) = compiled.page(rows, |last| sort_values(last, &compiled.sort));
    Ok(Page { items: rows.iter().map(read).collect::<Result<_, _>>()?, next_page_token })
}

fn sort_values(row: &DbRow, kinds: &[SortKind]) -> Vec<Bind> {
    let first = row.len() - kinds.len();
    let value = |(index, kind): (usize, &SortKind)| match kind {
        SortKind::Text => row.try_get::<Option<String>, _>(first + index).ok().flatten().map(Bind::Text),
        SortKind::Int => int(row, first + index).map(Bind::Int),
    };
    kinds.iter().enumerate().map(|one| value(one).unwrap_or(Bind::Null)).collect()
}

/// A whole number of whichever size the column has: some databases tell them apart.
fn int(row: &DbRow, index: usize) -> Option<i64> {
    let narrow = || row.try_get::<Option<i32>, _>(index).ok().flatten().map(i64::from);
    let narrower = || row.try_get::<Option<i16>, _>(index).ok().flatten().map(i64::from);
    row.try_get::<Option<i64>, _>(index).ok().flatten().or_else(narrow).or_else(narrower)
}

pub(in super::super) async fn find_messages(
    conn: &mut Conn,
    query: FindQuery,
) -> Result<Page<Message>, StoreError> {
    find(conn, Entity::Message, MESSAGE, &query, |row| message(row).map(|(message, _)| message)).await
}

pub(in super::super) async fn find_activities(
    conn: &mut Conn,
    query: FindQuery,
) -> Result<Page<Activity>, StoreError> {
    find(conn, Entity::Activity, ACTIVITY, &query, read_activity).await
}

pub(in super::super) async fn find_tickets(
    conn: &mut Conn,
    query: FindQuery,
) -> Result<Page<Ticket>, StoreError> {
    find(conn, Entity::Ticket, TICKET, &query, read_ticket).await
}

pub(in super::super) async fn find_contacts(
    conn: &mut Conn,
    query: FindQuery,
) -> Result<Page<Contact>, StoreError> {
    let mut page = find(conn, Entity::Contact, CONTACT, &query, read_contact).await?;
    add_devices(conn, &query.tenant, &mut page.items).await?;
    Ok(page)
}

pub(in super::super) async fn row(conn: &mut Conn, id: MessageId) -> Result<Option<Row>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        state_columns!(),
        ", ",
        place_columns!(),
        " FROM message LEFT JOIN queue q ON q.message_id = message.id WHERE message.id = $1"
    ))
    .bind(id.0)
    .fetch_optional(conn)
    .await
    .map_err(dialect::error)?;
    row.as_ref().map(full_row).transpose()
}

pub(in super::super) async fn about(conn: &mut Conn, ids: &[MessageId]) -> Result<Vec<About>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for row in ABOUT.fetch(conn, |args| args, ids, |args, id| args.bind(id.0)).await? {
        let mut row = Reader::new(&row, 0);
        found.push(About {
            message: MessageId(row.get()?),
            tenant: row.tenant()?,
            channel: row.word(&Channel::ALL, Channel::as_str)?,
            sender: row.get()?,
            recipient: row.get()?,
        });
    }
    Ok(found)
}

pub(in super::super) async fn attempts(conn: &mut Conn, id: MessageId) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query(
        "SELECT generation, provider, started_at, ended_at, outcome, provider_message_id, code, detail, retry_at, orphan \
         FROM attempt WHERE message_id = $1 ORDER BY id",
    )
    .bind(id.0)
    .fetch_all(conn)
    .await
    .map_err(dialect::error)?;
    rows.iter()
        .map(|row| {
            let mut row = Reader::new(row, 0);
            Ok(Attempt {
                generation: row.get()?,
                provider: row.get()?,
                started_at: row.time()?,
                ended_at: row.time()?,
                outcome: row.get()?,
                provider_message_id: row.get()?,
                code: row.get()?,
                detail: row.get()?,
                retry_at: row.maybe_time()?,
                orphan: row.get::<i16>()? != 0,
            })
        })
        .collect()
}

pub(in super::super) async fn receipts(
    conn: &mut Conn,
    id: MessageId,
) -> Result<Vec<ReceiptRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT provider, received_at, kind, at, code, detail FROM receipt WHERE message_id = $1 ORDER BY id",
    )
    .bind(id.0)
    .fetch_all(conn)
    .await
    .map_err(dialect::error)?;
    rows.iter()
        .map(|row| {
            let mut row = Reader::new(row, 0);
            Ok(ReceiptRow {
                provider: row.get()?,
                received_at: row.time()?,
                kind: row.get()?,
                at: row.time()?,
                code: row.get()?,
                detail: row.get()?,
            })
        })
        .collect()
}

/// An address as it is stored.
#[derive(serde::Deserialize)]
struct StoredAddress {
    channel: String,
    value: String,
    label: Option<String>,
}

fn read_contact(row: &DbRow) -> Result<Contact, StoreError> {
    let mut row = Reader::new(row, 0);
    Ok(Contact {
        id: row.get()?,
        tenant: row.tenant()?,
        version: row.get()?,
        created_at: row.time()?,
        updated_at: row.time()?,
        created_by: row.get()?,
        name: row.get()?,
        addresses: row
            .json::<Vec<StoredAddress>>()?
            .into_iter()
            .filter_map(|one| {
                Some(Address { channel: one.channel.parse().ok()?, value: one.value, label: one.label })
            })
            .collect(),
        preferred_channel: row.maybe_word(&Channel::ALL, Channel::as_str)?,
        locale: row.get()?,
        time_zone: row.get()?,
        metadata: row.json()?,
        devices: Vec::new(),
        deleted_at: row.maybe_time()?,
    })
}

pub(in super::super) async fn contacts(
    conn: &mut Conn,
    tenant: &Tenant,
    ids: &[&str],
) -> Result<Vec<Contact>, StoreError> {
    let mut contacts = Vec::with_capacity(ids.len());
    let of = |args: Args| args.bind(tenant.shared());
    for row in CONTACTS.fetch(conn, of, ids, |args, id| args.bind((*id).to_owned())).await? {
        contacts.push(read_contact(&row)?);
    }
    add_devices(conn, tenant, &mut contacts).await?;
    Ok(contacts)
}

async fn add_devices(conn: &mut Conn, tenant: &Tenant, contacts: &mut [Contact]) -> Result<(), StoreError> {
    let ids: Vec<String> = contacts.iter().map(|contact| contact.id.clone()).collect();
    let places: HashMap<&str, usize> = ids.iter().map(String::as_str).zip(0..).collect();
    let of = |args: Args| args.bind(tenant.shared());
    for row in DEVICES.fetch(conn, of, &ids, |args, id| args.bind(id.clone())).await? {
        let mut row = Reader::new(&row, 0);
        let contact: &str = row.get()?;
        let Some(contact) = places.get(contact).and_then(|index| contacts.get_mut(*index)) else {
            continue;
        };
        contact.devices.push(Device {
            id: DeviceId(row.get()?),
            token: row.get()?,
            platform: row.get()?,
            provider: row.get()?,
            registered_at: row.time()?,
            retired_at: row.maybe_time()?,
            retired_reason: row.get()?,
        });
    }
    Ok(())
}

fn read_activity(row: &DbRow) -> Result<Activity, StoreError> {
    let mut row = Reader::new(row, 0);
    Ok(Activity {
        id: ActivityId(row.get()?),
        tenant: row.tenant()?,
        version: row.get()?,
        created_at: row.time()?,
        updated_at: row.time()?,
        created_by: row.get()?,
        subject: row.get()?,
        kind: row.get()?,
        contact: row.get()?,
        status: row.get()?,
        description: row.get()?,
        message: row.get::<Option<i64>>()?.map(MessageId),
        event: row.get::<Option<i64>>()?.map(EventId),
    })
}

fn read_ticket(row: &DbRow) -> Result<Ticket, StoreError> {
    let mut row = Reader::new(row, 0);
    Ok(Ticket {
        id: TicketId(row.get()?),
        tenant: row.tenant()?,
        version: row.get()?,
        created_at: row.time()?,
        updated_at: row.time()?,
        created_by: row.get()?,
        subject: row.get()?,
        description: row.get()?,
        status: row.get()?,
        priority: row.get()?,
        channel: row.get()?,
        requester: row.get()?,
        message: row.get::<Option<i64>>()?.map(MessageId),
        event: row.get::<Option<i64>>()?.map(EventId),
    })
}

/// `SELECT columns FROM table WHERE tenant = $1 AND id = $2`.
async fn one(conn: &mut Conn, text: String, tenant: &Tenant, id: i64) -> Result<Option<DbRow>, StoreError> {
    sqlx::query::<Db>(AssertSqlSafe(text))
        .bind(tenant.shared())
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(dialect::error)
}

pub(in super::super) async fn activity(
    conn: &mut Conn,
    tenant: &Tenant,
    id: ActivityId,
) -> Result<Option<Activity>, StoreError> {
    let text = format!("SELECT {ACTIVITY} FROM activity WHERE tenant = $1 AND id = $2");
    one(conn, text, tenant, id.0).await?.as_ref().map(read_activity).transpose()
}

pub(in super::super) async fn ticket(
    conn: &mut Conn,
    tenant: &Tenant,
    id: TicketId,
) -> Result<Option<Ticket>, StoreError> {
    let text = format!("SELECT {TICKET} FROM ticket WHERE tenant = $1 AND id = $2");
    one(conn, text, tenant, id.0).await?.as_ref().map(read_ticket).transpose()
}

/// The log up to a place before which nothing can appear any more.
pub(in super::super) async fn events(
    conn: &mut Conn,
    query: EventQuery,
    upto: i64,
) -> Result<Vec<Event>, StoreError> {
    let mut text =
        "SELECT seq, kind, tenant, target, actor, at, version, data FROM event WHERE seq > $1 AND seq <= $3"
            .to_owned();
    let mut binds = Vec::new();
    if let Some(tenant) = &query.tenant {
        binds.push(tenant.to_string());
        text.push_str(" AND tenant = $4");
    }
    if let Some(target) = query.target {
        // A number of ours: nothing to bind.
        text.push_str(&format!(" AND entity = {}", entity_of(&target)));
        binds.push(target);
        text.push_str(&format!(" AND target = ${}", binds.len() + 3));
    }
    text.push_str(" ORDER BY seq LIMIT $2");
    let mut statement = sqlx::query::<Db>(AssertSqlSafe(text)).bind(query.after).bind(query.limit).bind(upto);
    for bind in binds {
        statement = statement.bind(bind);
    }
    let rows = statement.fetch_all(conn).await.map_err(dialect::error)?;
    rows.iter()
        .map(|row| {
            let mut row = Reader::new(row, 0);
            Ok(Event {
                id: EventId(row.get()?),
                kind: row.get()?,
                tenant: row.tenant()?,
                target: row.get()?,
                actor: row.get()?,
                at: row.time()?,
                version: row.get()?,
                data: row.json()?,
            })
        })
        .collect()
}

pub(in super::super) async fn last_event(conn: &mut Conn) -> Result<EventId, StoreError> {
    let seq: Option<i64> =
        sqlx::query_scalar("SELECT MAX(seq) FROM event").fetch_one(conn).await.map_err(dialect::error)?;
    Ok(EventId(seq.unwrap_or(0)))
}

pub(in super::super) async fn consumer(conn: &mut Conn, name: &str) -> Result<i64, StoreError> {
    let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM consumer WHERE name = $1")
        .bind(name.to_owned())
        .fetch_optional(conn)
        .await
        .map_err(dialect::error)?;
    Ok(seq.unwrap_or(0))
}

pub(in super::super) async fn depth(conn: &mut Conn, channel: Channel) -> Result<QueueDepth, StoreError> {
    let next_due: Option<i64> =
        sqlx::query_scalar("SELECT MIN(due_at) FROM queue WHERE state = 0 AND channel = $1")
            .bind(channel.as_str())
            .fetch_one(conn)
            .await
            .map_err(dialect::error)?;
    Ok(QueueDepth { next_due: next_due.map(Timestamp) })
}

fn read_key(row: &DbRow) -> Result<ApiKey, StoreError> {
    let mut row = Reader::new(row, 0);
    Ok(ApiKey {
        id: ApiKeyId(row.get()?),
        tenant: row.tenant()?,
        name: row.get()?,
        hash: row.get()?,
        prefix: row.get()?,
        scopes: row.get()?,
        created_at: row.time()?,
        expires_at: row.maybe_time()?,
        revoked_at: row.maybe_time()?,
    })
}

pub(in super::super) async fn key_by_hash(
    conn: &mut Conn,
    hash: &[u8],
) -> Result<Option<ApiKey>, StoreError> {
    let row = sqlx::query::<Db>(AssertSqlSafe(format!("SELECT {KEY} FROM api_key WHERE hash = $1")))
        .bind(hash.to_vec())
        .fetch_optional(conn)
        .await
        .map_err(dialect::error)?;
    row.as_ref().map(read_key).transpose()
}

pub(in super::super) async fn keys(conn: &mut Conn, tenant: &Tenant) -> Result<Vec<ApiKey>, StoreError> {
    let text = format!("SELECT {KEY} FROM api_key WHERE tenant = $1 ORDER BY id DESC LIMIT 1000");
    let rows = sqlx::query::<Db>(AssertSqlSafe(text))
        .bind(tenant.shared())
        .fetch_all(conn)
        .await
        .map_err(dialect::error)?;
    rows.iter().map(read_key).collect()
}

pub(in super::super) async fn key(
    conn: &mut Conn,
    tenant: &Tenant,
    id: ApiKeyId,
) -> Result<Option<ApiKey>, StoreError> {
    let text = format!("SELECT {KEY} FROM api_key WHERE tenant = $1 AND id = $2");
    one(conn, text, tenant, id.0).await?.as_ref().map(read_key).transpose()
}
