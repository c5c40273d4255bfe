//! What the other domains keep about messages: activities and tickets, and the two built-in rules that make them.

use super::{
    Channel, Timestamp,
    ids::{ActivityId, EventId, MessageId, Tenant, TicketId},
};

/// The kinds of activity, in the order of the API.
pub const ACTIVITY_TYPES: [&str; 8] = ["EMAIL", "CALL", "MEETING", "TASK", "NOTE", "SMS", "CHAT", "PUSH"];
/// Where an activity stands, in the order of the API.
pub const ACTIVITY_STATUSES: [&str; 3] = ["PENDING", "COMPLETED", "CANCELLED"];
/// How urgent a ticket is, in the order of the API.
pub const TICKET_PRIORITIES: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "URGENT"];
/// Where a ticket stands, in the order of the API.
pub const TICKET_STATUSES: [&str; 4] = ["OPEN", "PENDING", "RESOLVED", "CLOSED"];
/// How a ticket came, in the order of the API.
pub const TICKET_CHANNELS: [&str; 6] = ["EMAIL", "CHAT", "PHONE", "WEB", "SMS", "PUSH"];

/// What happened with a contact.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Activity` in proto/, under their names")]
pub struct Activity {
    pub id: ActivityId,
    pub tenant: Tenant,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: String,
    pub subject: String,
    /// One of [`ACTIVITY_TYPES`].
    pub kind: String,
    pub contact: Option<String>,
    /// One of [`ACTIVITY_STATUSES`].
    pub status: String,
    pub description: Option<String>,
    pub message: Option<MessageId>,
    /// The event that made it; at most one activity per event.
    pub event: Option<EventId>,
}

/// Something for support to look at.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Ticket` in proto/, under their names")]
pub struct Ticket {
    pub id: TicketId,
    pub tenant: Tenant,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: String,
    pub subject: String,
    pub description: Option<String>,
    /// One of [`TICKET_STATUSES`].
    pub status: String,
    /// One of [`TICKET_PRIORITIES`].
    pub priority: String,
    /// One of [`TICKET_CHANNELS`].
    pub channel: Option<String>,
    pub requester: Option<String>,
    pub message: Option<MessageId>,
    /// The event that made it; at most one ticket per event.
    pub event: Option<EventId>,
}

/// What the rules need to know of a message.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Message` in proto/, under their names")]
pub struct About {
    pub message: MessageId,
    pub tenant: Tenant,
    pub channel: Channel,
    pub sender: Option<String>,
    pub recipient: String,
}

/// The rule on `Message.Sent`.
pub fn activity_on_sent(about: &About, id: ActivityId, event: EventId, now: Timestamp) -> Activity {
    Activity {
        id,
        tenant: about.tenant.clone(),
        version: 1,
        created_at: now,
        updated_at: now,
        created_by: "hook_message_sent".to_owned(),
        subject: format!("{} sent to {}", about.channel.title(), about.recipient),
        kind: about.channel.as_str().to_owned(),
        contact: Some(about.recipient.clone()),
        status: "COMPLETED".to_owned(),
        description: None,
        message: Some(about.message),
        event: Some(event),
    }
}

/// The rule on `Message.Failed`.
pub fn ticket_on_failed(about: &About, id: TicketId, event: EventId, now: Timestamp) -> Ticket {
    Ticket {
        id,
        tenant: about.tenant.clone(),
        version: 1,
        created_at: now,
        updated_at: now,
        created_by: "hook_message_failed".to_owned(),
        subject: format!("Message delivery failed: {}", about.channel.title()),
        description: None,
        status: "OPEN".to_owned(),
        priority: "HIGH".to_owned(),
        channel: Some(about.channel.as_str().to_owned()),
        requester: about.sender.clone(),
        message: Some(about.message),
        event: Some(event),
    }
}
