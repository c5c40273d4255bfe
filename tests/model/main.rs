//! One specification, several databases: random traces are replayed on a model of plain maps and on every database, and must get the
//! same answers and leave the same state. A difference shrinks to a short trace.
//!
//! `PROPTEST_CASES=5000 cargo test --test model` tries more of them.

#![allow(clippy::unwrap_used)]

mod observe;
#[path = "../support/postgres.rs"]
mod postgres;
mod replay;
mod store;
mod trace;
mod world;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use headlessly_communication::store::{
    Store,
    postgres::{Postgres, Settings},
    sqlite::{Sqlite, Synchronous},
};
use proptest::{
    prelude::ProptestConfig,
    test_runner::{TestCaseError, TestRunner},
};
use sqlx::Connection as _;

/// Traces of an ordinary test run.
const CASES: u32 = 64;

/// Replays random traces on stores that `open` makes; `alone` when no other node may be over them.
fn agrees<F, G>(alone: bool, open: F)
where
    F: Fn() -> G,
    G: Future<Output = Arc<dyn Store>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = ProptestConfig::default();
    let cases = if asked.cases == 256 { CASES } else { asked.cases };
    let config = ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4_000, ..asked };
    let result = TestRunner::new(config).run(&trace::trace(), |trace| {
        runtime.block_on(async {
            let mut pair = replay::Pair::new(open().await, alone);
            let agreed = pair.replay(&trace).await;
            pair.store.close().await;
            agreed.map_err(TestCaseError::fail)
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn sqlite_does_what_the_model_says() {
    let folder = tempfile::tempdir().unwrap();
    let number = AtomicUsize::new(0);
    agrees(true, || async {
        let file = format!("{}.db", number.fetch_add(1, Ordering::Relaxed));
        // Nothing here cuts the power.
        let store = Sqlite::open(&folder.path().join(file), Synchronous::Normal).await.unwrap();
        Arc::new(store) as Arc<dyn Store>
    });
}

/// Empties all tables but those of the store itself.
const EMPTY: &str = "DO $$ DECLARE name TEXT; BEGIN \
     FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' \
     AND tablename NOT IN ('meta', 'node', '_sqlx_migrations') \
     LOOP EXECUTE 'TRUNCATE ' || quote_ident(name) || ' RESTART IDENTITY'; END LOOP; END $$";

/// One database for all traces: to make one takes longer than to replay a trace.
#[test]
fn postgresql_does_what_the_model_says() {
    let Some(database) = postgres::Database::new_now() else { return };
    agrees(false, || async {
        let mut admin = sqlx::PgConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql(EMPTY).execute(&mut admin).await.unwrap();
        let store = Postgres::open(&database.url, Settings::default()).await.unwrap();
        Arc::new(store) as Arc<dyn Store>
    });
}
