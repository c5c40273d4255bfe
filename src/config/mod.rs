//! The configuration: `hly.toml`, `HLY_` variables over it, [`DEFAULTS`] under it.
//!
//! The commented defaults file is part of the program and is read like any other: what it documents is what holds. Reading
//! never stops at the first problem; see [`load`].

mod check;
mod duration;
mod error;
mod file;
mod keys;
mod load;
mod provider;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use headlessly_providers::contract::{Channel, Settings};
use serde::{Deserialize, Deserializer, de::Error as _};

pub use duration::{parse as parse_duration, show as show_duration};
pub use error::{ConfigErrors, Origin, Problem};
pub use load::{Loaded, load, load_with};

/// Every key with its default and what it means, as TOML.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// A checked configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The API's listener.
    pub api: Api,
    /// The listener that may face the internet.
    pub edge: Edge,
    /// The database.
    pub store: Store,
    /// Logging.
    pub log: Log,
    /// Tenants.
    pub tenant: Tenant,
    /// The path of an accepted message to a provider.
    pub dispatch: Dispatch,
    /// Effects in the other domains.
    pub hooks: Hooks,
    /// Limits of the whole service.
    pub limits: Limits,
    /// Help for development.
    pub dev: Dev,
    /// The providers, in the order in which they stand in the file. Never empty; names are unique.
    #[serde(skip)]
    pub providers: Vec<ProviderConfig>,
}

impl Default for Config {
    /// What holds without a file and without variables: the `dev` provider serves every channel.
    fn default() -> Self {
        load::defaults()
    }
}

/// `[api]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// As configured; see [`Api::keys_required`].
    pub require_keys: Option<bool>,
    /// Whether it may listen outside loopback without TLS.
    pub allow_insecure: bool,
    /// PEM file of the certificate chain. Set exactly when `tls_key` is.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key: Option<PathBuf>,
}

impl Api {
    /// Whether every call needs an API key: as configured, else exactly when the listener is not loopback.
    pub fn keys_required(&self) -> bool {
        self.require_keys.unwrap_or(!self.listen.ip().to_canonical().is_loopback())
    }

    /// The certificate and key files when TLS is on.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }
}

/// `[edge]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// Where the edge listens.
    pub listen: SocketAddr,
    /// Its address from outside, without a slash at its end.
    pub public_url: Option<String>,
}

/// `[store]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `sqlite://` and a path, or the URL of a PostgreSQL database. May hold a password.
    pub url: String,
    /// How much a commit of SQLite waits for.
    pub synchronous: Synchronous,
    /// Connections to PostgreSQL for reading.
    pub connections: u32,
    /// A pooler that gives out connections for one transaction stands before PostgreSQL.
    pub pooler: bool,
}

impl Store {
    /// The file, when it is SQLite; relative paths are relative to the working directory.
    pub fn path(&self) -> Option<PathBuf> {
        self.url.strip_prefix(keys::SQLITE).map(PathBuf::from)
    }

    /// What it is, for people: the file, or the URL without what may be secret in it.
    pub fn shown(&self) -> String {
        if let Some(path) = self.path() {
            return path.display().to_string();
        }
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("postgres", ""));
        let place = rest.split('?').next().unwrap_or_default();
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        format!("{scheme}://{place}")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("url", &self.shown()).field("synchronous", &self.synchronous).finish()
    }
}

/// What an acknowledged message survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// Power loss.
    Full,
    /// The end of the process, but power loss may take the last commits.
    Normal,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Levels by module, as `tracing_subscriber::EnvFilter` reads them.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[tenant]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// What `context` begins with. Ends with a slash.
    pub base_url: String,
}

/// `[dispatch]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// Hand-offs under way at once at any one provider.
    pub max_in_flight: usize,
    /// How long a claim holds.
    #[serde(deserialize_with = "duration_text")]
    pub lease: Duration,
    /// How often expired leases and overdue messages are looked for; at most `lease`.
    #[serde(deserialize_with = "duration_text")]
    pub sweep: Duration,
    /// The wait before the second try.
    #[serde(deserialize_with = "duration_text")]
    pub retry_first: Duration,
    /// The longest wait between two tries; at least `retry_first`.
    #[serde(deserialize_with = "duration_text")]
    pub retry_max: Duration,
    /// Hand-off tries for one generation.
    pub max_attempts: u32,
    /// How long an SMS with an ambiguous hand-off waits for a receipt.
    #[serde(deserialize_with = "duration_text")]
    pub hold: Duration,
    /// How long hand-offs under way may take to end at the end.
    #[serde(deserialize_with = "duration_text")]
    pub shutdown: Duration,
}

/// `[hooks]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Whether `Message.Sent` makes an activity.
    pub activities: bool,
    /// Whether `Message.Failed` makes a ticket.
    pub tickets: bool,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Messages waiting at most.
    pub queue_depth: u64,
}

/// `[dev]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dev {
    /// Whether a new store gets the contacts of the examples.
    pub examples: bool,
}

/// `[[provider]]`
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Unique; lower-case letters, digits and `-`.
    pub name: String,
    /// The plugin.
    pub kind: String,
    /// What it serves: never empty, in the order of the API, no channel twice.
    pub channels: Vec<Channel>,
    /// The lower goes first.
    pub priority: u32,
    /// Hand-offs at once; what the plugin advises when `None`.
    pub max_in_flight: Option<usize>,
    /// What to do with an ambiguous hand-off; by channel when `None`.
    pub ambiguous: Option<Ambiguous>,
    /// The plugin's own keys.
    pub settings: Settings,
}

/// What to do when a hand-off may or may not have worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguous {
    /// Try again; it may be sent twice.
    Retry,
    /// Wait for a receipt; it may not be sent at all.
    Hold,
}

fn duration_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}
