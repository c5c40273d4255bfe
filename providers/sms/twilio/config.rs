use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;

use crate::{
    contract::{ConfigError, Secret, Settings},
    shared::endpoint,
};

/// The keys of this plugin.
pub(super) const KEYS: &[&str] = &[
    "account_sid",
    "auth_token",
    "api_key_sid",
    "api_key_secret",
    "from",
    "messaging_service_sid",
    "validity_period",
    "webhook_key",
    "base_url",
    "allow_insecure",
];

const DEFAULT_BASE_URL: &str = "https://api.twilio.com";

/// Longest time, in seconds, for which Twilio keeps trying (message resource, `ValidityPeriod`).
pub(super) const LONGEST_VALIDITY: u32 = 36_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    account_sid: String,
    auth_token: Secret,
    api_key_sid: Option<String>,
    api_key_secret: Option<Secret>,
    from: Option<String>,
    messaging_service_sid: Option<String>,
    validity_period: Option<u32>,
    webhook_key: Option<Secret>,
    base_url: Option<String>,
    #[serde(default)]
    allow_insecure: bool,
}

/// The settings, checked, with the secrets resolved.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) account_sid: String,
    pub(super) auth_token: SecretString,
    pub(super) api_key: Option<(String, SecretString)>,
    pub(super) from: Option<String>,
    pub(super) messaging_service_sid: Option<String>,
    pub(super) validity_period: u32,
    pub(super) webhook_key: Option<SecretString>,
    pub(super) base_url: Url,
}

impl Config {
    pub(super) fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let raw: Raw = settings.parse(KEYS)?;
        sid("account_sid", "AC", &raw.account_sid)?;
        let api_key = match (raw.api_key_sid, raw.api_key_secret) {
            (Some(key_sid), Some(secret)) => {
                sid("api_key_sid", "SK", &key_sid)?;
                Some((key_sid, secret.resolve("api_key_secret")?))
            }
            (None, None) => None,
            (Some(_), None) => return Err(alone("api_key_secret", "api_key_sid")),
            (None, Some(_)) => return Err(alone("api_key_sid", "api_key_secret")),
        };
        if let Some(service) = &raw.messaging_service_sid {
            sid("messaging_service_sid", "MG", service)?;
        }
        if raw.from.as_deref().is_none_or(str::is_empty) && raw.messaging_service_sid.is_none() {
            return Err(ConfigError::new("from", "is missing")
                .hint("give from = \"+15005550006\" (E.164) or messaging_service_sid = \"MG...\""));
        }
        let validity_period = raw.validity_period.unwrap_or(LONGEST_VALIDITY);
        if !(1..=LONGEST_VALIDITY).contains(&validity_period) {
            return Err(ConfigError::new("validity_period", "must be 1 to 36000 seconds"));
        }
        let base_url = raw.base_url.as_deref().unwrap_or(DEFAULT_BASE_URL);
        Ok(Self {
            base_url: endpoint::base_url("base_url", base_url, raw.allow_insecure)?,
            auth_token: raw.auth_token.resolve("auth_token")?,
            webhook_key: raw.webhook_key.map(|key| key.resolve("webhook_key")).transpose()?,
            account_sid: raw.account_sid,
            api_key,
            from: raw.from.filter(|from| !from.is_empty()),
            messaging_service_sid: raw.messaging_service_sid,
            validity_period,
        })
    }

    /// User name and password of the requests: the API key where there is one.
    pub(super) fn credentials(&self) -> (&str, &SecretString) {
        match &self.api_key {
            Some((sid, secret)) => (sid, secret),
            None => (&self.account_sid, &self.auth_token),
        }
    }
}

/// Twilio's identifiers are two letters and 32 hexadecimal digits.
fn sid(key: &str, prefix: &str, value: &str) -> Result<(), ConfigError> {
    let digits = value.strip_prefix(prefix).unwrap_or_default();
    if digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(ConfigError::new(key, format!("must be {prefix} and 32 hexadecimal digits"))
        .hint("copy it from the Twilio console"))
}

fn alone(missing: &str, given: &str) -> ConfigError {
    ConfigError::new(missing, format!("is missing beside `{given}`")).hint("an API key has both")
}
