//! Receipts that came before the store knew what they are about.

use std::time::Duration;

use super::{super::dialect, after::After, bulk::Conn};
use crate::{
    model::Timestamp,
    store::{Change, StoreError},
};

/// Receipts that came before their message's provider id was known can be applied now.
pub(in super::super) async fn free(
    conn: &mut Conn,
    changes: &[&Change],
    after: &mut After,
) -> Result<(), StoreError> {
    let ids: Vec<(&str, &str)> = changes
        .iter()
        .filter_map(|change| change.attempt.as_ref())
        .filter_map(|attempt| Some((attempt.provider.as_str(), attempt.provider_message_id.as_deref()?)))
        .collect();
    if ids.is_empty() || !after.parked {
        return Ok(());
    }
    let parked: Option<i64> = sqlx::query_scalar("SELECT id FROM receipt WHERE state = 2 LIMIT 1")
        .fetch_optional(&mut *conn)
        .await
        .map_err(dialect::error)?;
    after.parked = parked.is_some();
    if parked.is_none() {
        return Ok(());
    }
    for (provider, id) in ids {
        let freed = sqlx::query(
            "UPDATE receipt SET state = 0 WHERE state = 2 AND provider = $1 AND provider_message_id = $2",
        )
        .bind(provider.to_owned())
        .bind(id.to_owned())
        .execute(&mut *conn)
        .await
        .map_err(dialect::error)?;
        after.receipts |= freed.rows_affected() > 0;
    }
    Ok(())
}

/// How long a receipt waits for its message.
const PARKED: Duration = Duration::from_secs(72 * 3600);

/// Looks again for the messages of parked receipts: a report and the answer that names its message may be written by two nodes
/// that do not see each other. What waited too long is of no effect.
pub(in super::super) async fn look_again(
    conn: &mut Conn,
    now: Timestamp,
    after: &mut After,
) -> Result<(), StoreError> {
    if !after.parked {
        return Ok(());
    }
    let found = sqlx::query(
        "UPDATE receipt SET state = 0 WHERE state = 2 AND EXISTS (SELECT 1 FROM attempt WHERE \
         attempt.provider = receipt.provider AND attempt.provider_message_id = receipt.provider_message_id)",
    )
    .execute(&mut *conn)
    .await
    .map_err(dialect::error)?;
    after.receipts |= found.rows_affected() > 0;
    sqlx::query("UPDATE receipt SET state = 3 WHERE state = 2 AND received_at < $1")
        .bind(now.minus(PARKED).0)
        .execute(conn)
        .await
        .map(drop)
        .map_err(dialect::error)
}
