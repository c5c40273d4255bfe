//! `hly config`

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use clap::Subcommand;
use headlessly_providers::{
    contract::{BuildContext, ChannelProvider, ConfigError, Receipt, ReceiptSink, SinkClosed},
    registry,
};

use super::{Context, Exit, Failure, output::clean};
use crate::config::{self, Config, DEFAULTS, Loaded, ProviderConfig};

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Check hly.toml and the HLY_ variables, and build every provider; contacts nobody
    Check,
    /// Print every key with its default and what it means
    ShowDefaults,
}

pub(super) fn run(context: &mut Context, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::ShowDefaults => context.output.line(DEFAULTS.trim_end()),
        ConfigCommand::Check => {
            let loaded = load(context.config.as_deref())?;
            let problems: Vec<_> =
                built(&loaded.config).into_iter().filter_map(|(_, built)| built.err()).collect();
            if !problems.is_empty() {
                let mut failure = Failure::new(Exit::Config, "a provider cannot be built");
                failure.lines.extend(problems);
                return Err(failure);
            }
            for warning in &loaded.warnings {
                super::note(&format!("warning: {warning}"));
            }
            let file = loaded
                .file
                .map_or("the defaults (no hly.toml here)".to_owned(), |file| clean(&file.to_string_lossy()));
            context.output.line(&format!("ok: {file}"))
        }
    }
}

/// The configuration of this machine, from the file and the variables.
pub(super) fn load(path: Option<&Path>) -> Result<Loaded, Failure> {
    let env: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with("HLY_"))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect();
    Ok(config::load(path, &env)?)
}

/// A provider, or the sentence that says why it cannot be built.
pub(super) type Built = Result<Arc<dyn ChannelProvider>, String>;

/// Every configured provider, built, or the sentence that says why it cannot be.
pub(super) fn built(config: &Config) -> Vec<(&ProviderConfig, Built)> {
    config.providers.iter().map(|provider| (provider, build(provider))).collect()
}

fn build(provider: &ProviderConfig) -> Built {
    let plugin = registry::find(&provider.kind)
        .ok_or_else(|| format!("provider {}: this build has no kind {}", provider.name, provider.kind))?;
    let context = BuildContext { name: provider.name.clone(), receipts: Arc::new(NoReceipts) };
    (plugin.build)(&provider.settings, context).map_err(|error| tell(&provider.name, &error))
}

fn tell(name: &str, error: &ConfigError) -> String {
    let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("provider {name}: {error}{hint}")
}

/// Providers that are built to be looked at report to nobody.
struct NoReceipts;

#[async_trait]
impl ReceiptSink for NoReceipts {
    async fn push(&self, _receipts: Vec<Receipt>) -> Result<(), SinkClosed> {
        Err(SinkClosed)
    }
}
