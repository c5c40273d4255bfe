//! The configured providers.

use std::time::Duration;

use async_trait::async_trait;

use super::{Caller, Error, Service};
use crate::model::{Channel, Reporting, Timestamp};

/// A provider, as it stands now.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Provider` in proto/, under their names")]
pub struct ProviderStatus {
    pub name: String,
    pub kind: String,
    pub channels: Vec<Channel>,
    pub reporting: Reporting,
    pub idempotent: bool,
    pub in_flight: usize,
    pub max_in_flight: usize,
    /// `CLOSED`, `HALF_OPEN`, `OPEN` or `PAUSED`.
    pub state: &'static str,
    pub rate: Option<f64>,
    pub places: usize,
    pub paused_until: Option<Timestamp>,
    pub paused_reason: Option<String>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Timestamp>,
    pub accepted: u64,
    pub refused: u64,
}

/// What a check of a provider found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether it can be reached and takes our credentials.
    pub ok: bool,
    /// What went wrong, in a sentence.
    pub detail: String,
    /// How long the check took.
    pub took: Duration,
}

/// Who knows the configured providers.
#[async_trait]
pub trait Directory: Send + Sync {
    /// All of them, in the order in which they are tried.
    fn list(&self) -> Vec<ProviderStatus>;

    /// Checks one; `None` when there is none of this name.
    async fn probe(&self, name: &str) -> Option<Probe>;

    /// Whether one serves this channel.
    fn serves(&self, channel: Channel) -> bool;
}

impl Service {
    /// The configured providers.
    pub fn providers(&self) -> Vec<ProviderStatus> {
        self.directory().list()
    }

    /// Checks the credentials and the reachability of a provider.
    ///
    /// # Errors
    /// No provider has this name.
    pub async fn probe_provider(&self, _caller: &Caller, name: &str) -> Result<Probe, Error> {
        if name.is_empty() {
            return Err(Error::invalid("name", "is required; List names the configured providers"));
        }
        self.directory().probe(name).await.ok_or_else(|| Error::not_found("Provider", name))
    }
}
