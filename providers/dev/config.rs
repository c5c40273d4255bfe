//! The settings of the simulator.

use std::{path::PathBuf, time::Duration};

use aws_lc_rs::hmac;
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::{
    contract::{ConfigError, Secret, Settings},
    shared::duration::duration,
};

/// The keys, for hints.
pub(super) const KEYS: &[&str] = &["keep", "dir", "delivery_delay", "webhook_secret"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    keep: Option<usize>,
    dir: Option<PathBuf>,
    delivery_delay: Option<String>,
    webhook_secret: Option<Secret>,
}

/// The settings, checked.
pub(super) struct Config {
    pub(super) keep: usize,
    pub(super) dir: Option<PathBuf>,
    pub(super) delivery_delay: Duration,
    pub(super) webhook_key: Option<hmac::Key>,
}

impl Config {
    /// Reads and checks the settings.
    ///
    /// # Errors
    /// Names the key that is wrong.
    pub(super) fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let written: Written = settings.parse(KEYS)?;
        let keep = written.keep.unwrap_or(1000);
        if keep > 100_000 {
            return Err(ConfigError::new("keep", "must lie between 0 and 100000"));
        }
        let day = Duration::from_secs(86_400);
        let delivery_delay = duration(
            "delivery_delay",
            written.delivery_delay.as_deref(),
            Duration::ZERO,
            Duration::ZERO..=day,
        )?;
        let secret = written.webhook_secret.map(|secret| secret.resolve("webhook_secret")).transpose()?;
        let webhook_key =
            secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()));
        Ok(Self { keep, dir: written.dir, delivery_delay, webhook_key })
    }
}
