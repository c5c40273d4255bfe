//! The queue: claims, leases, and what happens when they run out.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use headlessly_providers::contract::Attachment;

use super::{
    super::dialect,
    after::After,
    bulk::{Bulk, Conn, Script},
    change::Rows,
    parked, quarantine,
    rows::{Reader, content_columns, message, state_columns},
};
use crate::{
    model::{
        Channel, Timestamp,
        ids::MessageId,
        message::Message,
        verbs::{By, Step, Wait},
    },
    store::{Claim, Claimed, StoreError, Swept, fair},
};

static MESSAGES: Bulk = Bulk::among(
    concat!("SELECT ", state_columns!(), ", ", content_columns!(), " FROM message WHERE message.id IN ("),
    0,
    ")",
);

static PARTS: Bulk = Bulk::among(
    "SELECT message_id, ordinal, name, content_type, content_id, content FROM message_part WHERE message_id IN (",
    0,
    ") ORDER BY message_id, ordinal",
);

static RENEW: Bulk = Bulk::with(
    "WITH v (id, epoch, until) AS (VALUES ",
    &["BIGINT", "BIGINT", "BIGINT"],
    ") UPDATE queue SET due_at = v.until FROM v WHERE queue.message_id = v.id AND queue.epoch = v.epoch AND queue.state = 1",
);

/// How many rows one sweep looks at, of each kind: the rest waits for the next.
const SWEEP_LIMIT: i64 = 1_000;

/// Messages with everything, by id, in no order.
pub(in super::super) async fn messages(conn: &mut Conn, ids: &[i64]) -> Result<Vec<Message>, StoreError> {
    let (messages, unreadable) = readable(conn, ids).await?;
    match unreadable.into_values().next() {
        None => Ok(messages),
        Some(what) => Err(StoreError::Corrupt(what)),
    }
}

/// The same; those that cannot be read apart, with the reason.
async fn readable(
    conn: &mut Conn,
    ids: &[i64],
) -> Result<(Vec<Message>, HashMap<MessageId, String>), StoreError> {
    let mut messages = Vec::with_capacity(ids.len());
    let (mut with_parts, mut unreadable) = (Vec::new(), HashMap::new());
    for row in MESSAGES.fetch(conn, |args| args, ids, |args, id| args.bind(*id)).await? {
        match message(&row) {
            Ok((message, parts)) => {
                if parts {
                    with_parts.push(message.state.id.0);
                }
                messages.push(message);
            }
            Err(StoreError::Corrupt(what)) => {
                unreadable.insert(MessageId(Reader::new(&row, 0).get()?), what);
            }
            Err(error) => return Err(error),
        }
    }
    if !with_parts.is_empty() {
        add_parts(conn, &with_parts, &mut messages, &mut unreadable).await?;
        messages.retain(|message| !unreadable.contains_key(&message.state.id));
    }
    Ok((messages, unreadable))
}

async fn add_parts(
    conn: &mut Conn,
    ids: &[i64],
    messages: &mut [Message],
    unreadable: &mut HashMap<MessageId, String>,
) -> Result<(), StoreError> {
    let mut places: HashMap<i64, usize> = HashMap::new();
    for (index, message) in messages.iter().enumerate() {
        places.insert(message.state.id.0, index);
    }
    for row in PARTS.fetch(conn, |args| args, ids, |args, id| args.bind(*id)).await? {
        let mut row = Reader::new(&row, 0);
        let id: i64 = row.get()?;
        let Some(message) = places.get(&id).and_then(|index| messages.get_mut(*index)) else { continue };
        if let Err(error) = add_part(message, &mut row) {
            unreadable.insert(MessageId(id), error.to_string());
        }
    }
    Ok(())
}

fn add_part(message: &mut Message, row: &mut Reader<'_>) -> Result<(), StoreError> {
    let ordinal: i32 = row.get()?;
    let name: Option<String> = row.get()?;
    let (content_type, content_id): (String, Option<String>) = (row.get()?, row.get()?);
    let content: Vec<u8> = row.get()?;
    if ordinal == 0 {
        let html = String::from_utf8(content).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        message.content.html_body = Some(html);
    } else {
        let (name, content) = (name.unwrap_or_default(), Bytes::from(content));
        message.content.attachments.push(Attachment { name, content_type, content, content_id });
    }
    Ok(())
}

