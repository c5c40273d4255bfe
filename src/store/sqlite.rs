//! SQLite: one file, one process, one writer beside a few readers. WAL with synchronous FULL: what was answered is on the disk.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Connection as _,
    sqlite::{
        SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};

use super::{
    Schema, schema as steps,
    space::{Reserve, Space},
};

type Db = sqlx::Sqlite;

mod examine;
#[allow(clippy::duplicate_mod, reason = "one set of queries, compiled once for each database")]
#[path = "sql/mod.rs"]
mod sql;

pub use examine::examine;

/// What differs between databases.
mod dialect {
    use std::{borrow::Cow, sync::Arc, time::Duration};

    use sqlx::{Arguments as _, sqlite::SqliteArguments};
    use tokio::sync::watch;

    use super::sql::{
        bulk::{Bulk, Conn},
        facade::Pool,
        signals::Signals,
        value::{Text, Value},
    };
    use crate::{
        clock::{self, Clock},
        store::{StoreError, find::Dialect},
    };

    pub(super) const DIALECT: Dialect = Dialect::Sqlite;
    /// Writes take the lock at once: a transaction that reads first could not get it later.
    pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
    /// There is one writer; nothing to lock.
    pub(super) const LOCK: Option<&'static Bulk> = None;
    /// One process has the file: whatever it finds claimed at its start was claimed by one that is gone.
    pub(super) const SHARED: bool = false;
    /// The disk takes the time it takes.
    pub(super) const PATIENCE: Duration = Duration::from_secs(3_600);
    pub(super) const CLAIM: &str = "SELECT message_id FROM queue WHERE state = 0 AND channel = $1 AND lane = $2 AND \
         tenant = $3 AND due_at <= $4 ORDER BY due_at LIMIT $5";

    /// A parameter of a long list. Without a number: SQLite looks up the name of a numbered one by going through all names, which
    /// makes binding a list quadratic.
    pub(super) fn placeholder(_number: usize) -> String {
        "?".to_owned()
    }

    /// Several statements may travel in one text, each with its own parameters.
    pub(super) const TOGETHER: bool = true;

    /// Rows travel as lists of values.
    pub(super) const ARRAYS: bool = false;

    /// Values in the order of their parameters.
    pub(super) struct Cells(SqliteArguments);

    impl Cells {
        pub(super) fn new(_fixed: usize, _columns: usize) -> Self {
            Self(SqliteArguments::default())
        }

        pub(super) fn put(&mut self, value: Value) -> Result<(), Cow<'static, str>> {
            let list = &mut self.0;
            match value {
                Value::Small(value) => list.add(value),
                Value::Middle(value) => list.add(value),
                Value::Big(value) => list.add(value),
                Value::Text(None) => list.add(None::<String>),
                Value::Text(Some(Text::Owned(text))) => list.add(text),
                Value::Text(Some(Text::Shared(text))) => list.add(text),
                Value::Text(Some(Text::Static(text))) => list.add(text),
                Value::Bytes(value) => list.add(value),
            }
            .map_err(|error| error.to_string().into())
        }

        pub(super) fn list(self) -> Result<SqliteArguments, StoreError> {
            Ok(self.0)
        }
    }

    /// What the database's own trouble means.
    pub(super) fn error(error: sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        // The primary result code is in the low byte. SQLITE_FULL is 13, SQLITE_CORRUPT 11, SQLITE_NOTADB 26.
        let code = code.parse::<u32>().unwrap_or_default();
        match (code, code & 0xff) {
            // SQLITE_IOERR_WRITE, _FSYNC, _DIR_FSYNC, _TRUNCATE (https://sqlite.org/rescode.html).
            (778 | 1034 | 1290 | 1546, _) => StoreError::Broken(error.to_string()),
            (_, 13) => StoreError::Full,
            (_, 11 | 26) => StoreError::Corrupt(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        }
    }

    /// The way to the database. It is in this process and does not break.
    pub(super) struct Link;

    impl Link {
        /// How a transaction ends.
        pub(super) const fn ending(&self) -> &'static str {
            "COMMIT"
        }

        pub(super) async fn connect(&self) -> Result<Conn, StoreError> {
            Err(StoreError::Unavailable("the file has been closed".to_owned()))
        }
    }

    /// How a transaction ends.
    pub(super) const fn ending(_pooler: bool) -> &'static str {
        "COMMIT"
    }

    /// Whether a connection can be used again after a failure.
    pub(super) async fn recovered(conn: &mut Conn, _ended: &'static str) -> bool {
        // It fails only when nothing was begun, or when the database has undone it itself.
        sqlx::query("ROLLBACK").execute(conn).await.ok();
        true
    }

    /// Transactions between two looks at the length of the log.
    const LOOK: u32 = 16;
    /// Pages of the log (4 KiB each) that are too many: 16 MiB.
    const LONG: i64 = 4_000;

    /// What is to be done between transactions: brings what the log (WAL) holds into the database when there is much of it.
    ///
    /// # Errors
    /// When the disk does not keep it.
    pub(super) async fn tend(conn: &mut Conn, transactions: u32) -> Result<(), StoreError> {
        if !transactions.is_multiple_of(LOOK) {
            return Ok(());
        }
        // https://sqlite.org/pragma.html#pragma_wal_checkpoint: busy, pages in the log, pages brought over.
        let look = "PRAGMA wal_checkpoint(NOOP)";
        let (_, pages, done): (i64, i64, i64) =
            sqlx::query_as(look).fetch_one(&mut *conn).await.map_err(error)?;
        if pages - done > LONG {
            sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(conn).await.map_err(error)?;
        }
        Ok(())
    }

    /// The other processes over the database: none.
    pub(super) struct Peers;

    impl Peers {
        pub(super) fn start(&self, _pool: &Pool, _signals: &Arc<Signals>) {}

        pub(super) fn clock(&self) -> Clock {
            clock::system()
        }

        pub(super) const fn node(&self) -> u16 {
            0
        }

        /// Whether statements outside of a transaction may go to several connections.
        pub(super) const fn pooler(&self) -> bool {
            false
        }

        pub(super) const fn nodes(&self) -> usize {
            1
        }

        pub(super) fn commits(&self, signals: &Signals) -> watch::Receiver<u64> {
            signals.log.subscribe()
        }

        /// The place in the log before which nothing can appear any more: the one writer writes it in order.
        pub(super) async fn settled(&self) -> Result<i64, StoreError> {
            Ok(i64::MAX)
        }

        pub(super) async fn stop(&self, _pool: &Pool) {}
    }
}

