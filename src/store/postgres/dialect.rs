//! What differs between databases.

use std::time::Duration;

use sqlx::{Connection as _, postgres::PgConnectOptions};

pub(super) use super::peers::Peers;
use super::sql::bulk::{Bulk, Conn};
use crate::store::{StoreError, find::Dialect};

pub(super) const DIALECT: Dialect = Dialect::Postgres;

/// For this transaction, whatever the server or a pooler says otherwise: it is acknowledged when it is on the disk, and a node that
/// falls silent in the middle of it does not keep its locks. The number of the transaction is taken first: `horizon` relies on it.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; \
     SET LOCAL idle_in_transaction_session_timeout = 8000; SET LOCAL lock_timeout = 8000; SELECT pg_current_xact_id()";

static LOCK_MESSAGES: Bulk =
    Bulk::among("SELECT id FROM message WHERE id IN (", 0, ") ORDER BY id FOR UPDATE");

/// In the order of the ids: two nodes do not lock crosswise.
pub(super) const LOCK: Option<&'static Bulk> = Some(&LOCK_MESSAGES);

/// Several nodes may be over the database.
pub(super) const SHARED: bool = true;

/// A transaction that takes longer has lost its connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What another node is about is skipped, not waited for.
pub(super) const CLAIM: &str = "SELECT q.message_id FROM queue q JOIN message m ON m.id = q.message_id \
     WHERE q.state = 0 AND q.channel = $1 AND q.lane = $2 AND q.tenant = $3 AND q.due_at <= $4 \
     ORDER BY q.due_at LIMIT $5 FOR UPDATE OF m SKIP LOCKED";

/// A parameter of a list.
pub(super) fn placeholder(number: usize) -> String {
    format!("${number}")
}

/// The protocol takes one statement with parameters at a time.
pub(super) const TOGETHER: bool = false;

/// What the database's own trouble means.
pub(super) fn error(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    match code.as_str() {
        "53100" => StoreError::Full,
        "XX001" | "XX002" => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// The way to the database.
pub(super) struct Link {
    options: PgConnectOptions,
}

impl Link {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options }
    }

    /// A new connection, or what stands in the way.
    pub(super) async fn reach(&self) -> Result<Conn, sqlx::Error> {
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        tokio::time::timeout(super::CONNECT, Conn::connect_with(&self.options)).await.map_err(late)?
    }

    /// A new connection in place of one that was lost.
    pub(super) async fn connect(&self) -> Result<Conn, StoreError> {
        let conn = self.reach().await.map_err(error)?;
        tracing::info!("connected to the database again");
        Ok(conn)
    }
}

/// Whether a connection can be used again after a failure: it answers, and no transaction is open on it.
pub(super) async fn recovered(conn: &mut Conn) -> bool {
    let rolled_back = sqlx::raw_sql("ROLLBACK").execute(conn);
    tokio::time::timeout(Duration::from_secs(2), rolled_back).await.is_ok_and(|done| done.is_ok())
}
