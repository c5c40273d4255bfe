//! The one place where stages meet: what is written here survives a power cut, what is not written here did not happen.
//!
//! [`Writes`] and [`Reads`] are the contract; `sql/` is the implementation, one set of queries compiled once for each database.
//! Every write is one transaction, shared with whatever else arrives at the same moment (group commit). Time and ids are
//! arguments.

mod fair;
pub mod find;
pub mod postgres;
mod schema;
pub mod sqlite;
pub mod types;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    clock::Clock,
    model::{
        Channel, Timestamp,
        contact::Contact,
        crm::{About, Activity, Ticket},
        event::Event,
        ids::{ActivityId, ApiKeyId, EventId, MessageId, Tenant, TicketId},
        message::Message,
        verbs::Row,
    },
};
pub use types::{
    Accept, Ack, ApiKey, Applied, Attempt, Change, Changed, Claim, Claimed, Clash, ContactWrite, DeviceWrite,
    Effects, EventQuery, FindQuery, NewAttempt, NewMessage, NewReceipt, Page, QueueDepth, ReceiptRow,
    RequestKey, Rewrite, Slot, StoreError, Swept, Taker,
};

/// What changes the store. Each call is atomic and durable when it returns; dropping the call does not undo it.
#[async_trait]
pub trait Writes: Send + Sync {
    /// Stores messages with their places in the queue, their events and the key of the request: all or nothing.
    async fn accept(&self, accept: Accept) -> Result<Ack, StoreError>;

    /// Applies a step of [`crate::model::verbs`] to one message.
    async fn change(&self, change: Change) -> Result<Changed, StoreError>;

    /// Replaces what a caller may edit of a draft or scheduled message.
    async fn rewrite(&self, rewrite: Rewrite) -> Result<Changed, StoreError>;

    /// Takes due messages of one channel out of the queue, the first lanes first, under a lease.
    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, StoreError>;

    /// Extends leases that are still held.
    async fn renew(&self, leases: Vec<(MessageId, i64)>, until: Timestamp) -> Result<(), StoreError>;

    /// Gives back leases that ran out (every lease with `all`, for a start after a crash), ends waits that are over.
    async fn sweep(&self, now: Timestamp, all: bool) -> Result<Swept, StoreError>;

    /// Stores receipts, applied in the same transaction where their message is known. What is left waits for [`Writes::apply_receipts`].
    async fn put_receipts(&self, receipts: Vec<NewReceipt>) -> Result<(), StoreError>;

    /// Applies up to `limit` receipts that were left: inbound messages, and those whose message became known since, in the order of arrival.
    async fn apply_receipts(&self, now: Timestamp, limit: i64) -> Result<Applied, StoreError>;

    /// Writes what a consumer of the log made of some events, and how far it came.
    async fn put_effects(&self, effects: Effects) -> Result<(), StoreError>;

    /// Creates, replaces or deletes a contact.
    async fn put_contact(&self, write: ContactWrite) -> Result<Ack, StoreError>;

    /// Registers or retires a device.
    async fn put_device(&self, write: DeviceWrite) -> Result<Ack, StoreError>;

    /// Creates an activity or a ticket.
    async fn put_record(&self, record: Record, request: Option<RequestKey>) -> Result<Ack, StoreError>;

    /// Creates an API key, or replaces it (to revoke it).
    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError>;

    /// Forgets requests from before this time.
    async fn purge_requests(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// A record of another domain.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the kinds of record, by name")]
pub enum Record {
    Activity(Activity),
    Ticket(Ticket),
}

/// What is read. Sees everything that was committed before the call.
#[async_trait]
pub trait Reads: Send + Sync {
    /// A message with all its parts.
    async fn message(&self, tenant: &Tenant, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// Messages without the content of their files.
    async fn find_messages(&self, query: FindQuery) -> Result<Page<Message>, StoreError>;

    /// What a request was answered before; `None` when it is new.
    ///
    /// # Errors
    /// [`Clash::RequestId`] when the id was used for another content.
    async fn request(&self, key: &RequestKey) -> Result<Option<String>, StoreError>;

    /// A message's state and place in the queue, whoever it belongs to.
    async fn row(&self, id: MessageId) -> Result<Option<Row>, StoreError>;

    /// What the built-in rules need of these messages, whoever they belong to.
    async fn about(&self, ids: &[MessageId]) -> Result<Vec<About>, StoreError>;

    /// The hand-off tries of a message, oldest first.
    async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>, StoreError>;

    /// What was reported about a message, oldest first.
    async fn receipts(&self, id: MessageId) -> Result<Vec<ReceiptRow>, StoreError>;

    /// Contacts by id, those that exist, deleted ones too.
    async fn contacts(&self, tenant: &Tenant, ids: &[&str]) -> Result<Vec<Arc<Contact>>, StoreError>;

    /// Contacts by filter.
    async fn find_contacts(&self, query: FindQuery) -> Result<Page<Contact>, StoreError>;

    /// An activity.
    async fn activity(&self, tenant: &Tenant, id: ActivityId) -> Result<Option<Activity>, StoreError>;

    /// Activities by filter.
    async fn find_activities(&self, query: FindQuery) -> Result<Page<Activity>, StoreError>;

    /// A ticket.
    async fn ticket(&self, tenant: &Tenant, id: TicketId) -> Result<Option<Ticket>, StoreError>;

    /// Tickets by filter.
    async fn find_tickets(&self, query: FindQuery) -> Result<Page<Ticket>, StoreError>;

    /// The log in order.
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError>;

    /// The last place in the log that is taken.
    async fn last_event(&self) -> Result<EventId, StoreError>;

    /// How far a consumer of the log came; 0 for a new one.
    async fn consumer(&self, name: &str) -> Result<i64, StoreError>;

    /// When the next message of a channel is due, and how much waits.
    async fn depth(&self, channel: Channel) -> Result<QueueDepth, StoreError>;

    /// The API key with this hash.
    async fn key_by_hash(&self, hash: &[u8]) -> Result<Option<ApiKey>, StoreError>;

    /// The API keys of a tenant, newest first.
    async fn keys(&self, tenant: &Tenant) -> Result<Vec<ApiKey>, StoreError>;

    /// An API key of a tenant.
    async fn key(&self, tenant: &Tenant, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError>;
}

/// Both halves, and what runs beside them.
#[async_trait]
pub trait Store: Reads + Writes {
    /// Changes whenever something was committed that added to the log. Readers of the log wait on it.
    fn commits(&self) -> tokio::sync::watch::Receiver<u64>;

    /// Changes whenever receipts were stored, or parked ones can be applied now.
    fn receipts_waiting(&self) -> tokio::sync::watch::Receiver<u64>;

    /// Names the one who hands messages off. Before that nothing is claimed at the door.
    fn attach(&self, taker: Arc<dyn Taker>);

    /// How many messages wait in the queue, scheduled and held ones too.
    fn queued(&self) -> i64;

    /// The clock that everybody over this store shares: the machine's, or the database's when several nodes are over it.
    fn clock(&self) -> Clock;

    /// The number of this node, which no other node over the store has.
    fn node(&self) -> u16;

    /// How many nodes are over the store, this one among them, as far as is known.
    fn nodes(&self) -> usize;

    /// The secret under which keys are hashed: 32 random bytes that the store keeps.
    fn secret(&self) -> &[u8];

    /// Finishes what was handed in, closes the database and gives up its lock. Every later call fails.
    async fn close(&self);
}
