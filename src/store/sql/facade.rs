//! The store as the rest of the service sees it.

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Db, dialect},
    bulk::{Conn, Script},
    cache::ContactCache,
    entities, read,
    writer::{Answer, Work, Writer},
};
use crate::{
    clock::Clock,
    model::{
        Channel, Timestamp,
        contact::Contact,
        crm::{About, Activity, Ticket},
        event::Event,
        ids::{ActivityId, ApiKeyId, EventId, MessageId, Tenant, TicketId},
        limits::Limits,
        message::Message,
        verbs::Row,
    },
    store::{
        Accept, Ack, ApiKey, Applied, Attempt, Change, Changed, Claim, Claimed, ContactWrite, DeviceWrite,
        Effects, EventQuery, FindQuery, NewReceipt, Page, QueueDepth, Reads, ReceiptRow, Record, RequestKey,
        Rewrite, Store, StoreError, Swept, Taker, Writes, load::Load, space::Space,
    },
};

pub(in super::super) type Pool = sqlx::Pool<Db>;

/// A store in an SQL database.
pub struct SqlStore {
    writer: Writer,
    pool: Pool,
    secret: Vec<u8>,
    contacts: ContactCache,
    peers: dialect::Peers,
    /// The disk it lies on, where it lies on one of this machine.
    space: Option<Arc<Space>>,
    /// What must live until the store is closed: the lock on its file.
    guard: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}

impl SqlStore {
    pub(in super::super) async fn start(
        (link, mut conn): (dialect::Link, Conn),
        pool: Pool,
        peers: dialect::Peers,
        guard: Box<dyn Any + Send + Sync>,
    ) -> Result<Self, StoreError> {
        let mut script = Script::default();
        script.say(&mut conn, dialect::BEGIN).await?;
        script.flush(&mut conn).await?;
        let secret = entities::secret(&mut conn).await?;
        let load = Arc::new(Load::default());
        load.replace(super::load::waiting(&mut conn).await?);
        script.say(&mut conn, link.ending()).await?;
        script.flush(&mut conn).await?;
        let writer = Writer::start(link, conn, load);
        peers.start(&pool, &writer.signals);
        Ok(Self {
            writer,
            peers,
            pool,
            secret,
            contacts: ContactCache::default(),
            space: None,
            guard: Mutex::new(Some(guard)),
        })
    }

    /// With the disk that it lies on.
    #[allow(dead_code, reason = "only a database in a file of this machine has a disk to look at")]
    pub(in super::super) fn on(mut self, space: Arc<Space>) -> Self {
        self.writer.signals.space.set(space.clone()).ok();
        self.space = Some(space);
        self
    }

    /// Refuses new work while the disk has no more room than what has begun may need.
    fn room(&self) -> Result<(), StoreError> {
        if self.space.as_ref().is_some_and(|space| space.is_low()) { Err(StoreError::Full) } else { Ok(()) }
    }

    async fn read(&self) -> Result<sqlx::pool::PoolConnection<Db>, StoreError> {
        self.pool.acquire().await.map_err(dialect::error)
    }
}

/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads with a connection of the pool. One that does not answer in time is given up, and so is the read.
macro_rules! read {
    ($store:ident, $conn:ident => $read:expr) => {{
        let mut reader = $store.read().await?;
        let together = $store.peers.pooler();
        if together {
            sqlx::raw_sql("BEGIN").execute(&mut *reader).await.map_err(dialect::error)?;
        }
        let done = {
            let $conn = &mut *reader;
            tokio::time::timeout(PATIENCE, $read).await
        };
        match done {
            Ok(done) => {
                if together {
                    sqlx::raw_sql(dialect::ending(true))
                        .execute(&mut *reader)
                        .await
                        .map_err(dialect::error)?;
                }
                done
            }
            Err(_) => {
                drop(reader.detach());
                Err(StoreError::Unavailable("the database does not answer".to_owned()))
            }
        }
    }};
}

/// The answer of the kind that this work has.
macro_rules! expect {
    ($answer:expr, $kind:ident) => {
        match $answer {
            Answer::$kind(value) => Ok(value),
            _ => Err(StoreError::Corrupt("the writer answered something else".to_owned())),
        }
    };
}

#[async_trait]
impl Writes for SqlStore {
    async fn accept(&self, accept: Accept) -> Result<Ack, StoreError> {
        self.room()?;
        expect!(self.writer.submit(Work::Accept(accept)).await?, Ack)
    }

