//! The message: what a caller may give, what the service knows, and the limits.

use headlessly_providers::contract::Attachment;

use super::{
    Channel, Priority, Reporting, Timestamp,
    ids::{MessageId, Tenant},
    status::{Facts, Status, status},
};

/// The caller's own data.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// Who speaks to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the business.
    #[default]
    Outbound,
    /// To the business.
    Inbound,
    /// Inside it.
    Internal,
}

impl Direction {
    /// All of them, in the order of the API.
    pub const ALL: [Self; 3] = [Self::Outbound, Self::Inbound, Self::Internal];

    /// The name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "OUTBOUND",
            Self::Inbound => "INBOUND",
            Self::Internal => "INTERNAL",
        }
    }
}

/// The lanes by name, in the order of the API.
pub const PRIORITIES: [(Priority, &str); 3] =
    [(Priority::Transactional, "TRANSACTIONAL"), (Priority::Normal, "NORMAL"), (Priority::Bulk, "BULK")];

/// What providers report, by name, in the order of the API.
pub const REPORTINGS: [(Reporting, &str); 3] = [
    (Reporting::None, "NONE"),
    (Reporting::Delivery, "DELIVERY"),
    (Reporting::DeliveryAndRead, "DELIVERY_AND_READ"),
];

/// What a caller may give of a message, checked by [`super::verbs`] and [`crate::service`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Message` in proto/, under their names")]
pub struct Draft {
    pub channel: Option<Channel>,
    pub direction: Direction,
    pub sender: Option<String>,
    pub recipient: Option<String>,
    pub subject: Option<String>,
    pub body: String,
    pub html_body: Option<String>,
    pub attachments: Vec<Attachment>,
    pub headers: Vec<(String, String)>,
    pub metadata: Option<Metadata>,
    pub tags: Vec<String>,
    pub thread: Option<String>,
    pub in_reply_to: Option<String>,
    pub campaign: Option<String>,
    pub ticket: Option<String>,
    pub workflow: Option<String>,
    pub priority: Priority,
    pub scheduled_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub sensitive: bool,
}

/// The part of a message that does not change once it is accepted.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Message` in proto/, under their names")]
pub struct Content {
    pub created_at: Timestamp,
    pub created_by: String,
    pub direction: Direction,
    pub subject: Option<String>,
    pub body: String,
    pub html_body: Option<String>,
    pub attachments: Vec<Attachment>,
    pub headers: Vec<(String, String)>,
    pub metadata: Option<Metadata>,
    pub tags: Vec<String>,
    pub in_reply_to: Option<String>,
    pub ticket: Option<String>,
    pub workflow: Option<String>,
}

/// The part that changes, and what decisions on it need.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Message` in proto/, under their names")]
pub struct State {
    pub id: MessageId,
    pub tenant: Tenant,
    pub version: i64,
    pub updated_at: Timestamp,
    /// `None` only on a draft.
    pub channel: Option<Channel>,
    pub sender: Option<String>,
    /// `None` only on a draft.
    pub recipient: Option<String>,
    pub thread: Option<String>,
    pub campaign: Option<String>,
    pub priority: Priority,
    pub scheduled_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub sensitive: bool,
    pub facts: Facts,
    /// From 1; one more for every Retry.
    pub generation: i32,
    pub provider: Option<String>,
    pub provider_message_id: Option<String>,
    /// Hand-off tries, over all generations.
    pub attempts: i32,
    /// `None` before a provider accepted it.
    pub reporting: Option<Reporting>,
    pub deleted_at: Option<Timestamp>,
}

impl State {
    /// Where it stands.
    pub fn status(&self) -> Status {
        // A draft without a channel has no facts that a channel could matter to.
        status(&self.facts, self.channel.unwrap_or(Channel::Email))
    }

    /// Whether it can change no more by itself: what `until_final` and `wait_until` wait for.
    pub fn is_final(&self) -> bool {
        match self.status() {
            Status::Read | Status::Failed | Status::Cancelled | Status::Expired => true,
            Status::Delivered => true,
            Status::Sent => self.reporting == Some(Reporting::None),
            Status::Draft | Status::Scheduled | Status::Queued => false,
        }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What changes.
    pub state: State,
    /// What does not.
    pub content: Content,
}

impl Message {
    /// Bytes of its content, as far as they count: texts and files.
    pub fn bytes(&self) -> i64 {
        let content = &self.content;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let files: usize = content.attachments.iter().map(|file| file.content.len()).sum();
        let bytes = content.body.len() + text(&content.subject) + text(&content.html_body) + files;
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    /// A draft as it is first stored.
    pub fn new(draft: Draft, id: MessageId, tenant: Tenant, now: Timestamp, actor: &str) -> Self {
        let state = State {
            id,
            tenant,
            version: 1,
            updated_at: now,
            channel: draft.channel,
            sender: draft.sender,
            recipient: draft.recipient,
            thread: draft.thread,
            campaign: draft.campaign,
            priority: draft.priority,
            scheduled_at: draft.scheduled_at,
            expires_at: draft.expires_at,
            sensitive: draft.sensitive,
            facts: Facts::default(),
            generation: 1,
            provider: None,
            provider_message_id: None,
            attempts: 0,
            reporting: None,
            deleted_at: None,
        };
        let content = Content {
            created_at: now,
            created_by: actor.to_owned(),
            direction: draft.direction,
            subject: draft.subject,
            body: draft.body,
            html_body: draft.html_body,
            attachments: draft.attachments,
            headers: draft.headers,
            metadata: draft.metadata,
            tags: draft.tags,
            in_reply_to: draft.in_reply_to,
            ticket: draft.ticket,
            workflow: draft.workflow,
        };
        Self { state, content }
    }
}