/// Takes due messages of a channel, lane by lane, in each lane from every tenant that waits.
pub(in super::super) async fn claim(
    conn: &mut Conn,
    claim: &Claim,
    turns: &mut Turns,
    after: &mut After,
) -> Result<Vec<Claimed>, StoreError> {
    let ids = due(conn, claim, turns).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let order: Vec<MessageId> = ids.iter().copied().map(MessageId).collect();
    let mut rows = Rows::default();
    rows.load(conn, &order).await?;
    let (messages, unreadable) = readable(conn, &ids).await?;
    let mut found: HashMap<MessageId, Message> =
        messages.into_iter().map(|message| (message.state.id, message)).collect();
    let step = Step::Claim { lease_until: claim.lease_until };
    let limits = after.limits;
    let by = By { now: claim.now, actor: "system", limits: &limits };
    let (mut claimed, mut aside) = (Vec::with_capacity(ids.len()), Vec::new());
    for id in order {
        if let Some(defect) = rows.defect(id).or_else(|| unreadable.get(&id).cloned()) {
            aside.push((id, defect));
            continue;
        }
        // A row that cannot be claimed after all (its message expired) has left the queue by its step.
        let stepped = rows.step(None, id, &step, by);
        let queued = rows.get(id).and_then(|row| row.queued.clone()).filter(|_| stepped.is_ok());
        let Some(queued) = queued.filter(|queued| queued.wait == Wait::Leased) else { continue };
        if let Some(mut message) = found.remove(&id) {
            // It was read before the step.
            if let Some(row) = rows.get(id) {
                message.state.clone_from(&row.state);
            }
            claimed.push(Claimed { message: Arc::new(message), queued });
        }
    }
    quarantine::set_aside(conn, &aside, claim.now, after).await?;
    let mut script = Script::default();
    rows.save(conn, &mut script, after).await?;
    script.flush(conn).await?;
    Ok(claimed)
}

/// The tenant that was served last, by channel and lane.
#[derive(Default)]
pub(in super::super) struct Turns(HashMap<(Channel, i16), String>);

/// A tenant with something ready in a lane.
struct Waiting {
    lane: i16,
    tenant: String,
    first_due: i64,
}

/// Tenants that one claim looks at, in each lane.
const TENANTS: usize = 64;

/// Who waits in a lane of a channel, and since when: from tenant to tenant through the index, whatever each of them has waiting.
macro_rules! waiting_in {
    ($lane:literal) => {
        concat!(
            "SELECT CAST(", $lane, " AS SMALLINT) AS lane, t.tenant AS tenant, (SELECT MIN(q.due_at) FROM queue q WHERE \
             q.state = 0 AND q.channel = $1 AND q.lane = ", $lane, " AND q.tenant = t.tenant) AS first_due FROM ( \
             WITH RECURSIVE walk (tenant, place) AS (SELECT (SELECT MIN(q.tenant) FROM queue q WHERE q.state = 0 AND \
             q.channel = $1 AND q.lane = ", $lane, " AND q.tenant > $2), 1 UNION ALL SELECT (SELECT MIN(q.tenant) FROM \
             queue q WHERE q.state = 0 AND q.channel = $1 AND q.lane = ", $lane, " AND q.tenant > walk.tenant), \
             walk.place + 1 FROM walk WHERE walk.tenant IS NOT NULL AND walk.place < $3) \
             SELECT tenant FROM walk WHERE tenant IS NOT NULL) t"
        )
    };
}

const WAITING: &str =
    concat!(waiting_in!("0"), " UNION ALL ", waiting_in!("1"), " UNION ALL ", waiting_in!("2"));

/// Who waits on a channel, lane by lane, after this tenant in the order of the index.
async fn waiting(conn: &mut Conn, channel: Channel, after: &str) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query(WAITING)
        .bind(channel.as_str())
        .bind(after.to_owned())
        .bind(TENANTS as i64)
        .fetch_all(conn)
        .await
        .map_err(dialect::error)?;
    rows.iter()
        .map(|row| {
            let mut row = Reader::new(row, 0);
            Ok(Waiting { lane: row.get()?, tenant: row.get()?, first_due: row.get()? })
        })
        .collect()
}

/// The ids of messages that are due: the lanes in order, within a lane each tenant its share, first due first.
async fn due(conn: &mut Conn, claim: &Claim, turns: &mut Turns) -> Result<Vec<i64>, StoreError> {
    let mut all = waiting(conn, claim.channel, "").await?;
    for lane in 0..3i16 {
        // More than one look can hold: go on where the last one ended.
        let last = turns.0.get(&(claim.channel, lane)).cloned().unwrap_or_default();
        if !last.is_empty() && all.iter().filter(|one| one.lane == lane).count() >= TENANTS {
            let more = waiting(conn, claim.channel, &last).await?;
            let known: HashSet<String> =
                all.iter().filter(|one| one.lane == lane).map(|one| one.tenant.clone()).collect();
            all.extend(more.into_iter().filter(|one| one.lane == lane && !known.contains(&one.tenant)));
        }
    }
    all.retain(|one| one.first_due <= claim.now.0);
    let room = usize::try_from(claim.limit).unwrap_or(0);
    let mut ids = Vec::with_capacity(room);
    for lane in 0..3i16 {
        let left = room - ids.len();
        let mut lane_tenants: Vec<&Waiting> = all.iter().filter(|one| one.lane == lane).collect();
        if left == 0 || lane_tenants.is_empty() {
            continue;
        }
        let last = turns.0.get(&(claim.channel, lane)).map(String::as_str);
        fair::turn(&mut lane_tenants, last, |one| &one.tenant);
        let tenants: Vec<&str> = lane_tenants.iter().map(|one| one.tenant.as_str()).collect();
        ids.extend(due_in(conn, claim, lane, &tenants, left).await?);
        // The next claim begins after the last one that was served now.
        if let Some(last) = tenants.get(left.min(tenants.len()) - 1) {
            turns.0.insert((claim.channel, lane), (*last).to_owned());
        }
    }
    Ok(ids)
}

