//! SQLite: one file, one process, one writer beside a few readers. WAL with synchronous FULL: what was answered is on the disk.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Connection as _, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{
        SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};

use super::{
    Schema,
    space::{Reserve, Space},
};

type Db = sqlx::Sqlite;

mod examine;
#[path = "sql/mod.rs"]
mod sql;

pub use examine::examine;

/// What differs between databases.
mod dialect {
    use crate::store::{StoreError, find::Dialect};

    pub(super) const DIALECT: Dialect = Dialect::Sqlite;
    /// Writes take the lock at once: a transaction that reads first could not get it later.
    pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
    /// There is one writer; nothing to lock.
    pub(super) const FOR_UPDATE_OF_MESSAGES: &str = ")";
    pub(super) const CLAIM: &str = "SELECT message_id FROM queue WHERE state = 0 AND channel = $1 AND lane = $2 AND \
         due_at <= $3 ORDER BY due_at LIMIT $4";

    /// A parameter of a long list. Without a number: SQLite looks up the name of a numbered one by going through all names, which
    /// makes binding a list quadratic.
    pub(super) fn placeholder(_number: usize) -> String {
        "?".to_owned()
    }

    /// Several statements may travel in one text, each with its own parameters.
    pub(super) const TOGETHER: bool = true;

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
            .pragma("wal_autocheckpoint", "4000")
            .pragma("temp_store", "memory")
            .with_regexp();
        let mut writer = SqliteConnection::connect_with(&options).await.map_err(database)?;
        not_newer(&mut writer, path).await?;
        migrator()
            .run_direct(None, &mut writer, false)
            .await
            .map_err(|error| OpenError::Database(path.to_owned(), error.to_string()))?;
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.pragma("cache_size", "-4096").read_only(true));
        Self::start(writer, pool, Box::new(lock))
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
    migrator().iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn migrator() -> Migrator {
    let migration = |version, name: &'static str, text: &'static str| {
        let text = sqlx::AssertSqlSafe(text).into_sql_str();
        Migration::new(version, name.into(), MigrationType::Simple, text, false)
    };
    Migrator::with_migrations(vec![
        migration(1, "init", include_str!("migrations/0001_init.sql")),
        migration(4, "guard", include_str!("migrations/0004_guard.sql")),
    ])
}
