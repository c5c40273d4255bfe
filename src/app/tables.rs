//! What commands ask of a store that no server has open.

use crate::{
    clock,
    config::Config,
    store::{self, Defect, Schema},
};

use super::StartError;

/// How far the tables of a configuration's store are, and how far this program wants them.
///
/// # Errors
/// When it cannot be read.
pub async fn schema(config: &Config) -> Result<Schema, StartError> {
    Ok(match config.store.path() {
        Some(path) => store::sqlite::schema(&path).await?,
        None => store::postgres::tables(&config.store.url).await?,
    })
}

/// What is wrong in a configuration's store; repaired with `repair`, as far as it can be. Nothing when there is no store yet.
///
/// # Errors
/// When another process has it, or it cannot be used.
pub async fn examine(config: &Config, repair: bool) -> Result<Vec<Defect>, StartError> {
    let now = repair.then(|| clock::system()());
    Ok(match config.store.path() {
        Some(path) if !path.exists() => Vec::new(),
        Some(path) => store::sqlite::examine(&path, now).await?,
        None => store::postgres::examine(&config.store.url, now).await?,
    })
}
