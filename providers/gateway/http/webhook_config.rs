use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::config::{pointer, within};
use crate::{
    contract::{Channel, ConfigError, Secret},
    shared::signature::{Encoding, Hash},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebhook {
    secret: Secret,
    signature_header: String,
    hash: Option<String>,
    encoding: Option<String>,
    prefix: Option<String>,
    timestamp_header: Option<String>,
    tolerance_seconds: Option<u64>,
    signed: Option<String>,
    format: Option<String>,
    items: Option<String>,
    id: Option<String>,
    message_id: Option<String>,
    status: String,
    code: Option<String>,
    detail: Option<String>,
    time: Option<String>,
    statuses: BTreeMap<String, Word>,
    inbound: Option<RawInbound>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInbound {
    channel: String,
    from: String,
    to: Option<String>,
    subject: Option<String>,
    body: Option<String>,
}

/// What a status word of the vendor means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Accepted,
    Sent,
    Deferred,
    Delivered,
    Read,
    Clicked,
    Failed,
    DeadRecipient,
    Complained,
    Unsubscribed,
    Resubscribed,
    Inbound,
    Ignore,
}

/// How callbacks are signed.
#[derive(Debug)]
pub(super) struct Scheme {
    pub(super) secret: SecretString,
    /// In lower case.
    pub(super) header: String,
    pub(super) hash: Hash,
    pub(super) encoding: Encoding,
    pub(super) prefix: String,
    /// The header with the time, in lower case, and how far that may be from now.
    pub(super) timestamp: Option<(String, Duration)>,
    pub(super) signed: Vec<Part>,
}

/// A part of the signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Timestamp,
    Body,
}

/// Where in a callback which fact is.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) form: bool,
    pub(super) items: Option<String>,
    pub(super) id: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) status: String,
    pub(super) code: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) time: Option<String>,
    pub(super) statuses: BTreeMap<String, Word>,
    pub(super) inbound: Option<Inbound>,
}

/// Where in a callback which part of an inbound message is.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) channel: Channel,
    pub(super) from: String,
    pub(super) to: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) body: Option<String>,
}

impl RawWebhook {
    pub(super) fn check(self) -> Result<(Scheme, Fields), ConfigError> {
        let scheme = Scheme {
            secret: self.secret.resolve("webhook.secret")?,
            header: header_name("webhook.signature_header", &self.signature_header)?,
            hash: choose(
                "webhook.hash",
                self.hash.as_deref(),
                &[("sha256", Hash::Sha256), ("sha512", Hash::Sha512), ("sha1", Hash::Sha1)],
            )?,
            encoding: choose(
                "webhook.encoding",
                self.encoding.as_deref(),
                &[("hex", Encoding::Hex), ("base64", Encoding::Base64)],
            )?,
            prefix: self.prefix.unwrap_or_default(),
            signed: signed(self.signed.as_deref(), self.timestamp_header.is_some())?,
            timestamp: match self.timestamp_header {
                Some(header) => {
                    let seconds = self.tolerance_seconds.unwrap_or(300);
                    let seconds = within("webhook.tolerance_seconds", seconds, 1, 86_400)?;
                    let header = header_name("webhook.timestamp_header", &header)?;
                    Some((header, Duration::from_secs(seconds)))
                }
                None => None,
            },
        };
        let pointer = |key: &str, text: Option<String>| pointer(&format!("webhook.{key}"), text.as_deref());
        if self.id.is_none() && self.message_id.is_none() {
            return Err(ConfigError::new("webhook.id", "is missing, and so is webhook.message_id")
                .hint("without either a report cannot be matched to its message"));
        }
        let fields = Fields {
            form: choose("webhook.format", self.format.as_deref(), &[("json", false), ("form", true)])?,
            items: pointer("items", self.items)?,
            id: pointer("id", self.id)?,
            message_id: pointer("message_id", self.message_id)?,
            status: pointer("status", Some(self.status))?.unwrap_or_default(),
            code: pointer("code", self.code)?,
            detail: pointer("detail", self.detail)?,
            time: pointer("time", self.time)?,
            inbound: self.inbound.map(RawInbound::check).transpose()?,
            statuses: self.statuses,
        };
        if fields.inbound.is_none() && fields.statuses.values().any(|word| *word == Word::Inbound) {
            return Err(ConfigError::new("webhook.inbound", "is missing, and a status means inbound")
                .hint("give inbound = { channel = \"SMS\", from = \"/from\", body = \"/text\" }"));
        }
        Ok((scheme, fields))
    }
}

impl RawInbound {
    fn check(self) -> Result<Inbound, ConfigError> {
        let pointer =
            |key: &str, text: Option<String>| pointer(&format!("webhook.inbound.{key}"), text.as_deref());
        let channel = self
            .channel
            .parse()
            .map_err(|()| ConfigError::new("webhook.inbound.channel", "must be EMAIL, SMS, CHAT or PUSH"))?;
        Ok(Inbound {
            channel,
            from: pointer("from", Some(self.from))?.unwrap_or_default(),
            to: pointer("to", self.to)?,
            subject: pointer("subject", self.subject)?,
            body: pointer("body", self.body)?,
        })
    }
}

/// The first choice is the default.
fn choose<T: Copy>(key: &str, word: Option<&str>, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    let choice = match word {
        Some(word) => choices.iter().find(|(known, _)| *known == word),
        None => choices.first(),
    };
    choice.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
        ConfigError::new(key, format!("must be one of {}", known.join(", ")))
    })
}

fn header_name(key: &str, name: &str) -> Result<String, ConfigError> {
    name.parse::<http::HeaderName>()
        .map(|name| name.as_str().to_owned())
        .map_err(|_| ConfigError::new(key, "is not the name of a header"))
}

/// Cuts `{timestamp}.{body}` into its parts.
fn signed(pattern: Option<&str>, with_time: bool) -> Result<Vec<Part>, ConfigError> {
    let pattern = pattern.unwrap_or(if with_time { "{timestamp}.{body}" } else { "{body}" });
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let (part, length) = if rest.starts_with("{timestamp}") {
            (Part::Timestamp, "{timestamp}".len())
        } else if rest.starts_with("{body}") {
            (Part::Body, "{body}".len())
        } else {
            let start = first.len_utf8();
            let end = rest[start..].find('{').map_or(rest.len(), |at| start + at);
            (Part::Text(rest[..end].to_owned()), end)
        };
        parts.push(part);
        rest = &rest[length..];
    }
    let problem = if !parts.contains(&Part::Body) {
        "does not hold {body}"
    } else if parts.contains(&Part::Timestamp) != with_time {
        "and timestamp_header need each other"
    } else {
        return Ok(parts);
    };
    Err(ConfigError::new("webhook.signed", problem).hint("write {body} or {timestamp}.{body}"))
}