    async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        if change.bytes.is_some() {
            self.room()?;
        }
        expect!(self.writer.submit(Work::Change(Box::new(change))).await?, Changed)
    }

    async fn rewrite(&self, rewrite: Rewrite) -> Result<Changed, StoreError> {
        self.room()?;
        expect!(self.writer.submit(Work::Rewrite(Box::new(rewrite))).await?, Changed)
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, StoreError> {
        expect!(self.writer.submit(Work::Claim(claim)).await?, Claimed)
    }

    async fn renew(&self, leases: Vec<(MessageId, i64)>, until: Timestamp) -> Result<(), StoreError> {
        self.writer.submit(Work::Renew(leases, until)).await.map(drop)
    }

    async fn sweep(&self, now: Timestamp, all: bool) -> Result<Swept, StoreError> {
        // Where others are over the store, what is claimed may be theirs.
        let all = all && !dialect::SHARED;
        expect!(self.writer.submit(Work::Sweep(now, all)).await?, Swept)
    }

    async fn release(&self, leases: Vec<(MessageId, i64)>, now: Timestamp) -> Result<usize, StoreError> {
        let released = expect!(self.writer.submit(Work::Release(leases, now)).await?, Swept)?;
        Ok(released.released)
    }

    async fn probe(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writer.submit(Work::Probe(now)).await.map(drop)
    }

    async fn put_receipts(&self, receipts: Vec<NewReceipt>) -> Result<(), StoreError> {
        self.writer.submit(Work::PutReceipts(receipts)).await.map(drop)
    }

    async fn apply_receipts(&self, now: Timestamp, limit: i64) -> Result<Applied, StoreError> {
        expect!(self.writer.submit(Work::ApplyReceipts(now, limit)).await?, Applied)
    }

    async fn put_effects(&self, effects: Effects) -> Result<(), StoreError> {
        self.writer.submit(Work::Effects(Box::new(effects))).await.map(drop)
    }

    async fn put_contact(&self, write: ContactWrite) -> Result<Ack, StoreError> {
        self.room()?;
        expect!(self.writer.submit(Work::Contact(Box::new(write))).await?, Ack)
    }

    async fn put_device(&self, write: DeviceWrite) -> Result<Ack, StoreError> {
        self.room()?;
        expect!(self.writer.submit(Work::Device(Box::new(write))).await?, Ack)
    }

    async fn put_record(&self, record: Record, request: Option<RequestKey>) -> Result<Ack, StoreError> {
        self.room()?;
        expect!(self.writer.submit(Work::Record(Box::new(record), request)).await?, Ack)
    }

    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        self.writer.submit(Work::Key(Box::new(key))).await.map(drop)
    }

    async fn purge_requests(&self, before: Timestamp) -> Result<u64, StoreError> {
        expect!(self.writer.submit(Work::Purge(before)).await?, Count)
    }
}

#[async_trait]
impl Reads for SqlStore {
    async fn message(&self, tenant: &Tenant, id: MessageId) -> Result<Option<Message>, StoreError> {
        let found = read!(self, conn => super::queue::messages(conn, &[id.0]))?.pop();
        Ok(found.filter(|message| message.state.tenant == *tenant))
    }

    async fn find_messages(&self, query: FindQuery) -> Result<Page<Message>, StoreError> {
        read!(self, conn => read::find_messages(conn, query))
    }

    async fn request(&self, key: &RequestKey) -> Result<Option<String>, StoreError> {
        match read!(self, conn => super::insert::answered(conn, key))? {
            None => Ok(None),
            Some(Ok(Ack::Replayed(result))) => Ok(Some(result)),
            Some(Ok(Ack::Done)) => Ok(None),
            Some(Err(clash)) => Err(clash),
        }
    }

    async fn row(&self, id: MessageId) -> Result<Option<Row>, StoreError> {
        read!(self, conn => read::row(conn, id))
    }

    async fn about(&self, ids: &[MessageId]) -> Result<Vec<About>, StoreError> {
        read!(self, conn => read::about(conn, ids))
    }

    async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>, StoreError> {
        read!(self, conn => read::attempts(conn, id))
    }

    async fn receipts(&self, id: MessageId) -> Result<Vec<ReceiptRow>, StoreError> {
        read!(self, conn => read::receipts(conn, id))
    }

