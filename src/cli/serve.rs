//! `hly serve`

use super::{Context, Exit, Failure, Host, config};
use crate::telemetry;

/// Reads the configuration, starts logging, and runs the server that it is given.
pub(super) async fn run(context: Context, host: &dyn Host) -> Result<(), Failure> {
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
    host.serve(loaded.config).await
}
