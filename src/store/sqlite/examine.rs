//! What a store may hold that no version of this program wrote: found, and repaired where a repair can be no worse than what is there.
//! Works on a store that no server has open.

use std::{collections::BTreeMap, path::Path};

use sqlx::{
    AssertSqlSafe, Connection as _, Row as _,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};

use super::{
    OpenError, lock,
    sql::rows::{Reader, state, state_columns},
};
use crate::{
    model::Timestamp,
    store::{Defect, StoreError, schema},
};

/// A place in the queue that holds what no place may hold. The bounds of times are 1970 and the year 10000.
macro_rules! bad_place {
    () => {
        "FROM queue WHERE typeof(tenant) <> 'text' OR channel NOT IN ('EMAIL', 'SMS', 'CHAT', 'PUSH') \
         OR typeof(lane) <> 'integer' OR lane NOT IN (0, 1, 2) OR typeof(state) <> 'integer' OR state NOT IN (0, 1, 2) \
         OR typeof(due_at) <> 'integer' OR due_at NOT BETWEEN 0 AND 253402300800000000 \
         OR typeof(expires_at) <> 'integer' OR expires_at NOT BETWEEN 0 AND 253402300800000000 \
         OR typeof(epoch) <> 'integer' OR epoch < 0 OR typeof(tries) <> 'integer' OR tries < 0 \
         OR typeof(bytes) <> 'integer' OR bytes < 0"
    };
}

/// What is looked for: the words for it, how many there are, what repairs it, each with `$1` as now where it needs that.
const CHECKS: [(&str, &str, &[&str]); 6] = [
    (
        "places in the queue hold values that have no meaning",
        concat!("SELECT COUNT(*) ", bad_place!()),
        &[
            concat!(
                "INSERT OR IGNORE INTO quarantine (message_id, reason, tenant, channel, lane, state, due_at, epoch, tries, \
                 ambiguous, expires_at, bytes, quarantined_at) SELECT message_id, 'set aside by the doctor', tenant, channel, \
                 lane, state, due_at, epoch, tries, ambiguous, expires_at, bytes, $1 ",
                bad_place!()
            ),
            concat!("DELETE ", bad_place!()),
        ],
    ),
    (
        "places in the queue belong to no message",
        "SELECT COUNT(*) FROM queue WHERE message_id NOT IN (SELECT id FROM message)",
        &["DELETE FROM queue WHERE message_id NOT IN (SELECT id FROM message)"],
    ),
    (
        "places in the queue belong to messages that do not wait any more",
        "SELECT COUNT(*) FROM queue q JOIN message m ON m.id = q.message_id \
         WHERE q.state <> 1 AND m.status NOT IN ('QUEUED', 'SCHEDULED')",
        &["DELETE FROM queue WHERE state <> 1 AND message_id IN \
           (SELECT id FROM message WHERE status NOT IN ('QUEUED', 'SCHEDULED'))"],
    ),
    (
        "messages wait without a place in the queue",
        "SELECT COUNT(*) FROM message WHERE status IN ('QUEUED', 'SCHEDULED') AND deleted_at IS NULL \
         AND direction <> 'INBOUND' AND id NOT IN (SELECT message_id FROM queue)",
        // They may have been under way when the place was lost: that is what `ambiguous` says.
        &[
            "INSERT INTO queue (message_id, tenant, channel, lane, state, due_at, epoch, tries, ambiguous, expires_at, bytes) \
           SELECT id, tenant, channel, priority, 0, MAX(COALESCE(scheduled_at, 0), CASE status WHEN 'QUEUED' THEN $1 ELSE 0 END), \
           COALESCE((SELECT MAX(epoch) FROM attempt WHERE attempt.message_id = message.id), 0), 0, \
           CASE status WHEN 'QUEUED' THEN 1 ELSE 0 END, \
           COALESCE(expires_at, MAX(COALESCE(scheduled_at, 0), $1) + 259200000000), length(CAST(body AS BLOB)) \
           FROM message WHERE status IN ('QUEUED', 'SCHEDULED') AND deleted_at IS NULL AND direction <> 'INBOUND' \
           AND channel IS NOT NULL AND id NOT IN (SELECT message_id FROM queue)",
        ],
    ),
    (
        "parts belong to no message",
        "SELECT COUNT(*) FROM message_part WHERE message_id NOT IN (SELECT id FROM message)",
        &["DELETE FROM message_part WHERE message_id NOT IN (SELECT id FROM message)"],
    ),
    (
        "places were set aside and wait for somebody to look at them (table quarantine)",
        "SELECT COUNT(*) FROM quarantine",
        // Those that have a new place, or nothing that could have one.
        &["DELETE FROM quarantine WHERE message_id IN (SELECT message_id FROM queue) \
           OR message_id NOT IN (SELECT id FROM message WHERE status IN ('QUEUED', 'SCHEDULED'))"],
    ),
];

/// Messages looked at in one go.
const STEP: i64 = 1_000;

const STATES: &str =
    concat!("SELECT ", state_columns!(), ", message.status FROM message WHERE id > $1 ORDER BY id LIMIT $2");

