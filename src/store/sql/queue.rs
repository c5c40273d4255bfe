//! The queue: claims, leases, and what happens when they run out.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use headlessly_providers::contract::Attachment;

use super::{
    super::dialect,
    bulk::{Bulk, Conn, Script},
    change::{After, Rows},
    rows::{Reader, content_columns, message, state_columns},
};
use crate::{
    model::{
        Timestamp,
        ids::MessageId,
        message::Message,
        verbs::{By, Step, Wait},
    },
    store::{Claim, Claimed, StoreError, Swept},
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
    let mut messages = Vec::with_capacity(ids.len());
    let mut with_parts = Vec::new();
    for (chunk, mut query) in MESSAGES.chunks(ids) {
        for id in chunk {
            query = query.bind(*id);
        }
        for row in query.fetch_all(&mut *conn).await.map_err(dialect::error)? {
            let (message, parts) = message(&row)?;
            if parts {
                with_parts.push(message.state.id.0);
            }
            messages.push(message);
        }
    }
    if with_parts.is_empty() {
        return Ok(messages);
    }
    let mut places: HashMap<i64, usize> = HashMap::new();
    for (index, message) in messages.iter().enumerate() {
        places.insert(message.state.id.0, index);
    }
    for (chunk, mut query) in PARTS.chunks(&with_parts) {
        for id in chunk {
            query = query.bind(*id);
        }
        for row in query.fetch_all(&mut *conn).await.map_err(dialect::error)? {
            let mut row = Reader::new(&row, 0);
            let id: i64 = row.get()?;
            if let Some(message) = places.get(&id).and_then(|index| messages.get_mut(*index)) {
                add_part(message, &mut row)?;
            }
        }
    }
    Ok(messages)
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

/// Takes due messages of a channel, lane by lane.
pub(in super::super) async fn claim(
    conn: &mut Conn,
    claim: &Claim,
    after: &mut After,
) -> Result<Vec<Claimed>, StoreError> {
    let mut ids: Vec<i64> = Vec::new();
    for lane in 0..3i16 {
        let room = claim.limit - ids.len() as i64;
        if room <= 0 {
            break;
        }
        let due: Vec<i64> = sqlx::query_scalar(dialect::CLAIM)
            .bind(claim.channel.as_str())
            .bind(lane)
            .bind(claim.now.0)
            .bind(room)
            .fetch_all(&mut *conn)
            .await
            .map_err(dialect::error)?;
        ids.extend(due);
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let order: Vec<MessageId> = ids.iter().copied().map(MessageId).collect();
    let mut rows = Rows::default();
    rows.load(conn, &order).await?;
    let step = Step::Claim { lease_until: claim.lease_until };
    let limits = after.limits;
    let by = By { now: claim.now, actor: "system", limits: &limits };
    let mut claimed = Vec::with_capacity(ids.len());
    for id in order {
        // A row that cannot be claimed after all (its message expired) has left the queue by its step.
        rows.step(None, id, &step, by).ok();
        let queued = rows.get(id).and_then(|row| row.queued.clone());
        claimed.extend(queued.filter(|queued| queued.wait == Wait::Leased).map(|queued| (id, queued)));
    }
    let mut script = Script::default();
    rows.save(conn, &mut script, after).await?;
    script.flush(conn).await?;
    let taken: Vec<i64> = claimed.iter().map(|(id, _)| id.0).collect();
    let mut found: HashMap<MessageId, Message> =
        messages(conn, &taken).await?.into_iter().map(|message| (message.state.id, message)).collect();
    let with_message = |(id, queued)| Some(Claimed { message: Arc::new(found.remove(&id)?), queued });
    Ok(claimed.into_iter().filter_map(with_message).collect())
}

/// Extends leases that are still held under their epoch.
pub(in super::super) async fn renew(
    conn: &mut Conn,
    leases: &[(MessageId, i64)],
    until: Timestamp,
) -> Result<(), StoreError> {
    RENEW.run(conn, leases, |query, (id, epoch)| query.bind(id.0).bind(*epoch).bind(until.0)).await
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
    let mut rows = Rows::default();
    let limits = after.limits;
    let by = By { now, actor: "system", limits: &limits };
    for (ids, step) in [(&lost, Step::Release), (&held, Step::GiveUp), (&expired, Step::GiveUp)] {
        let ids: Vec<MessageId> = ids.iter().copied().map(MessageId).collect();
        rows.load(conn, &ids).await?;
        for id in ids {
            rows.step(None, id, &step, by).ok();
        }
    }
    let mut script = Script::default();
    rows.save(conn, &mut script, after).await?;
    script.flush(conn).await?;
    Ok(Swept { released: lost.len(), ended: held.len() + expired.len() })
}
