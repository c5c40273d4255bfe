use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use super::{Channel, ChannelProvider, ReceiptSink};

/// Makes an instance from its settings.
pub type Build = fn(&Settings, BuildContext) -> Result<Arc<dyn ChannelProvider>, ConfigError>;

/// A plugin as the registry knows it.
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// The word in `kind = "..."`.
    pub kind: &'static str,
    /// The channels it can serve.
    pub channels: &'static [Channel],
    /// One line for lists.
    pub summary: &'static str,
    /// A complete `[[provider]]` section that a test parses and builds.
    pub example: &'static str,
    /// Its own keys, for the hint on a misspelt one.
    pub keys: &'static [&'static str],
    /// Makes an instance. Does no I/O but reading the files that the settings name.
    pub build: Build,
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What an instance is given beside its settings.
#[derive(Clone)]
pub struct BuildContext {
    /// The instance's name.
    pub name: String,
    /// Takes receipts that do not come by webhook.
    pub receipts: Arc<dyn ReceiptSink>,
}

/// The plugin's own part of a `[[provider]]` section.
#[derive(Clone, Default)]
pub struct Settings {
    /// The keys left when those of every provider (`name`, `kind`, `channels`, limits) are taken out.
    pub table: toml::Table,
}

impl fmt::Debug for Settings {
    /// Keys only: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table.keys()).finish()
    }
}

impl Settings {
    /// Reads the settings into the plugin's own type, which should deny unknown fields.
    ///
    /// # Errors
    /// Names the key that is unknown, missing or of the wrong type. Never shows a value.
    pub fn parse<T: DeserializeOwned>(&self, known: &[&'static str]) -> Result<T, ConfigError> {
        if let Some(key) = self.table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(ConfigError::new(key, "is not a key of this provider")
                .hint(format!("known keys: {}", known.join(", "))));
        }
        toml::Value::Table(self.table.clone()).try_into().map_err(|error| explain(&error))
    }
}

/// The key and the problem, without the value: toml's own words quote it, and it may be a secret.
fn explain(error: &toml::de::Error) -> ConfigError {
    let (shown, message) = (error.to_string(), error.message());
    let place = shown.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let quoted = message.split('`').nth(1);
    let within = |key: &str| place.map_or_else(|| key.to_owned(), |place| format!("{place}.{key}"));
    match (message, quoted) {
        (text, Some(key)) if text.starts_with("missing field") => ConfigError::new(within(key), "is missing"),
        (text, Some(key)) if text.starts_with("unknown field") => {
            let known = text.split_once(", expected ").map_or("none", |(_, known)| known);
            ConfigError::new(within(key), "is not a key here").hint(format!("known: {known}"))
        }
        (text, _) => {
            let expected = text.rsplit_once("expected ").map_or("of another type", |(_, expected)| expected);
            ConfigError::new(place.unwrap_or("provider"), format!("must be {expected}"))
        }
    }
}

/// What is wrong with a provider's settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct ConfigError {
    /// The key.
    pub key: String,
    /// What is wrong with it, without its value.
    pub problem: String,
    /// The way out.
    pub hint: Option<String>,
}

impl ConfigError {
    /// This key has this problem.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), hint: None }
    }

    /// With the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A secret by reference: `env:NAME`, `file:/path`, or the secret itself.
///
/// Resolved once, when the provider is built. Shows nothing of itself.
#[derive(Clone, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(SecretString);

impl Secret {
    /// The secret itself, without line ends around it.
    ///
    /// # Errors
    /// When the variable or the file is missing or empty; names the reference, not the content.
    pub fn resolve(&self, key: &str) -> Result<SecretString, ConfigError> {
        let reference = self.0.expose_secret();
        let value = if let Some(name) = reference.strip_prefix("env:") {
            #[allow(
                clippy::disallowed_methods,
                reason = "the one place where secrets enter from the environment"
            )]
            std::env::var(name)
                .map_err(|_| ConfigError::new(key, format!("names the variable {name}, which is not set")))?
        } else if let Some(path) = reference.strip_prefix("file:") {
            std::fs::read_to_string(path)
                .map_err(|error| ConfigError::new(key, format!("names the file {path}: {error}")))?
        } else {
            reference.to_owned()
        };
        let value = value.trim_start_matches('\u{feff}').trim();
        if value.is_empty() {
            return Err(ConfigError::new(key, "is empty").hint("give the secret, env:NAME or file:/path"));
        }
        Ok(SecretString::from(value.to_owned()))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(SecretString::from(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only parsed")]
    struct Raw {
        token: Secret,
        #[serde(default)]
        count: u32,
        inner: Option<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only parsed")]
    struct Inner {
        word: String,
    }

    #[test]
    fn problems_name_the_key_and_hide_the_value() {
        let table = [
            ("", "`token` is missing"),
            ("token = 4711", "`token` must be a string"),
            ("token = 'x'\ncount = 'canary'", "`count` must be u32"),
            ("token = 'x'\ncount = -4711", "`count` must be u32"),
            ("token = 'x'\ninner = { word = 4711 }", "`inner.word` must be a string"),
            ("token = 'x'\ninner = {}", "`inner.word` is missing"),
            ("token = 'x'\ninner = { word = 'w', wrod = 4711 }", "`inner.wrod` is not a key here"),
            ("token = 'x'\ntokn = 'canary'", "`tokn` is not a key of this provider"),
        ];
        for (toml, expected) in table {
            let settings = Settings { table: toml.parse().unwrap() };
            let error = settings.parse::<Raw>(&["token", "count", "inner"]).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