/// Looks through a store, and repairs what can be repaired when `now` is given.
///
/// # Errors
/// As of opening it: a server has it, it is of a newer version, or it is no store.
pub async fn examine(path: &Path, now: Option<Timestamp>) -> Result<Vec<Defect>, OpenError> {
    let _lock = lock(path)?;
    let options = SqliteConnectOptions::new().filename(path);
    let wrong = |error: sqlx::Error| OpenError::Database(path.to_owned(), error.to_string());
    let mut conn = SqliteConnection::connect_with(&options).await.map_err(wrong)?;
    super::not_newer(&mut conn, path).await?;
    let found = look(&mut conn, now).await.map_err(wrong)?;
    conn.close().await.map_err(wrong)?;
    Ok(found)
}

async fn look(conn: &mut SqliteConnection, now: Option<Timestamp>) -> Result<Vec<Defect>, sqlx::Error> {
    let damage = damage(conn).await?;
    let (indexes, pages): (Vec<_>, Vec<_>) = damage.into_iter().partition(|line| line.contains(" index "));
    if !pages.is_empty() {
        let text = format!("the file is damaged: {}", pages.join("; "));
        // What is damaged is left as it is: a repair could make it worse.
        return Ok(vec![Defect { text, count: pages.len(), repaired: false }]);
    }
    let mut found = shapes(conn, now.is_some()).await?;
    if !indexes.is_empty() {
        if now.is_some() {
            sqlx::query("REINDEX").execute(&mut *conn).await?;
        }
        let text = format!("indexes do not agree with their tables: {}", indexes.join("; "));
        found.push(Defect { text, count: indexes.len(), repaired: now.is_some() });
    }
    if found.iter().any(|defect| !defect.repaired && defect.text.starts_with("the table")) {
        return Ok(found);
    }
    found.extend(statuses(conn, now.is_some()).await?);
    for (text, count, repairs) in CHECKS {
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut *conn).await?;
        let Ok(count @ 1..) = usize::try_from(count) else { continue };
        if let Some(now) = now {
            let mut together = conn.begin().await?;
            for repair in repairs {
                let query = sqlx::query(*repair);
                let query = if repair.contains("$1") { query.bind(now.0) } else { query };
                query.execute(&mut *together).await?;
            }
            together.commit().await?;
        }
        found.push(Defect { text: text.to_owned(), count, repaired: now.is_some() });
    }
    Ok(found)
}

/// What SQLite finds wrong with the file. Values that break a rule of their table are found elsewhere.
async fn damage(conn: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut lines: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(20)").fetch_all(conn).await?;
    let ours = ["ok", "CHECK constraint failed", "NULL value in"];
    lines.retain(|line| !ours.iter().any(|begin| line.starts_with(begin)));
    Ok(lines)
}

/// Tables and indexes as the migrations make them, against those that are there.
async fn shapes(conn: &mut SqliteConnection, repair: bool) -> Result<Vec<Defect>, sqlx::Error> {
    let mut model = SqliteConnection::connect("sqlite::memory:").await?;
    schema::sqlite()
        .run_direct(None, &mut model, false)
        .await
        .map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
    let (want, have) = (named(&mut model).await?, named(conn).await?);
    let mut found = Vec::new();
    for (name, (kind, text)) in &want {
        if have.contains_key(name) {
            continue;
        }
        let repaired = repair && kind == "index";
        if repaired {
            sqlx::query(AssertSqlSafe(text.clone())).execute(&mut *conn).await?;
        }
        found.push(Defect { text: format!("the {kind} {name} is missing"), count: 1, repaired });
    }
    for (name, (kind, _)) in
        have.iter().filter(|(name, (kind, _))| kind == "trigger" && !want.contains_key(*name))
    {
        found.push(Defect {
            text: format!("there is a {kind} {name} that is not ours"),
            count: 1,
            repaired: false,
        });
    }
    Ok(found)
}

async fn named(conn: &mut SqliteConnection) -> Result<BTreeMap<String, (String, String)>, sqlx::Error> {
    let rows = sqlx::query("SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL")
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

/// Messages whose status is not what their facts make, and those that cannot be read.
async fn statuses(conn: &mut SqliteConnection, repair: bool) -> Result<Vec<Defect>, sqlx::Error> {
    let (mut wrong, mut unreadable) = (0, Vec::new());
    let mut after = i64::MIN;
    loop {
        let rows = sqlx::query(STATES).bind(after).bind(STEP).fetch_all(&mut *conn).await?;
        let Some(last) = rows.last() else { break };
        after = last.try_get(0)?;
        for row in &rows {
            let mut reader = Reader::new(row, 0);
            let read = state(&mut reader).and_then(|state| Ok((state, reader.get::<String>()?)));
            match read {
                Ok((state, status)) if state.status().as_str() == status => {}
                Ok((state, _)) => {
                    wrong += 1;
                    if repair {
                        let set = sqlx::query("UPDATE message SET status = $1 WHERE id = $2");
                        set.bind(state.status().as_str()).bind(state.id.0).execute(&mut *conn).await?;
                    }
                }
                Err(StoreError::Corrupt(what)) => {
                    unreadable.push(format!("{}: {what}", row.try_get::<i64, _>(0)?))
                }
                Err(error) => return Err(sqlx::Error::Protocol(error.to_string())),
            }
        }
    }
    let mut found = Vec::new();
    if wrong > 0 {
        let text = "messages have a status that is not what their facts make".to_owned();
        found.push(Defect { text, count: wrong, repaired: repair });
    }
    if let Some(first) = unreadable.first() {
        let text = format!("messages cannot be read, the first is {first}");
        found.push(Defect { text, count: unreadable.len(), repaired: false });
    }
    Ok(found)
}
