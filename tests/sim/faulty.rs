//! The store as a node has it: calls that are slow, fail before their effect, or fail after it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use headlessly_communication::{
    clock::Clock,
    model::{
        Channel, Timestamp,
        contact::Contact,
        crm::{About, Activity, Ticket},
        event::Event,
        ids::{ActivityId, ApiKeyId, EventId, MessageId, Tenant, TicketId},
        limits::Limits,
        message::Message,
        verbs::{Outcome, Row, Step, Verdict, Wait},
    },
    store::{
        Accept, Ack, ApiKey, Applied, Attempt, Change, Changed, Claim, Claimed, ContactWrite, DeviceWrite,
        Effects, EventQuery, FindQuery, NewReceipt, Page, QueueDepth, Reads, ReceiptRow, Record, RequestKey,
        Rewrite, Store, StoreError, Swept, Taker, Writes, load::Load,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    gate::Gate,
    store::ModelStore,
    world::{World, pause},
};

/// A node's store.
pub(crate) struct Faulty {
    model: ModelStore,
    world: Arc<World>,
    gate: Arc<Gate>,
    /// Several nodes share the store: nobody takes back what is not over.
    several: bool,
}

fn away() -> StoreError {
    StoreError::Unavailable("the way to the store is cut".to_owned())
}

impl Faulty {
    pub(crate) fn new(world: Arc<World>, gate: Arc<Gate>, several: bool) -> Self {
        Self { model: ModelStore::over(world.shared.clone()), world, gate, several }
    }

    /// How long the way to the store takes: mostly nothing, at times longer than a lease.
    fn way(&self) -> Duration {
        match self.world.number(0..1_000) {
            0..=79 if self.world.wrong(1_000) => self.world.millis(1..80),
            80..=89 if self.world.wrong(1_000) => self.world.millis(80..4_000),
            90..=91 if self.world.wrong(1_000) => self.world.millis(4_000..40_000),
            _ => Duration::ZERO,
        }
    }

    async fn travel(&self) {
        self.gate.pass().await;
        let way = self.way();
        if !way.is_zero() {
            pause(way).await;
            self.gate.pass().await;
        }
    }

    async fn call<T>(
        &self,
        what: &'static str,
        number: i64,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.travel().await;
        if self.world.wrong(15) {
            self.world.note(what, number, -1);
            return Err(away());
        }
        let result = work.await;
        self.world.note(what, number, if result.is_ok() { 1 } else { 0 });
        self.travel().await;
        if self.world.wrong(10) {
            self.world.note(what, number, -2);
            return Err(away());
        }
        result
    }

    async fn look<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.travel().await;
        if self.world.wrong(10) {
            return Err(away());
        }
        work.await
    }

    /// Remembers whose claims these are.
    fn claimed(&self, ids: impl Iterator<Item = MessageId>) {
        let data = self.model.shared().data();
        let mut books = self.world.books();
        for id in ids {
            if let Some(queued) = data.queue.get(&id).filter(|queued| queued.wait == Wait::Leased) {
                books.claimed.insert((id, queued.epoch), self.gate.life);
            }
        }
    }
}

#[async_trait]
impl Writes for Faulty {
    async fn accept(&self, accept: Accept) -> Result<Ack, StoreError> {
        let ids: Vec<MessageId> = accept.messages.iter().map(|new| new.message.state.id).collect();
        let work = async {
            let done = self.model.accept(accept).await;
            self.claimed(ids.iter().copied());
            done
        };
        self.call("accept", ids.first().map_or(0, |id| id.0), work).await
    }

    async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        if let Step::Outcome(Outcome { verdict: Verdict::Paced { .. }, .. }) = &change.step {
            self.world.note("paced", change.id.0, 0);
        }
        self.call("change", change.id.0, self.model.change(change)).await
    }

    async fn rewrite(&self, rewrite: Rewrite) -> Result<Changed, StoreError> {
        self.call("rewrite", rewrite.id.0, self.model.rewrite(rewrite)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, StoreError> {
        let work = async {
            let claimed = self.model.claim(claim).await?;
            self.claimed(claimed.iter().map(|one| one.message.state.id));
            Ok(claimed)
        };
        self.call("claim", claim.limit, work).await
    }

    async fn renew(&self, leases: Vec<(MessageId, i64)>, until: Timestamp) -> Result<(), StoreError> {
        self.call("renew", leases.len() as i64, self.model.renew(leases, until)).await
    }

    async fn sweep(&self, now: Timestamp, all: bool) -> Result<Swept, StoreError> {
        let all = all && !self.several;
        self.call("sweep", i64::from(all), self.model.sweep(now, all)).await
    }

    async fn release(&self, leases: Vec<(MessageId, i64)>, now: Timestamp) -> Result<usize, StoreError> {
        self.call("release", leases.len() as i64, self.model.release(leases, now)).await
    }

    async fn probe(&self, now: Timestamp) -> Result<(), StoreError> {
        self.call("probe", 0, self.model.probe(now)).await
    }

    async fn put_receipts(&self, receipts: Vec<NewReceipt>) -> Result<(), StoreError> {
        self.call("receipts", receipts.len() as i64, self.model.put_receipts(receipts)).await
    }

    async fn apply_receipts(&self, now: Timestamp, limit: i64) -> Result<Applied, StoreError> {
        self.call("apply", limit, self.model.apply_receipts(now, limit)).await
    }

    async fn put_effects(&self, effects: Effects) -> Result<(), StoreError> {
        self.call("effects", effects.to, self.model.put_effects(effects)).await
    }

    async fn put_contact(&self, write: ContactWrite) -> Result<Ack, StoreError> {
        self.call("contact", 0, self.model.put_contact(write)).await
    }

    async fn put_device(&self, write: DeviceWrite) -> Result<Ack, StoreError> {
        self.call("device", 0, self.model.put_device(write)).await
    }

    async fn put_record(&self, record: Record, request: Option<RequestKey>) -> Result<Ack, StoreError> {
        self.call("record", 0, self.model.put_record(record, request)).await
    }

    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        self.call("key", key.id.0, self.model.put_key(key)).await
    }

    async fn purge_requests(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.call("purge", 0, self.model.purge_requests(before)).await
    }
}

