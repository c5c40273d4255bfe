//! What goes in and out of the store.

use std::{fmt, sync::Arc, time::Duration};

use crate::model::{
    Channel, Priority, Timestamp,
    contact::{Contact, Device},
    crm::{Activity, Ticket},
    event::NewEvent,
    filter::{Filter, FilterError, Order},
    ids::{ApiKeyId, MessageId, Tenant},
    message::{Draft, Message},
    verbs::{Queued, Refusal, Row, Step},
};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such thing, or another tenant's.
    #[error("not found")]
    NotFound,
    /// The state does not allow the step.
    #[error("the state does not allow it: {0:?}")]
    Refused(Refusal, Box<Row>),
    /// Something else stands in the way.
    #[error("{0}")]
    Clash(Clash),
    /// A filter, an order or a page token is not of the language.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A row cannot be read.
    #[error("a stored row cannot be read: {0}")]
    Corrupt(String),
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The disk did not keep what was written to it: whether earlier writes hold is known only after a new start.
    #[error("the disk failed: {0}")]
    Broken(String),
    /// The database cannot be used now.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
}

/// What stands in the way of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The request id was used with another content.
    RequestId,
    /// The id is taken.
    Exists,
    /// The stored version is another one.
    Version(i64),
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestId => f.write_str("the request id was used with another content"),
            Self::Exists => f.write_str("the id is taken"),
            Self::Version(version) => write!(f, "the stored version is {version}"),
        }
    }
}

/// Makes a repeated request recognisable.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// Whose request.
    pub tenant: Tenant,
    /// `Message.Send`.
    pub method: &'static str,
    /// The caller's.
    pub request_id: String,
    /// SHA-256 of the content of the request.
    pub hash: [u8; 32],
    /// What to answer a repetition with: ids, as JSON.
    pub result: String,
    /// Now.
    pub now: Timestamp,
}

impl RequestKey {
    /// Whether both are of the same name, whatever they ask for.
    pub fn is_twin(&self, other: &Self) -> bool {
        (&self.tenant, self.method, &self.request_id) == (&other.tenant, other.method, &other.request_id)
    }
}

/// What became of a keyed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Done.
    Done,
    /// Done before, by the same request; its result.
    Replayed(String),
}

/// One message to store.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// With all its parts.
    pub message: Arc<Message>,
    /// Its place in the queue; `None` for a draft.
    pub queued: Option<Queued>,
    /// Its first events.
    pub events: Vec<NewEvent>,
}

/// Messages to store together.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// In order.
    pub messages: Vec<NewMessage>,
    /// The request.
    pub request: Option<RequestKey>,
}

/// Where a claimed message goes: called once, right after the commit that claimed it.
pub type Slot = Box<dyn FnOnce(Claimed) + Send>;

/// When a message may go beside others of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nobody counts.
    Free,
    /// Now, and it is its turn.
    Now,
    /// At this time, which is its own.
    At(Timestamp),
}

/// The one who hands messages off, as the store sees it.
pub trait Taker: Send + Sync {
    /// A place for a message that is about to be stored and is due, if one is free: then it is stored as claimed, and handed over in
    /// memory straight after the commit. The lease ends `lease` after the claim.
    fn reserve(&self, channel: Channel, priority: Priority) -> Option<(Slot, Duration)>;

    /// The turn of a message of this sender that is about to be stored and is due.
    fn book(&self, channel: Channel, sender: Option<&str>) -> Turn;

    /// A message of this channel became ready, or its time moved.
    fn wake(&self, channel: Channel);
}

/// A step for one message.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose message; `None` for the service's own steps.
    pub tenant: Option<Tenant>,
    /// Which.
    pub id: MessageId,
    /// What.
    pub step: Step,
    /// By whom.
    pub actor: Arc<str>,
    /// Now.
    pub now: Timestamp,
    /// The request.
    pub request: Option<RequestKey>,
    /// The try that led to an outcome.
    pub attempt: Option<NewAttempt>,
    /// A push token that is dead, and why.
    pub retire: Option<(String, String)>,
    /// Addressing that was settled with the step ([`Step::Send`] of a draft).
    pub recipient: Option<String>,
    /// Bytes of the content that waits from now on, where the step puts it into the queue.
    pub bytes: Option<i64>,
}

impl Change {
    /// A step of the service itself.
    pub fn internal(id: MessageId, step: Step, actor: Arc<str>, now: Timestamp) -> Self {
        Self {
            tenant: None,
            id,
            step,
            actor,
            now,
            request: None,
            attempt: None,
            retire: None,
            recipient: None,
            bytes: None,
        }
    }
}

