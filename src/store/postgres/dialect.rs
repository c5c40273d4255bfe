//! What differs between databases.

use std::{borrow::Cow, time::Duration};

use sqlx::{
    Arguments as _, Connection as _,
    postgres::{PgArguments, PgConnectOptions},
};

pub(super) use super::peers::Peers;
use super::sql::{
    bulk::{Bulk, Conn},
    value::{Text, Value},
};
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

/// Rows travel as an array for each column.
pub(super) const ARRAYS: bool = true;

/// Values by column, after those that come once.
pub(super) struct Cells {
    fixed: usize,
    first: Vec<Value>,
    columns: Vec<Column>,
    width: usize,
    next: usize,
}

/// The values of a column; its type is that of the first.
enum Column {
    Small(Vec<Option<i16>>),
    Middle(Vec<Option<i32>>),
    Big(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Cells {
    pub(super) fn new(fixed: usize, width: usize) -> Self {
        Self { fixed, first: Vec::new(), columns: Vec::with_capacity(width), width, next: 0 }
    }

    pub(super) fn put(&mut self, value: Value) -> Result<(), Cow<'static, str>> {
        if self.first.len() < self.fixed {
            self.first.push(value);
            return Ok(());
        }
        let column = self.next;
        self.next = (self.next + 1) % self.width;
        let Some(column) = self.columns.get_mut(column) else {
            self.columns.push(Column::of(value));
            return Ok(());
        };
        column.put(value)
    }

    pub(super) fn list(self) -> Result<PgArguments, StoreError> {
        let mut list = PgArguments::default();
        let first = self.first.into_iter().map(|value| match value {
            Value::Small(value) => list.add(value),
            Value::Middle(value) => list.add(value),
            Value::Big(value) => list.add(value),
            Value::Text(value) => list.add(value.map(string)),
            Value::Bytes(value) => list.add(value),
        });
        let first: Result<(), _> = first.collect();
        let rest = self.columns.into_iter().map(|column| match column {
            Column::Small(values) => list.add(values),
            Column::Middle(values) => list.add(values),
            Column::Big(values) => list.add(values),
            Column::Text(values) => list.add(values),
            Column::Bytes(values) => list.add(values),
        });
        let rest: Result<(), _> = rest.collect();
        first.and(rest).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(list)
    }
}

/// A text of its own: an array holds its texts.
fn string(text: Text) -> String {
    match text {
        Text::Owned(text) => text,
        Text::Shared(text) => text.to_string(),
        Text::Static(text) => text.to_owned(),
    }
}

impl Column {
    fn of(value: Value) -> Self {
        match value {
            Value::Small(value) => Self::Small(vec![value]),
            Value::Middle(value) => Self::Middle(vec![value]),
            Value::Big(value) => Self::Big(vec![value]),
            Value::Text(value) => Self::Text(vec![value.map(string)]),
            Value::Bytes(value) => Self::Bytes(vec![value]),
        }
    }

    fn put(&mut self, value: Value) -> Result<(), Cow<'static, str>> {
        match (self, value) {
            (Self::Small(values), Value::Small(value)) => values.push(value),
            (Self::Middle(values), Value::Middle(value)) => values.push(value),
            (Self::Big(values), Value::Big(value)) => values.push(value),
            (Self::Text(values), Value::Text(value)) => values.push(value.map(string)),
            (Self::Bytes(values), Value::Bytes(value)) => values.push(value),
            _ => return Err("the values of a column are of different types".into()),
        }
        Ok(())
    }
}

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

/// How a transaction ends. Behind a pooler the next one may have another connection of the server, and what was prepared on this one
/// would be in the way of others: their statements have the same names.
pub(super) const fn ending(pooler: bool) -> &'static str {
    if pooler { "COMMIT; DEALLOCATE ALL" } else { "COMMIT" }
}

/// The way to the database.
pub(super) struct Link {
    options: PgConnectOptions,
    pooler: bool,
}

impl Link {
    pub(super) fn new(options: PgConnectOptions, pooler: bool) -> Self {
        Self { options, pooler }
    }

    /// How a transaction ends.
    pub(super) const fn ending(&self) -> &'static str {
        ending(self.pooler)
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

/// What is to be done between transactions: the server does it.
pub(super) async fn tend(_conn: &mut Conn, _transactions: u32) -> Result<(), StoreError> {
    Ok(())
}

/// Whether a connection can be used again after a failure: it answers, and no transaction is open on it.
pub(super) async fn recovered(conn: &mut Conn, ended: &'static str) -> bool {
    let text = if ended == ending(true) { "ROLLBACK; DEALLOCATE ALL" } else { "ROLLBACK" };
    let rolled_back = sqlx::raw_sql(text).execute(conn);
    tokio::time::timeout(Duration::from_secs(2), rolled_back).await.is_ok_and(|done| done.is_ok())
}
