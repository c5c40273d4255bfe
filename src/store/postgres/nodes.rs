//! The nodes over a database: each has a number that is part of the ids that it makes, and says now and then that it is there.

use std::time::Duration;

use sqlx::PgConnection;

use crate::{
    model::{Timestamp, ids::MAX_NODES},
    store::StoreError,
};

use super::dialect;

/// A node that was silent for so long is not counted any more.
const COUNTED: Duration = Duration::from_secs(20);
/// A number is given to another node only after its last one was silent for so long.
const KEPT: Duration = Duration::from_secs(600);
/// Held while a number is taken; a number of our own choice.
const LOCK: i64 = 0x686c_795f_6e6f_6465;

/// This node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Its number.
    pub(super) id: i16,
    token: i64,
}

/// Takes the number that was free for the longest time.
pub(super) async fn join(conn: &mut PgConnection, now: Timestamp, pooler: bool) -> Result<Node, StoreError> {
    let mut token = [0u8; 8];
    aws_lc_rs::rand::fill(&mut token).map_err(|_| StoreError::Unavailable("no random numbers".to_owned()))?;
    let token = i64::from_le_bytes(token);
    sqlx::raw_sql("BEGIN").execute(&mut *conn).await.map_err(dialect::error)?;
    let taken = take(conn, token, now).await;
    let end = if taken.is_ok() { dialect::ending(pooler) } else { "ROLLBACK" };
    sqlx::raw_sql(end).execute(conn).await.map_err(dialect::error)?;
    Ok(Node { id: taken?, token })
}

async fn take(conn: &mut PgConnection, token: i64, now: Timestamp) -> Result<i16, StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *conn)
        .await
        .map_err(dialect::error)?;
    // A number that nobody had yet before one that somebody had.
    let id: Option<i16> = sqlx::query_scalar(
        "SELECT n::smallint FROM generate_series(0, $1) n LEFT JOIN node ON node.id = n \
         WHERE node.id IS NULL OR node.seen_at < $2 ORDER BY node.seen_at NULLS FIRST, n LIMIT 1",
    )
    .bind(i32::from(MAX_NODES) - 1)
    .bind(now.minus(KEPT).0)
    .fetch_optional(&mut *conn)
    .await
    .map_err(dialect::error)?;
    let id = id.ok_or_else(|| {
        StoreError::Unavailable(format!(
            "{MAX_NODES} nodes have been over the database in the last 10 minutes"
        ))
    })?;
    sqlx::query(
        "INSERT INTO node (id, token, name, started_at, seen_at) VALUES ($1, $2, $3, $4, $4) ON CONFLICT (id) DO UPDATE \
         SET token = excluded.token, name = excluded.name, started_at = excluded.started_at, seen_at = excluded.seen_at",
    )
    .bind(id)
    .bind(token)
    .bind(format!("pid-{}", std::process::id()))
    .bind(now.0)
    .execute(conn)
    .await
    .map_err(dialect::error)?;
    Ok(id)
}

impl Node {
    /// Says that this node is there, and counts those that are. `None` when another one has its number.
    pub(super) async fn renew(
        self,
        conn: &mut PgConnection,
        now: Timestamp,
    ) -> Result<Option<usize>, StoreError> {
        let renewed = sqlx::query("UPDATE node SET seen_at = $1 WHERE id = $2 AND token = $3")
            .bind(now.0)
            .bind(self.id)
            .bind(self.token)
            .execute(&mut *conn)
            .await
            .map_err(dialect::error)?;
        if renewed.rows_affected() == 0 {
            return Ok(None);
        }
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM node WHERE seen_at > $1")
            .bind(now.minus(COUNTED).0)
            .fetch_one(conn)
            .await
            .map_err(dialect::error)?;
        Ok(Some(usize::try_from(count).unwrap_or(1).max(1)))
    }

    /// Is not counted any more from now on. The number stays its own for a while: ids of it may still be under way.
    pub(super) async fn leave(self, conn: &mut PgConnection, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE node SET seen_at = $1 WHERE id = $2 AND token = $3")
            .bind(now.minus(COUNTED).0)
            .bind(self.id)
            .bind(self.token)
            .execute(conn)
            .await
            .map(drop)
            .map_err(dialect::error)
    }
}
