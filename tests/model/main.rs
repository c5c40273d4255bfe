//! One specification, several databases: random traces are replayed on a model of plain maps and on every database, and must get the
//! same answers and leave the same state. A difference shrinks to a short trace.
//!
//! `PROPTEST_CASES=5000 cargo test --test model` tries more of them.

#![allow(clippy::unwrap_used)]

mod observe;
mod replay;
mod store;
mod trace;
mod world;

use std::sync::Arc;

use headlessly_communication::store::{
    Store,
    sqlite::{Sqlite, Synchronous},
};
use proptest::{
    prelude::ProptestConfig,
    test_runner::{TestCaseError, TestRunner},
};

/// Replays random traces on stores that `open` makes.
fn agrees<F, G>(open: F)
where
    F: Fn() -> G,
    G: Future<Output = (Arc<dyn Store>, tempfile::TempDir)>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&trace::trace(), |trace| {
        runtime.block_on(async {
            let (store, folder) = open().await;
            let mut pair = replay::Pair::new(store);
            let agreed = pair.replay(&trace).await;
            pair.store.close().await;
            drop(folder);
            agreed.map_err(TestCaseError::fail)
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn sqlite_does_what_the_model_says() {
    agrees(|| async {
        let folder = tempfile::tempdir().unwrap();
        // Nothing here cuts the power.
        let store = Sqlite::open(&folder.path().join("hly.db"), Synchronous::Normal).await.unwrap();
        (Arc::new(store) as Arc<dyn Store>, folder)
    });
}
