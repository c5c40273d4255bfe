//! What commands ask of a store that no server has open.

use crate::{
    clock,
    config::Config,
    store::{self, Defect, Schema, sqlite::OpenError},
};

/// How far the tables of a configuration's store are, and how far this program wants them.
///
/// # Errors
/// When it cannot be read.
pub async fn schema(config: &Config) -> Result<Schema, OpenError> {
    store::sqlite::schema(&config.store.path()).await
}

/// What is wrong in a configuration's store; repaired with `repair`, as far as it can be. Nothing when there is no store yet.
///
/// # Errors
/// When another process has it, or it cannot be used.
pub async fn examine(config: &Config, repair: bool) -> Result<Vec<Defect>, OpenError> {
    let path = config.store.path();
    if !path.exists() {
        return Ok(Vec::new());
    }
    let now = clock::system()();
    store::sqlite::examine(&path, repair.then_some(now)).await
}
