//! Places in the queue that cannot be read. They are set aside with the reason, so that those behind them are served; nothing of the
//! message itself is touched.

use super::{super::dialect, after::After, bulk::Conn};
use crate::{
    model::{
        Timestamp,
        ids::{MessageId, Tenant},
    },
    store::{StoreError, load::Weight},
};

const KEEP: &str = "INSERT INTO quarantine (message_id, reason, tenant, channel, lane, state, due_at, epoch, tries, ambiguous, \
     expires_at, bytes, quarantined_at) \
     SELECT message_id, $1, CAST(tenant AS TEXT), CAST(channel AS TEXT), CAST(lane AS TEXT), CAST(state AS TEXT), \
     CAST(due_at AS TEXT), CAST(epoch AS TEXT), CAST(tries AS TEXT), CAST(ambiguous AS TEXT), CAST(expires_at AS TEXT), \
     CAST(bytes AS TEXT), $2 FROM queue WHERE message_id = $3 ON CONFLICT (message_id) DO NOTHING";

/// Sets places aside.
pub(in super::super) async fn set_aside(
    conn: &mut Conn,
    places: &[(MessageId, String)],
    now: Timestamp,
    after: &mut After,
) -> Result<(), StoreError> {
    for (id, reason) in places {
        tracing::error!(message = %id, reason, "a message's place in the queue is set aside: see hly doctor");
        let weight: Option<(String, i64)> = sqlx::query_as(
            "SELECT CAST(tenant AS TEXT), CAST(bytes AS BIGINT) FROM queue WHERE message_id = $1",
        )
        .bind(id.0)
        .fetch_optional(&mut *conn)
        .await
        .map_err(dialect::error)?;
        sqlx::query(KEEP)
            .bind(reason.clone())
            .bind(now.0)
            .bind(id.0)
            .execute(&mut *conn)
            .await
            .map_err(dialect::error)?;
        let gone = sqlx::query("DELETE FROM queue WHERE message_id = $1")
            .bind(id.0)
            .execute(&mut *conn)
            .await
            .map_err(dialect::error)?;
        after.quarantined += gone.rows_affected();
        if let Some((tenant, bytes)) = weight.and_then(|(name, bytes)| Some((Tenant::new(&name)?, bytes))) {
            let load = after.load.entry(tenant).or_default();
            *load = load.minus(Weight { messages: 1, bytes });
        }
    }
    Ok(())
}