/// How safe a commit is against a power cut. Against the end of the process every mode is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// On the disk before it is answered.
    #[default]
    Full,
    /// The last commits may be lost with the power. Faster on slow disks.
    Normal,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another hly process; stop that one, or give this one another store.url")]
    Locked(PathBuf),
    /// The file or its folder cannot be used.
    #[error("{0} cannot be opened: {1}")]
    Io(PathBuf, std::io::Error),
    /// The database in it cannot be used.
    #[error("{0} cannot be used as a store: {1}")]
    Database(PathBuf, String),
    /// A newer version of this program has been at it.
    #[error(
        "{0} has tables of version {1}, and this program knows them up to {2}; use the newer program again, or restore a backup"
    )]
    Newer(PathBuf, i64, i64),
}

/// The readers beside the writer.
const READERS: u32 = 3;

/// A store in one SQLite file.
pub type Sqlite = sql::facade::SqlStore;

impl Sqlite {
    /// Opens the file, makes it if it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// When another process has it, when it is no store, or when the disk says no. The file is then as before.
    pub async fn open(path: &Path, synchronous: Synchronous) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let database = |error: sqlx::Error| OpenError::Database(path.to_owned(), error.to_string());
        let options = SqliteConnectOptions::from_str("sqlite://")
            .map_err(database)?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(512)
            .pragma("cache_size", "-16384")
            // The writer does it: SQLite itself says nothing when the disk does not keep what a checkpoint wrote.
            .pragma("wal_autocheckpoint", "0")
            .pragma("temp_store", "memory")
            .with_regexp();
        let mut writer = SqliteConnection::connect_with(&options).await.map_err(database)?;
        not_newer(&mut writer, path).await?;
        steps::sqlite()
            .run_direct(None, &mut writer, false)
            .await
            .map_err(|error| OpenError::Database(path.to_owned(), error.to_string()))?;
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.pragma("cache_size", "-4096").read_only(true));
        Self::start((dialect::Link, writer), pool, dialect::Peers, Box::new(lock))
            .await
            .map_err(|error| OpenError::Database(path.to_owned(), error.to_string()))
    }

    /// Keeps so much of the disk under its file free: new work is refused below it, what has begun goes on.
    #[must_use]
    pub fn keep_free(self, path: &Path, reserve: Reserve) -> Self {
        self.on(Arc::new(Space::of(path, reserve)))
    }
}

/// One process at a time: the lock lies beside the file and goes with the process.
fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |error| OpenError::Io(path.to_owned(), error);
    if path.is_dir() {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(PathBuf::from(name)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// How far the tables in a file are. Changes nothing; a file that is not there has none.
///
/// # Errors
/// When it is no database.
pub async fn schema(path: &Path) -> Result<Schema, OpenError> {
    if !path.exists() {
        return Ok(Schema { has: 0, wants: newest() });
    }
    let database = |error: sqlx::Error| OpenError::Database(path.to_owned(), error.to_string());
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut conn = SqliteConnection::connect_with(&options).await.map_err(database)?;
    let has = version(&mut conn).await.map_err(database)?;
    conn.close().await.map_err(database)?;
    Ok(Schema { has, wants: newest() })
}

/// Refuses tables that a newer program made: what they mean is not known here.
async fn not_newer(conn: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let has = version(conn).await.map_err(|error| OpenError::Database(path.to_owned(), error.to_string()))?;
    if has > newest() { Err(OpenError::Newer(path.to_owned(), has, newest())) } else { Ok(()) }
}

async fn version(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let migrated: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *conn)
            .await?;
    if migrated == 0 {
        return Ok(0);
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success").fetch_one(conn).await?;
    Ok(version.unwrap_or(0))
}

fn newest() -> i64 {
    steps::newest()
}
