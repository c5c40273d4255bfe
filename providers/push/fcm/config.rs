use std::fmt;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    contract::{ConfigError, Secret, Settings},
    shared::endpoint,
};

/// The keys of this plugin.
pub(super) const KEYS: &[&str] =
    &["service_account", "project_id", "base_url", "token_url", "allow_insecure"];

const DEFAULT_BASE_URL: &str = "https://fcm.googleapis.com";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    service_account: Secret,
    project_id: Option<String>,
    base_url: Option<String>,
    token_url: Option<String>,
    #[serde(default)]
    allow_insecure: bool,
}

/// The settings, checked, with the service account read.
pub(super) struct Config {
    pub(super) project_id: String,
    pub(super) account: ServiceAccount,
    pub(super) base_url: Url,
    pub(super) token_url: Url,
}

/// What we need of a service account's key file.
#[derive(Deserialize)]
pub(super) struct ServiceAccount {
    pub(super) client_email: String,
    pub(super) private_key: SecretString,
    pub(super) private_key_id: Option<String>,
    pub(super) token_uri: String,
    project_id: Option<String>,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("client_email", &self.client_email).finish_non_exhaustive()
    }
}

impl Config {
    pub(super) fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let raw: Raw = settings.parse(KEYS)?;
        let account = ServiceAccount::read(&raw.service_account)?;
        let project_id = raw.project_id.or_else(|| account.project_id.clone()).ok_or_else(|| {
            ConfigError::new("project_id", "is missing, and the service account names none")
                .hint("give the id of the Firebase project")
        })?;
        if project_id.is_empty()
            || !project_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:.".contains(&b))
        {
            return Err(ConfigError::new("project_id", "may hold letters, digits and hyphens only"));
        }
        let base_url = raw.base_url.as_deref().unwrap_or(DEFAULT_BASE_URL);
        let token_url = raw.token_url.as_deref().unwrap_or(&account.token_uri);
        let mut token_url = endpoint::base_url("token_url", token_url, raw.allow_insecure)?;
        // The check ends a path in a slash, which is right for a base only.
        token_url.set_path(token_url.path().trim_end_matches('/').to_owned().as_str());
        Ok(Self {
            base_url: endpoint::base_url("base_url", base_url, raw.allow_insecure)?,
            token_url,
            project_id,
            account,
        })
    }
}

impl ServiceAccount {
    /// From a reference to a file or variable, from the path of a file, or from the JSON itself.
    fn read(secret: &Secret) -> Result<Self, ConfigError> {
        const KEY: &str = "service_account";
        let hint = "give the path of the key file that the Firebase console makes, file:/path or env:NAME";
        let text = secret.resolve(KEY).map_err(|error| error.hint(hint))?;
        let json = if text.expose_secret().starts_with('{') {
            text
        } else {
            // The text may be a secret put in the wrong way, so it is not shown.
            std::fs::read_to_string(text.expose_secret()).map(SecretString::from).map_err(|error| {
                ConfigError::new(KEY, format!("is neither JSON nor the path of a readable file: {error}"))
                    .hint(hint)
            })?
        };
        // What serde says names a field and may quote a value that is no string; of it only the place is told.
        serde_json::from_str(json.expose_secret()).map_err(|error| {
            let problem = format!(
                "is not the key file of a service account: error at line {}, column {}; it needs client_email, \
                 private_key and token_uri",
                error.line(),
                error.column()
            );
            ConfigError::new(KEY, problem).hint(hint)
        })
    }
}
