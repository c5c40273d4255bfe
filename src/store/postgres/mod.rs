//! PostgreSQL: one database, as many nodes over it as there is need for. Each node writes in groups through one connection, reads
//! through a few, and tells the others at most every 50 ms that something happened; whoever hears nothing looks by himself.
//!
//! What is ours is held by leases that the clock of the database judges. A message's row guards its place in the queue: whoever
//! changes either holds the lock of that row.

mod clock;
mod dialect;
mod examine;
mod horizon;
mod nodes;
mod peers;

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};

pub use examine::{examine, schema as tables};

use super::{StoreError, schema};

type Db = sqlx::Postgres;

#[allow(clippy::duplicate_mod, reason = "one set of queries, compiled once for each database")]
#[path = "../sql/mod.rs"]
mod sql;

/// A store in a PostgreSQL database.
pub type Postgres = sql::facade::SqlStore;

/// Why the database cannot be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is none of PostgreSQL.
    #[error("store.url is not a URL of PostgreSQL: {0}")]
    Url(String),
    /// Nobody answers, or not to us.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// It would not keep what it acknowledges, or cannot hold our texts.
    #[error("the database is not fit to be a store: {0}")]
    Unfit(String),
    /// Its tables are of a later version, or cannot be brought up to date.
    #[error("the tables cannot be used: {0}")]
    Schema(String),
    /// Its tables are of a newer program: has, wants.
    #[error(
        "the database was made by a newer hly (its tables are at {0}, this one knows {1}); start that one"
    )]
    Newer(i64, i64),
    /// Nodes are over it.
    #[error("nodes are over the database; stop them first")]
    Busy,
}

/// How the database is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections for reading, beside the one that writes. 1 to 100.
    pub readers: u32,
    /// A pooler that gives out a connection for one transaction stands in between: nothing is prepared, nobody listens.
    pub pooler: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { readers: 6, pooler: false }
    }
}

/// A connection that does not come in this time does not come.
const CONNECT: Duration = Duration::from_secs(5);

impl Postgres {
    /// Connects, brings the tables up to date and takes a number for this node.
    ///
    /// # Errors
    /// When the database cannot be reached, does not keep what it acknowledges (`fsync = off`), does not hold UTF-8, or is of a
    /// later version.
    pub async fn open(url: &str, settings: Settings) -> Result<Self, OpenError> {
        let options = options(url, &settings)?;
        let link = dialect::Link::new(options.clone(), settings.pooler);
        let mut writer = link.reach().await.map_err(unreachable)?;
        sqlx::raw_sql("BEGIN").execute(&mut writer).await.map_err(unreachable)?;
        fit(&mut writer).await?;
        let has = examine::version(&mut writer).await.map_err(unreachable)?;
        if has > schema::newest() {
            return Err(OpenError::Newer(has, schema::newest()));
        }
        sqlx::raw_sql(link.ending()).execute(&mut writer).await.map_err(unreachable)?;
        migrate(&mut writer, settings.pooler).await?;
        let readers = PgPoolOptions::new()
            .max_connections(settings.readers.clamp(1, 100))
            .acquire_timeout(CONNECT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // One that has lain idle may have been cut off meanwhile.
            .before_acquire(|conn, meta| {
                Box::pin(async move {
                    if meta.idle_for < Duration::from_secs(2) {
                        return Ok(true);
                    }
                    Ok(tokio::time::timeout(Duration::from_secs(2), conn.ping())
                        .await
                        .is_ok_and(|ping| ping.is_ok()))
                })
            })
            .connect_lazy_with(options.clone());
        let store = |error: StoreError| OpenError::Unreachable(error.to_string());
        let peers = peers::Peers::join(&mut writer, options, settings.pooler).await.map_err(store)?;
        Self::start((link, writer), readers, peers, Box::new(())).await.map_err(store)
    }
}

fn options(url: &str, settings: &Settings) -> Result<PgConnectOptions, OpenError> {
    // The error would quote the URL, and there may be a password in it.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| OpenError::Url("write postgres://user@host/database".to_owned()))?
        .application_name("hly")
        .disable_statement_logging();
    Ok(if settings.pooler {
        options.statement_cache_capacity(0)
    } else {
        options.statement_cache_capacity(512)
    })
}

fn unreachable(error: impl std::fmt::Display) -> OpenError {
    OpenError::Unreachable(error.to_string())
}

/// What was acknowledged must survive the power: no setting of the server may take that back.
async fn fit(conn: &mut PgConnection) -> Result<(), OpenError> {
    let (version, fsync, pages, encoding, standby): (i32, String, String, String, bool) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('server_encoding'), pg_is_in_recovery()",
    )
    .fetch_one(conn)
    .await
    .map_err(unreachable)?;
    let unfit = |problem: &str| Err(OpenError::Unfit(problem.to_owned()));
    if version < 130_000 {
        return unfit("PostgreSQL 13 or later is needed");
    }
    if fsync != "on" {
        return unfit("fsync is off: what it acknowledges would not survive a crash; turn it on");
    }
    if pages != "on" {
        return unfit("full_page_writes is off: a crash may tear its pages; turn it on");
    }
    if encoding != "UTF8" {
        return unfit("its encoding is not UTF8; create the database with ENCODING 'UTF8'");
    }
    if standby {
        return unfit("it is a standby and cannot be written; name the primary in store.url");
    }
    Ok(())
}

async fn migrate(conn: &mut PgConnection, pooler: bool) -> Result<(), OpenError> {
    let schema = |error: &dyn std::fmt::Display| OpenError::Schema(error.to_string());
    // The lock is that of a transaction: it works through a pooler, and goes with a node that is killed.
    let mut together = conn.begin().await.map_err(unreachable)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *together)
        .await
        .map_err(|error| schema(&error))?;
    let mut migrator = schema::postgres();
    migrator.set_locking(false);
    migrator.run_direct(None, &mut *together, false).await.map_err(|error| schema(&error))?;
    if pooler {
        sqlx::raw_sql("DEALLOCATE ALL").execute(&mut *together).await.map_err(unreachable)?;
    }
    together.commit().await.map_err(|error| schema(&error))
}

/// Held while the tables are brought up to date; a number of our own choice.
const MIGRATION_LOCK: i64 = 0x686c_795f_6d69_6772;