/// The ids of due messages of these tenants in one lane: each its share, and what some leave to the first that have more.
async fn due_in(
    conn: &mut Conn,
    claim: &Claim,
    lane: i16,
    tenants: &[&str],
    room: usize,
) -> Result<Vec<i64>, StoreError> {
    let (mut ids, mut more) = (Vec::with_capacity(room), Vec::new());
    for (tenant, share) in tenants.iter().zip(fair::shares(room, &vec![1; tenants.len()])) {
        if share == 0 {
            break;
        }
        let found = due_of(conn, claim, lane, tenant, share).await?;
        if found.len() == share {
            more.push((*tenant, share));
        }
        ids.extend(found);
    }
    for (tenant, had) in more {
        let left = room - ids.len();
        if left == 0 || tenants.len() == 1 {
            break;
        }
        // They come again from the first on: nothing of this claim is written yet.
        let found = due_of(conn, claim, lane, tenant, had + left).await?;
        let known: HashSet<i64> = ids.iter().copied().collect();
        ids.extend(found.into_iter().filter(|id| !known.contains(id)).take(left));
    }
    Ok(ids)
}

async fn due_of(
    conn: &mut Conn,
    claim: &Claim,
    lane: i16,
    tenant: &str,
    limit: usize,
) -> Result<Vec<i64>, StoreError> {
    sqlx::query_scalar(dialect::CLAIM)
        .bind(claim.channel.as_str())
        .bind(lane)
        .bind(tenant.to_owned())
        .bind(claim.now.0)
        .bind(limit as i64)
        .fetch_all(conn)
        .await
        .map_err(dialect::error)
}

/// Extends leases that are still held under their epoch.
pub(in super::super) async fn renew(
    conn: &mut Conn,
    leases: &[(MessageId, i64)],
    until: Timestamp,
) -> Result<(), StoreError> {
    RENEW.run(conn, leases, |query, (id, epoch)| query.bind(id.0).bind(*epoch).bind(until.0)).await
}

/// Gives back leases that are still held under their epoch: their tries may have reached the provider.
pub(in super::super) async fn release(
    conn: &mut Conn,
    leases: &[(MessageId, i64)],
    now: Timestamp,
    after: &mut After,
) -> Result<Swept, StoreError> {
    let ids: Vec<MessageId> = leases.iter().map(|(id, _)| *id).collect();
    let mut rows = Rows::default();
    rows.load(conn, &ids).await?;
    let (limits, mut released) = (after.limits, 0);
    for (id, epoch) in leases {
        let place = rows.get(*id).and_then(|row| row.queued.as_ref());
        if place.is_some_and(|place| place.wait == Wait::Leased && place.epoch == *epoch) {
            rows.step(None, *id, &Step::Release, By { now, actor: "system", limits: &limits })?;
            released += 1;
        }
    }
    let mut script = Script::default();
    rows.save(conn, &mut script, after).await?;
    script.flush(conn).await?;
    Ok(Swept { released, ended: 0 })
}

/// Gives back leases that ran out and ends waits that are over.
pub(in super::super) async fn sweep(
    conn: &mut Conn,
    now: Timestamp,
    all: bool,
    after: &mut After,
) -> Result<Swept, StoreError> {
    let select = |text: &'static str, horizon: Timestamp| {
        sqlx::query_scalar::<_, i64>(text).bind(horizon.0).bind(SWEEP_LIMIT)
    };
    let lost: Vec<i64> = select(
        "SELECT message_id FROM queue WHERE state = 1 AND due_at <= $1 ORDER BY message_id LIMIT $2",
        if all { Timestamp(i64::MAX) } else { now },
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(dialect::error)?;
    let held: Vec<i64> = select(
        "SELECT message_id FROM queue WHERE state = 2 AND due_at <= $1 ORDER BY message_id LIMIT $2",
        now,
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(dialect::error)?;
    let expired: Vec<i64> = select(
        "SELECT message_id FROM queue WHERE state = 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $2",
        now,
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(dialect::error)?;
    parked::look_again(conn, now, after).await?;
    let mut rows = Rows::default();
    let (limits, mut aside) = (after.limits, Vec::new());
    let by = By { now, actor: "system", limits: &limits };
    for (ids, step) in [(&lost, Step::Release), (&held, Step::GiveUp), (&expired, Step::GiveUp)] {
        let ids: Vec<MessageId> = ids.iter().copied().map(MessageId).collect();
        rows.load(conn, &ids).await?;
        for id in ids {
            match rows.defect(id) {
                Some(defect) => aside.push((id, defect)),
                // A step that is refused has nothing to do any more.
                None => drop(rows.step(None, id, &step, by)),
            }
        }
    }
    quarantine::set_aside(conn, &aside, now, after).await?;
    let mut script = Script::default();
    rows.save(conn, &mut script, after).await?;
    script.flush(conn).await?;
    Ok(Swept { released: lost.len(), ended: held.len() + expired.len() })
}
