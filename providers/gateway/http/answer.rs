use std::collections::BTreeMap;

use http::StatusCode;
use secrecy::SecretString;
use serde_json::Value;

use super::config::exposed;
use crate::{
    contract::{Accepted, ConfigError, Fault, SendError, Timestamp},
    shared::{
        answer::{Answer, provider_id},
        text::{redact, sentence},
    },
};

/// A status or a hundred of them: `202`, `2xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusPattern {
    One(u16),
    Class(u16),
}

impl StatusPattern {
    pub(super) fn read(text: &str) -> Result<Self, ConfigError> {
        let class = text.strip_suffix("xx").and_then(|class| class.parse().ok());
        match (class, text.parse()) {
            (Some(class @ 2..=5), _) => Ok(Self::Class(class)),
            (None, Ok(status @ 200..=599)) => Ok(Self::One(status)),
            _ => Err(ConfigError::new("success", "must hold statuses such as \"2xx\" or \"202\"")),
        }
    }

    fn fits(self, status: StatusCode) -> bool {
        match self {
            Self::One(one) => status.as_u16() == one,
            Self::Class(class) => status.as_u16() / 100 == class,
        }
    }
}

/// Makes an outcome of an answer.
#[derive(Debug)]
pub(super) struct Reader {
    success: Vec<StatusPattern>,
    /// JSON pointers (RFC 6901) into the answer.
    pub(super) id: Option<String>,
    pub(super) error_code: Option<String>,
    pub(super) error_message: Option<String>,
    /// By the vendor's code or by status; the flag tells that the address is dead.
    faults: BTreeMap<String, (Fault, bool)>,
    hidden: Vec<SecretString>,
}

/// The words for faults in the configuration.
const WORDS: &[(&str, (Fault, bool))] = &[
    ("transient", (Fault::Transient, false)),
    ("throttled", (Fault::Throttled, false)),
    ("ambiguous", (Fault::Ambiguous, false)),
    ("rejected", (Fault::Rejected, false)),
    ("bad_recipient", (Fault::BadRecipient, false)),
    ("dead_recipient", (Fault::BadRecipient, true)),
    ("unauthorized", (Fault::Unauthorized, false)),
];

impl Reader {
    pub(super) fn new(success: Vec<StatusPattern>, hidden: Vec<SecretString>) -> Self {
        let faults = BTreeMap::new();
        Self { success, id: None, error_code: None, error_message: None, faults, hidden }
    }

    /// From now on this code or status is this fault.
    pub(super) fn add_fault(&mut self, code: &str, word: &str) -> Result<(), ConfigError> {
        let Some((_, fault)) = WORDS.iter().find(|(known, _)| *known == word) else {
            let known: Vec<&str> = WORDS.iter().map(|(known, _)| *known).collect();
            return Err(ConfigError::new(format!("faults.{code}"), "is not the name of a fault")
                .hint(format!("known: {}", known.join(", "))));
        };
        self.faults.insert(code.to_owned(), *fault);
        Ok(())
    }

    /// A success needs the vendor's id where the configuration says that there is one: a page of a proxy that says 200
    /// is no acceptance. A code that `faults` names is an error whatever the status.
    pub(super) fn read(&self, answer: &Answer, now: Timestamp) -> Result<Accepted, SendError> {
        let body: Option<Value> = answer.json();
        let find = |pointer: &Option<String>| {
            let value = body.as_ref().zip(pointer.as_deref());
            value.and_then(|(body, pointer)| body.pointer(pointer)).and_then(scalar)
        };
        let code = find(&self.error_code);
        let success = self.success.iter().any(|pattern| pattern.fits(answer.status));
        let named = code.as_ref().and_then(|code| self.faults.get(code));
        let by_status = || self.faults.get(answer.status.as_str());
        let mut error = match (named, success) {
            (None, true) => match (&self.id, find(&self.id).as_deref().and_then(provider_id)) {
                (Some(_), None) => {
                    SendError::new(Fault::Ambiguous, "the answer says success but holds no usable id")
                }
                (_, provider_message_id) => {
                    return Ok(Accepted { provider_message_id, ..Accepted::default() });
                }
            },
            (named, _) => {
                let mut error = answer.refusal(now);
                if let Some((fault, dead)) = named.or_else(by_status) {
                    (error.fault, error.retire_recipient) = (*fault, *dead);
                }
                error
            }
        };
        if let Some(message) = find(&self.error_message) {
            error.detail = self.clean(&message);
        }
        Err(match code {
            Some(code) => error.code(self.clean(&code)),
            None => error,
        })
    }

    /// Vendors like to repeat what they were sent.
    fn clean(&self, text: &str) -> String {
        sentence(&redact(text, exposed(&self.hidden)))
    }
}

/// A text or a whole number as text; nothing else is an id or a code.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}