#[async_trait]
impl Reads for Faulty {
    async fn message(&self, tenant: &Tenant, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.look(self.model.message(tenant, id)).await
    }

    async fn find_messages(&self, query: FindQuery) -> Result<Page<Message>, StoreError> {
        self.look(self.model.find_messages(query)).await
    }

    async fn request(&self, key: &RequestKey) -> Result<Option<String>, StoreError> {
        self.look(self.model.request(key)).await
    }

    async fn row(&self, id: MessageId) -> Result<Option<Row>, StoreError> {
        self.look(self.model.row(id)).await
    }

    async fn about(&self, ids: &[MessageId]) -> Result<Vec<About>, StoreError> {
        self.look(self.model.about(ids)).await
    }

    async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>, StoreError> {
        self.look(self.model.attempts(id)).await
    }

    async fn receipts(&self, id: MessageId) -> Result<Vec<ReceiptRow>, StoreError> {
        self.look(self.model.receipts(id)).await
    }

    async fn contacts(&self, tenant: &Tenant, ids: &[&str]) -> Result<Vec<Arc<Contact>>, StoreError> {
        self.look(self.model.contacts(tenant, ids)).await
    }

    async fn find_contacts(&self, query: FindQuery) -> Result<Page<Contact>, StoreError> {
        self.look(self.model.find_contacts(query)).await
    }

    async fn activity(&self, tenant: &Tenant, id: ActivityId) -> Result<Option<Activity>, StoreError> {
        self.look(self.model.activity(tenant, id)).await
    }

    async fn find_activities(&self, query: FindQuery) -> Result<Page<Activity>, StoreError> {
        self.look(self.model.find_activities(query)).await
    }

    async fn ticket(&self, tenant: &Tenant, id: TicketId) -> Result<Option<Ticket>, StoreError> {
        self.look(self.model.ticket(tenant, id)).await
    }

    async fn find_tickets(&self, query: FindQuery) -> Result<Page<Ticket>, StoreError> {
        self.look(self.model.find_tickets(query)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        self.look(self.model.events(query)).await
    }

    async fn last_event(&self) -> Result<EventId, StoreError> {
        self.look(self.model.last_event()).await
    }

    async fn consumer(&self, name: &str) -> Result<i64, StoreError> {
        self.look(self.model.consumer(name)).await
    }

    async fn depth(&self, channel: Channel) -> Result<QueueDepth, StoreError> {
        self.look(self.model.depth(channel)).await
    }

    async fn key_by_hash(&self, hash: &[u8]) -> Result<Option<ApiKey>, StoreError> {
        self.look(self.model.key_by_hash(hash)).await
    }

    async fn keys(&self, tenant: &Tenant) -> Result<Vec<ApiKey>, StoreError> {
        self.look(self.model.keys(tenant)).await
    }

    async fn key(&self, tenant: &Tenant, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        self.look(self.model.key(tenant, id)).await
    }
}

#[async_trait]
impl Store for Faulty {
    fn commits(&self) -> tokio::sync::watch::Receiver<u64> {
        self.model.commits()
    }

    fn receipts_waiting(&self) -> tokio::sync::watch::Receiver<u64> {
        self.model.receipts_waiting()
    }

    fn attach(&self, taker: Arc<dyn Taker>) {
        self.model.attach(taker);
    }

    fn queued(&self) -> i64 {
        self.model.queued()
    }

    fn load(&self) -> &Arc<Load> {
        self.model.load()
    }

    fn govern(&self, limits: Limits) {
        self.model.govern(limits);
    }

    fn limits(&self) -> Limits {
        self.model.limits()
    }

    fn quarantined(&self) -> u64 {
        self.model.quarantined()
    }

    fn trouble(&self) -> Option<Duration> {
        self.model.trouble()
    }

    fn broken(&self) -> CancellationToken {
        self.model.broken()
    }

    fn clock(&self) -> Clock {
        let world = self.world.clone();
        Arc::new(move || world.now())
    }

    fn node(&self) -> u16 {
        self.model.node()
    }

    fn nodes(&self) -> usize {
        self.model.nodes()
    }

    fn secret(&self) -> &[u8] {
        self.model.secret()
    }

    async fn close(&self) {}
}
