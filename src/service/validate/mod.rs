//! What a caller may give. Everything wrong with a request is said at once, in the order of the fields.

mod address;
mod message;
mod parts;
mod time;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Error, Kind};
use crate::model::message::Metadata;

pub(super) use address::{address, infer};
pub(super) use message::{Mode, message, only_email, sender};
pub(super) use time::{happened_at, schedule};

/// Most metadata of one entity, in bytes of JSON.
const MAX_METADATA: usize = 32 * 1024;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The field, as it is named in proto/.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub description: String,
}

impl Violation {
    /// Of this field.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// Everything that is wrong with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// One more.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation::new(field, description));
    }

    /// One more, when there is something to say.
    pub fn note(&mut self, field: &str, problem: Result<(), impl Into<String>>) {
        if let Err(problem) = problem {
            self.add(field, problem);
        }
    }

    /// Whether something was said about this field.
    pub fn names(&self, field: &str) -> bool {
        self.0.iter().any(|violation| violation.field == field)
    }

    /// Nothing is wrong, or the refusal that says all of it.
    pub fn done(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }

    pub(super) fn into_error(self) -> Error {
        let fields: Vec<_> = self.0.iter().take(8).map(|violation| violation.field.as_str()).collect();
        let more = if self.0.len() > 8 { " and more" } else { "" };
        let message = match self.0.first() {
            Some(only) if self.0.len() == 1 => format!("{}: {}", only.field, only.description),
            _ => format!("the request is not valid: see {}{more}", fields.join(", ")),
        };
        let error = Error::new(Kind::InvalidArgument, "INVALID_ARGUMENT", message);
        Error { violations: self.0, ..error }
    }
}

/// What a caller gave, and what could not even be read of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given<T> {
    /// What could be read.
    pub value: T,
    /// What could not.
    pub violations: Violations,
}

impl<T> Given<T> {
    /// Read without trouble.
    pub fn new(value: T) -> Self {
        Self { value, violations: Violations::default() }
    }
}

/// Text on one line: bounded, without control characters.
pub(super) fn line(violations: &mut Violations, field: &str, text: Option<&str>, max: usize) {
    let Some(text) = text else { return };
    if text.len() > max {
        violations.add(field, format!("must be at most {max} bytes; it has {}", text.len()));
    } else if text.chars().any(is_break) {
        violations.add(field, "must not hold control characters or line breaks");
    }
}

/// The name of a person or thing: a line that reads in the order in which it is stored.
pub(super) fn name(violations: &mut Violations, field: &str, text: Option<&str>, max: usize) {
    line(violations, field, text, max);
    if !violations.names(field) && text.is_some_and(|text| text.chars().any(is_unsafe)) {
        violations.add(field, "must not hold marks that change the direction of text");
    }
}

/// Text of several lines: bounded, without the NUL character.
pub(super) fn text(violations: &mut Violations, field: &str, text: Option<&str>, max: usize) {
    let Some(text) = text else { return };
    if text.len() > max {
        violations.add(field, format!("must be at most {max} bytes; it has {}", text.len()));
    } else if text.contains('\0') {
        violations.add(field, "must not hold the character U+0000");
    }
}

/// The caller's own data.
pub(super) fn metadata(violations: &mut Violations, metadata: Option<&Metadata>) {
    let Some(metadata) = metadata else { return };
    let bad =
        |key: &str| key.is_empty() || key.len() > 128 || key == "__proto__" || key.chars().any(is_unsafe);
    let size = serde_json::to_string(metadata).map_or(usize::MAX, |json| json.len());
    if size > MAX_METADATA {
        violations.add("metadata", format!("must be at most {MAX_METADATA} bytes as JSON"));
    } else if metadata.keys().any(|key| bad(key)) {
        let rule = "keys must be 1 to 128 bytes without control characters, and not `__proto__`";
        violations.add("metadata", rule);
    } else if json_has_nul(metadata) {
        violations.add("metadata", "must not hold the character U+0000");
    }
}

fn json_has_nul(metadata: &Metadata) -> bool {
    fn has_nul(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => text.contains('\0'),
            serde_json::Value::Array(items) => items.iter().any(has_nul),
            serde_json::Value::Object(map) => {
                map.iter().any(|(key, value)| key.contains('\0') || has_nul(value))
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
        }
    }
    metadata.values().any(has_nul)
}

fn is_break(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// What has no place in an address or a name: also the marks that make text read in another order than it is stored (Unicode
/// UAX #9, explicit embeddings, overrides and isolates).
pub(super) fn is_unsafe(c: char) -> bool {
    is_break(c) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name for a numbered field: `headers[3]`.
pub(super) fn nth(field: &str, index: usize) -> Cow<'static, str> {
    format!("{field}[{index}]").into()
}
