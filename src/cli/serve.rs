//! `hly serve`

use std::future::Future;

use super::{Context, Exit, Failure, config};
use crate::{config::Config, telemetry};

/// Reads the configuration, starts logging, and runs the server that it is given.
pub(super) async fn run<S, F>(context: Context, serve: S) -> Result<(), Failure>
where
    S: FnOnce(Config) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let loaded = config::load(context.config.as_deref())?;
    // The server holds standard output no longer than a command would.
    drop(context);
    telemetry::init(&loaded.config.log).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    match &loaded.file {
        Some(file) => tracing::info!(file = %file.display(), "configuration read"),
        None => tracing::info!("no hly.toml here: running with the defaults"),
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    serve(loaded.config).await
}
