//! What a database may hold that no version of this program wrote. Columns have their types and their checks here, so what can be
//! wrong is how rows belong together.

use sqlx::{Connection as _, PgConnection};

use super::{OpenError, Settings, dialect::Link, fit, options, unreachable};
use crate::{
    model::Timestamp,
    store::{Defect, Schema, schema},
};

/// What is looked for: the words for it, how many there are, what repairs it, with `$1` as now where it needs that.
const CHECKS: [(&str, &str, &str); 5] = [
    (
        "places in the queue belong to no message",
        "SELECT COUNT(*) FROM queue WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.id = queue.message_id)",
        "DELETE FROM queue WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.id = queue.message_id)",
    ),
    (
        "places in the queue belong to messages that do not wait any more",
        "SELECT COUNT(*) FROM queue q JOIN message m ON m.id = q.message_id \
         WHERE q.state <> 1 AND m.status NOT IN ('QUEUED', 'SCHEDULED')",
        "DELETE FROM queue USING message m WHERE m.id = queue.message_id AND queue.state <> 1 \
         AND m.status NOT IN ('QUEUED', 'SCHEDULED')",
    ),
    (
        "messages wait without a place in the queue",
        "SELECT COUNT(*) FROM message m WHERE m.status IN ('QUEUED', 'SCHEDULED') AND m.deleted_at IS NULL \
         AND m.direction <> 'INBOUND' AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.message_id = m.id)",
        // They may have been under way when the place was lost: that is what `ambiguous` says. 72 hours to live.
        "INSERT INTO queue (message_id, tenant, channel, lane, state, due_at, epoch, tries, ambiguous, expires_at, bytes) \
         SELECT id, tenant, channel, priority, 0, \
         GREATEST(COALESCE(scheduled_at, 0), CASE status WHEN 'QUEUED' THEN $1::bigint ELSE 0 END), \
         COALESCE((SELECT MAX(epoch) FROM attempt WHERE attempt.message_id = m.id), 0), 0, \
         CASE status WHEN 'QUEUED' THEN 1 ELSE 0 END, \
         COALESCE(expires_at, GREATEST(COALESCE(scheduled_at, 0), $1::bigint) + 259200000000), octet_length(body) \
         FROM message m WHERE m.status IN ('QUEUED', 'SCHEDULED') AND m.deleted_at IS NULL AND m.direction <> 'INBOUND' \
         AND m.channel IS NOT NULL AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.message_id = m.id)",
    ),
    (
        "parts belong to no message",
        "SELECT COUNT(*) FROM message_part WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.id = message_part.message_id)",
        "DELETE FROM message_part WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.id = message_part.message_id)",
    ),
    (
        "places were set aside and wait for somebody to look at them (table quarantine)",
        "SELECT COUNT(*) FROM quarantine",
        "DELETE FROM quarantine WHERE message_id IN (SELECT message_id FROM queue) \
         OR message_id NOT IN (SELECT id FROM message WHERE status IN ('QUEUED', 'SCHEDULED'))",
    ),
];

/// How far the tables of a database are. Changes nothing.
///
/// # Errors
/// When it cannot be reached.
pub async fn schema(url: &str) -> Result<Schema, OpenError> {
    let mut conn = reach(url).await?;
    let has = version(&mut conn).await.map_err(unreachable)?;
    Ok(Schema { has, wants: schema::newest() })
}

/// Looks through a database, and repairs what can be repaired when `now` is given.
///
/// # Errors
/// When it cannot be reached, is not fit to be a store, is of a newer version, or nodes are over it that a repair would disturb.
pub async fn examine(url: &str, now: Option<Timestamp>) -> Result<Vec<Defect>, OpenError> {
    let mut conn = reach(url).await?;
    fit(&mut conn).await?;
    let has = version(&mut conn).await.map_err(unreachable)?;
    if has != schema::newest() {
        let text =
            format!("they are at step {has}, this program wants {}: see hly migrate", schema::newest());
        return Err(OpenError::Schema(text));
    }
    if now.is_some() && nodes(&mut conn).await.map_err(unreachable)? > 0 {
        return Err(OpenError::Busy);
    }
    let mut found = Vec::new();
    for (text, count, repair) in CHECKS {
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut conn).await.map_err(unreachable)?;
        let Ok(count @ 1..) = usize::try_from(count) else { continue };
        if let Some(now) = now {
            let query = sqlx::query(repair);
            let query = if repair.contains("$1") { query.bind(now.0) } else { query };
            query.execute(&mut conn).await.map_err(unreachable)?;
        }
        found.push(Defect { text: text.to_owned(), count, repaired: now.is_some() });
    }
    conn.close().await.ok();
    Ok(found)
}

async fn reach(url: &str) -> Result<PgConnection, OpenError> {
    Link::new(options(url, &Settings::default())?, false).reach().await.map_err(unreachable)
}

/// The last step that the tables have made.
pub(super) async fn version(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let migrated: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    if !migrated {
        return Ok(0);
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success").fetch_one(conn).await?;
    Ok(version.unwrap_or(0))
}

/// Nodes that have said lately that they are there.
async fn nodes(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM node WHERE seen_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 20000000",
    )
    .fetch_one(conn)
    .await
}