/// What a change led to.
#[derive(Clone, Debug)]
pub enum Changed {
    /// The row after it.
    Done(Box<Row>),
    /// The same request did it before; its result.
    Replayed(String),
}

/// A new content for a draft or scheduled message.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub id: MessageId,
    /// The whole new content.
    pub draft: Draft,
    /// The version it was made from.
    pub version: i64,
    /// By whom.
    pub actor: Arc<str>,
    /// Now.
    pub now: Timestamp,
    /// The request.
    pub request: Option<RequestKey>,
}

/// A wish for due messages.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Of this channel.
    pub channel: Channel,
    /// At most.
    pub limit: i64,
    /// Due by now.
    pub now: Timestamp,
    /// End of the lease.
    pub lease_until: Timestamp,
}

/// A message under a lease.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// With all its parts.
    pub message: Arc<Message>,
    /// Its place, with the epoch of the claim.
    pub queued: Queued,
}

/// One hand-off try, as it ended.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the columns of `attempt`, under their names")]
pub struct NewAttempt {
    pub id: i64,
    pub provider: String,
    pub epoch: i64,
    pub started_at: Timestamp,
    pub outcome: &'static str,
    pub provider_message_id: Option<String>,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub retry_at: Option<Timestamp>,
}

/// One hand-off try, as it is stored.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the columns of `attempt`, under their names")]
pub struct Attempt {
    pub generation: i32,
    pub provider: String,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub outcome: String,
    pub provider_message_id: Option<String>,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub retry_at: Option<Timestamp>,
    pub orphan: bool,
}

/// A receipt to store.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the columns of `receipt`, under their names")]
pub struct NewReceipt {
    pub id: i64,
    pub provider: Arc<str>,
    pub received_at: Timestamp,
    pub kind: &'static str,
    pub message: Option<MessageId>,
    pub provider_message_id: Option<String>,
    pub at: Timestamp,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub data: Option<String>,
}

/// A receipt about a message.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the columns of `receipt`, under their names")]
pub struct ReceiptRow {
    pub provider: String,
    pub received_at: Timestamp,
    pub kind: String,
    pub at: Timestamp,
    pub code: Option<String>,
    pub detail: Option<String>,
}

/// What applying receipts did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "counts, by what became of the receipts")]
pub struct Applied {
    pub applied: usize,
    pub parked: usize,
    pub ignored: usize,
}

impl Applied {
    /// How many were looked at.
    pub const fn total(self) -> usize {
        self.applied + self.parked + self.ignored
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases given back.
    pub released: usize,
    /// Waits ended: expired, or held without a report.
    pub ended: usize,
}

/// What a consumer made of a stretch of the log.
#[derive(Clone, Debug)]
pub struct Effects {
    /// The consumer.
    pub consumer: &'static str,
    /// Where it was; the write is refused when it is not there any more.
    pub from: i64,
    /// Where it is now.
    pub to: i64,
    /// New activities, each with the event that made it.
    pub activities: Vec<Activity>,
    /// New tickets, each with the event that made it.
    pub tickets: Vec<Ticket>,
}

/// A contact to write.
#[derive(Clone, Debug)]
pub struct ContactWrite {
    /// The whole contact; its version is that of before plus one, 1 for a new one.
    pub contact: Contact,
    /// What to log.
    pub event: NewEvent,
    /// The request.
    pub request: Option<RequestKey>,
}

/// A device to write.
#[derive(Clone, Debug)]
pub struct DeviceWrite {
    /// Whose.
    pub tenant: Tenant,
    /// The person.
    pub contact: String,
    /// The whole device.
    pub device: Device,
    /// What to log.
    pub event: NewEvent,
    /// The request.
    pub request: Option<RequestKey>,
}

/// A search.
#[derive(Clone, Debug)]
pub struct FindQuery {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub filter: Filter,
    /// In which order; newest first when empty.
    pub order: Order,
    /// How many at most.
    pub limit: i64,
    /// The page before ended here; empty for the first.
    pub page_token: String,
    /// Deleted ones too.
    pub include_deleted: bool,
}

/// A page of a search.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// For the next page; empty on the last.
    pub next_page_token: String,
}

/// A stretch of the log.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// Whose; `None` for the service's own consumers.
    pub tenant: Option<Tenant>,
    /// After this place.
    pub after: i64,
    /// How many at most.
    pub limit: i64,
    /// Only about this entity.
    pub target: Option<String>,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// The earliest time at which a waiting message is due.
    pub next_due: Option<Timestamp>,
}

/// An API key without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of `ApiKey` in proto/, under their names")]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub tenant: Tenant,
    pub name: String,
    pub hash: Vec<u8>,
    pub prefix: String,
    /// Bits: 1 send, 2 read, 4 admin.
    pub scopes: i16,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}
