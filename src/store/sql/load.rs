//! What waits, as the database has it.

use super::{super::dialect, bulk::Conn, rows::Reader};
use crate::{
    model::ids::Tenant,
    store::{StoreError, load::Weight},
};

/// What waits of each tenant. A pass over the queue: for the start, and now and then where others write to it too.
pub(in super::super) async fn waiting(conn: &mut Conn) -> Result<Vec<(Tenant, Weight)>, StoreError> {
    let rows = sqlx::query(
        "SELECT tenant, COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM queue GROUP BY tenant",
    )
    .fetch_all(conn)
    .await
    .map_err(dialect::error)?;
    let mut waiting = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut row = Reader::new(row, 0);
        // A name that is none is found by the doctor; it keeps nobody from starting.
        let Ok(tenant) = row.tenant() else { continue };
        waiting.push((tenant, Weight { messages: row.get()?, bytes: row.get()? }));
    }
    Ok(waiting)
}
