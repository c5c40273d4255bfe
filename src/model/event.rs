//! The log's vocabulary.

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    ids::{EventId, Tenant},
};

/// Every kind of event, by the name in the log.
pub mod kind {
    #![allow(missing_docs, reason = "the names say it")]
    pub const MESSAGE_CREATED: &str = "Message.Created";
    pub const MESSAGE_UPDATED: &str = "Message.Updated";
    pub const MESSAGE_DELETED: &str = "Message.Deleted";
    pub const MESSAGE_SCHEDULED: &str = "Message.Scheduled";
    pub const MESSAGE_RESCHEDULED: &str = "Message.Rescheduled";
    pub const MESSAGE_QUEUED: &str = "Message.Queued";
    pub const MESSAGE_SENT: &str = "Message.Sent";
    pub const MESSAGE_DELIVERED: &str = "Message.Delivered";
    pub const MESSAGE_READ: &str = "Message.Read";
    pub const MESSAGE_FAILED: &str = "Message.Failed";
    pub const MESSAGE_CANCELLED: &str = "Message.Cancelled";
    pub const MESSAGE_EXPIRED: &str = "Message.Expired";
    pub const MESSAGE_RETRIED: &str = "Message.Retried";
    pub const MESSAGE_RECEIVED: &str = "Message.Received";
    pub const CONTACT_CREATED: &str = "Contact.Created";
    pub const CONTACT_UPDATED: &str = "Contact.Updated";
    pub const CONTACT_DELETED: &str = "Contact.Deleted";
    pub const ACTIVITY_CREATED: &str = "Activity.Created";
    pub const TICKET_CREATED: &str = "Ticket.Created";
}

/// An event that is about to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// One of [`kind`].
    pub kind: &'static str,
    /// Whose log.
    pub tenant: Tenant,
    /// The id of the entity.
    pub target: String,
    /// Its number: [`super::ids::entity_of`] the target.
    pub entity: i64,
    /// Who did it.
    pub actor: String,
    /// When it happened.
    pub at: Timestamp,
    /// The entity's version after it.
    pub version: i64,
    /// What else there is to know.
    pub data: EventData,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the log.
    pub id: EventId,
    /// Its type: one of [`kind`], or one of a later version.
    pub kind: String,
    /// Whose log.
    pub tenant: Tenant,
    /// The id of the entity.
    pub target: String,
    /// Who did it.
    pub actor: String,
    /// When it happened.
    pub at: Timestamp,
    /// The entity's version after it.
    pub version: i64,
    /// What else there is to know.
    pub data: EventData,
}

/// Ids and codes that go with an event. Never a body or an address: `sender` and `recipient` are there only when they are contacts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields of `Message` in proto/, under their names")]
pub struct EventData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// From 2 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The fact came after a later one, and `status` is not what its verb says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// The entity an Activity or Ticket is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A pattern over event types: `Message.Sent`, `Message.*`, `*.Failed`, `*`; in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    entity: Option<String>,
    verb: Option<String>,
}

impl Pattern {
    /// Reads a pattern; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |word: &str| -> Option<Option<String>> {
            let named = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
            match word {
                "*" => Some(None),
                _ if named => Some(Some(word.to_ascii_lowercase())),
                _ => None,
            }
        };
        match text.split_once('.') {
            Some((entity, verb)) => Some(Self { entity: word(entity)?, verb: word(verb)? }),
            None if text == "*" => Some(Self { entity: None, verb: None }),
            None => None,
        }
    }

    /// Whether an event of this type is meant.
    pub fn matches(&self, kind: &str) -> bool {
        let (entity, verb) = kind.split_once('.').unwrap_or((kind, ""));
        let fits = |pattern: &Option<String>, word: &str| {
            pattern.as_ref().is_none_or(|pattern| pattern.eq_ignore_ascii_case(word))
        };
        fits(&self.entity, entity) && fits(&self.verb, verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let matches =
            |pattern: &str, kind| Pattern::parse(pattern).is_some_and(|pattern| pattern.matches(kind));
        assert!(matches("message.sent", kind::MESSAGE_SENT));
        assert!(matches("Message.*", kind::MESSAGE_SENT));
        assert!(matches("*.FAILED", kind::MESSAGE_FAILED));
        assert!(matches("*", kind::TICKET_CREATED));
        assert!(!matches("Message.Sent", kind::MESSAGE_READ));
        for bad in ["", "Message", "Message.", ".Sent", "Message.Se*", "a.b.c", "Message Sent"] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }
}