    async fn contacts(&self, tenant: &Tenant, ids: &[&str]) -> Result<Vec<Arc<Contact>>, StoreError> {
        let generation = *self.writer.signals.contacts.borrow();
        let (mut found, missing) = self.contacts.get(generation, tenant, ids);
        if !missing.is_empty() {
            let read = read!(self, conn => read::contacts(conn, tenant, &missing))?;
            let read: Vec<Arc<Contact>> = read.into_iter().map(Arc::new).collect();
            // What another node changes is not heard of in time.
            if dialect::SHARED {
                found.extend(read);
                return Ok(found);
            }
            self.contacts.put(generation, *self.writer.signals.contacts.borrow(), &read);
            found.extend(read);
        }
        Ok(found)
    }

    async fn find_contacts(&self, query: FindQuery) -> Result<Page<Contact>, StoreError> {
        read!(self, conn => read::find_contacts(conn, query))
    }

    async fn activity(&self, tenant: &Tenant, id: ActivityId) -> Result<Option<Activity>, StoreError> {
        read!(self, conn => read::activity(conn, tenant, id))
    }

    async fn find_activities(&self, query: FindQuery) -> Result<Page<Activity>, StoreError> {
        read!(self, conn => read::find_activities(conn, query))
    }

    async fn ticket(&self, tenant: &Tenant, id: TicketId) -> Result<Option<Ticket>, StoreError> {
        read!(self, conn => read::ticket(conn, tenant, id))
    }

    async fn find_tickets(&self, query: FindQuery) -> Result<Page<Ticket>, StoreError> {
        read!(self, conn => read::find_tickets(conn, query))
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        // What happens to one entity happens in order; the rest of the log is read as far as it is settled.
        let upto = if query.target.is_some() { i64::MAX } else { self.peers.settled().await? };
        read!(self, conn => read::events(conn, query, upto))
    }

    async fn last_event(&self) -> Result<EventId, StoreError> {
        let settled = self.peers.settled().await?;
        read!(self, conn => read::last_event(conn)).map(|last| last.min(EventId(settled)))
    }

    async fn consumer(&self, name: &str) -> Result<i64, StoreError> {
        read!(self, conn => read::consumer(conn, name))
    }

    async fn depth(&self, channel: Channel) -> Result<QueueDepth, StoreError> {
        read!(self, conn => read::depth(conn, channel))
    }

    async fn key_by_hash(&self, hash: &[u8]) -> Result<Option<ApiKey>, StoreError> {
        read!(self, conn => read::key_by_hash(conn, hash))
    }

    async fn keys(&self, tenant: &Tenant) -> Result<Vec<ApiKey>, StoreError> {
        read!(self, conn => read::keys(conn, tenant))
    }

    async fn key(&self, tenant: &Tenant, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        read!(self, conn => read::key(conn, tenant, id))
    }
}

#[async_trait]
impl Store for SqlStore {
    fn commits(&self) -> watch::Receiver<u64> {
        self.peers.commits(&self.writer.signals)
    }

    fn receipts_waiting(&self) -> watch::Receiver<u64> {
        self.writer.signals.receipts.subscribe()
    }

    fn attach(&self, taker: Arc<dyn Taker>) {
        // A second taker would be a mistake of the composition; the first stays.
        self.writer.signals.taker.set(taker).ok();
    }

    fn load(&self) -> &Arc<Load> {
        &self.writer.signals.load
    }

    fn govern(&self, limits: Limits) {
        // They are named once, by the composition; the first stay.
        self.writer.signals.limits.set(limits).ok();
    }

    fn limits(&self) -> Limits {
        self.writer.signals.limits.get().copied().unwrap_or_default()
    }

    fn queued(&self) -> i64 {
        self.load().all().messages
    }

    fn quarantined(&self) -> u64 {
        self.writer.signals.quarantined.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn trouble(&self) -> Option<Duration> {
        self.writer.signals.trouble()
    }

    fn broken(&self) -> CancellationToken {
        self.writer.signals.broken.clone()
    }

    fn clock(&self) -> Clock {
        self.peers.clock()
    }

    fn node(&self) -> u16 {
        self.peers.node()
    }

    fn nodes(&self) -> usize {
        self.peers.nodes()
    }

    fn secret(&self) -> &[u8] {
        &self.secret
    }

    async fn close(&self) {
        self.peers.stop(&self.pool).await;
        // The readers first: SQLite folds its log into the file when the last connection goes.
        self.pool.close().await;
        self.writer.close().await;
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
