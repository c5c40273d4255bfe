use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{
    answer::{Reader, StatusPattern},
    request::{Auth, Payload, Template},
    template::{Engine, Escape},
    webhook::Webhook,
    webhook_config::RawWebhook,
};
use crate::contract::{ConfigError, Secret, Settings};

/// The keys of this plugin.
pub(super) const KEYS: &[&str] = &[
    "url",
    "method",
    "headers",
    "secrets",
    "auth",
    "json",
    "form",
    "body",
    "content_type",
    "success",
    "id",
    "error_code",
    "error_message",
    "faults",
    "idempotent",
    "max_body_bytes",
    "timeout_seconds",
    "allow_insecure",
    "webhook",
];

const DEFAULT_MAX_BODY: usize = 64 * 1024;
const DEFAULT_TIMEOUT: u64 = 25;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
    auth: Option<RawAuth>,
    json: Option<toml::Value>,
    form: Option<BTreeMap<String, String>>,
    body: Option<String>,
    content_type: Option<String>,
    success: Option<Vec<String>>,
    id: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
    #[serde(default)]
    faults: BTreeMap<String, String>,
    #[serde(default)]
    idempotent: bool,
    max_body_bytes: Option<usize>,
    timeout_seconds: Option<u64>,
    #[serde(default)]
    allow_insecure: bool,
    webhook: Option<RawWebhook>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    bearer: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
}

/// The settings, checked and compiled.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) request: Template,
    pub(super) reader: Reader,
    pub(super) webhook: Option<Webhook>,
    pub(super) idempotent: bool,
    pub(super) max_body_bytes: usize,
    pub(super) timeout: Duration,
}

impl Config {
    pub(super) fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let mut raw: Raw = settings.parse(KEYS)?;
        let idempotent = raw.idempotent;
        let mut secrets = BTreeMap::new();
        for (name, secret) in &raw.secrets {
            secrets.insert(name.clone(), secret.resolve(&format!("secrets.{name}"))?);
        }
        let auth = raw.auth.take().map(auth).transpose()?;
        let webhook = raw.webhook.take().map(Webhook::new).transpose()?;
        let mut hidden: Vec<SecretString> = secrets.values().cloned().collect();
        hidden.extend(auth.as_ref().map(|auth| auth.secret().clone()));
        let timeout = within("timeout_seconds", raw.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT), 1, 300)?;
        let max_body_bytes = raw.max_body_bytes.unwrap_or(DEFAULT_MAX_BODY);
        within("max_body_bytes", max_body_bytes as u64, 1, 16 * 1024 * 1024)?;
        let reader = reader(&raw, hidden)?;
        let request = request(raw, secrets, auth)?;
        if idempotent && !request.names_the_message() {
            return Err(ConfigError::new("idempotent", "is set, and no template sends idempotency_key")
                .hint("put {{ idempotency_key }} where the vendor looks for it"));
        }
        Ok(Self {
            reader,
            request,
            webhook,
            idempotent,
            max_body_bytes,
            timeout: Duration::from_secs(timeout),
        })
    }
}

fn auth(raw: RawAuth) -> Result<Auth, ConfigError> {
    match (raw.bearer, raw.username, raw.password) {
        (Some(token), None, None) => {
            let token = token.resolve("auth.bearer")?;
            if token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
                Ok(Auth::Bearer(token))
            } else {
                Err(ConfigError::new("auth.bearer", "holds characters that no token has")
                    .hint("look for spaces and line ends within it"))
            }
        }
        (None, Some(user), Some(password)) => Ok(Auth::Basic(user, password.resolve("auth.password")?)),
        _ => Err(ConfigError::new("auth", "needs either bearer, or username and password")),
    }
}

fn reader(raw: &Raw, hidden: Vec<SecretString>) -> Result<Reader, ConfigError> {
    let success = raw.success.clone().unwrap_or_else(|| vec!["2xx".to_owned()]);
    let success: Result<Vec<_>, _> = success.iter().map(|text| StatusPattern::read(text)).collect();
    let mut reader = Reader::new(success?, hidden);
    reader.id = pointer("id", raw.id.as_deref())?;
    reader.error_code = pointer("error_code", raw.error_code.as_deref())?;
    reader.error_message = pointer("error_message", raw.error_message.as_deref())?;
    for (code, word) in &raw.faults {
        reader.add_fault(code, word)?;
    }
    Ok(reader)
}

fn request(
    raw: Raw,
    secrets: BTreeMap<String, SecretString>,
    auth: Option<Auth>,
) -> Result<Template, ConfigError> {
    let method = raw.method.as_deref().unwrap_or("POST").to_ascii_uppercase();
    let method = Method::from_bytes(method.as_bytes())
        .ok()
        .filter(|method| [Method::GET, Method::POST, Method::PUT, Method::PATCH].contains(method))
        .ok_or_else(|| ConfigError::new("method", "must be GET, POST, PUT or PATCH"))?;
    let mut engine = Engine::new(secrets);
    let payload = payload(&mut engine, raw.json, raw.form, raw.body, raw.content_type)?;
    let mut headers = Vec::new();
    for (name, template) in raw.headers {
        let key = format!("headers.{name}");
        let header = name.parse().map_err(|_| ConfigError::new(&key, "is not the name of a header"))?;
        headers.push((header, engine.add(&key, &template, Escape::None)?));
    }
    Template::new(engine, method, &raw.url, raw.allow_insecure, headers, auth, payload)
}

fn payload(
    engine: &mut Engine,
    json: Option<toml::Value>,
    form: Option<BTreeMap<String, String>>,
    body: Option<String>,
    content_type: Option<String>,
) -> Result<Payload, ConfigError> {
    match (json, form, body) {
        (None, None, None) => Ok(Payload::Empty),
        (Some(json), None, None) => Ok(Payload::Json(engine.add_tree("json", json)?)),
        (None, Some(form), None) => {
            let add = |(name, template): (String, String)| {
                let key = format!("form.{name}");
                Ok((name, engine.add(&key, &template, Escape::None)?))
            };
            Ok(Payload::Form(form.into_iter().map(add).collect::<Result<_, ConfigError>>()?))
        }
        (None, None, Some(body)) => {
            let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
            let template = engine.add("body", &body, Escape::for_content_type(&content_type))?;
            let content_type = content_type
                .parse()
                .map_err(|_| ConfigError::new("content_type", "cannot be the value of a header"))?;
            Ok(Payload::Text { template, content_type })
        }
        _ => {
            Err(ConfigError::new("body", "is one of several payloads")
                .hint("give one of json, form and body"))
        }
    }
}

/// A JSON pointer (RFC 6901): empty or beginning with a slash.
pub(super) fn pointer(key: &str, text: Option<&str>) -> Result<Option<String>, ConfigError> {
    match text {
        Some(text) if !text.is_empty() && !text.starts_with('/') => {
            Err(ConfigError::new(key, "is not a JSON pointer")
                .hint("write /message/id for the field id of message"))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

pub(super) fn within(key: &str, value: u64, least: u64, most: u64) -> Result<u64, ConfigError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(ConfigError::new(key, format!("must be {least} to {most}")))
    }
}

/// The texts of secrets, for blotting them out.
pub(super) fn exposed(secrets: &[SecretString]) -> impl Iterator<Item = &str> {
    secrets.iter().map(ExposeSecret::expose_secret)
}
