//! What is read. The language of filters has its own agreement test; here a search finds everything of the tenant, newest first.

use std::sync::Arc;

use async_trait::async_trait;
use headlessly_communication::{
    model::{
        Channel,
        contact::Contact,
        crm::{About, Activity, Ticket},
        event::Event,
        ids::{ActivityId, ApiKeyId, EventId, MessageId, Tenant, TicketId},
        message::Message,
        verbs::Row,
    },
    store::{
        Ack, ApiKey, Attempt, EventQuery, FindQuery, Page, QueueDepth, Reads, ReceiptRow, RequestKey,
        StoreError,
    },
};

use super::{ModelStore, data::Tried};

#[async_trait]
impl Reads for ModelStore {
    async fn message(&self, tenant: &Tenant, id: MessageId) -> Result<Option<Message>, StoreError> {
        let found = self.shared.data().messages.get(&id).cloned();
        Ok(found.filter(|message| message.state.tenant == *tenant))
    }

    async fn find_messages(&self, query: FindQuery) -> Result<Page<Message>, StoreError> {
        let data = self.shared.data();
        let theirs = data.messages.values().rev().filter(|one| one.state.tenant == query.tenant);
        Ok(page(theirs.cloned(), query.limit))
    }

    async fn request(&self, key: &RequestKey) -> Result<Option<String>, StoreError> {
        match self.shared.data().answered(key).transpose()? {
            Some(Ack::Replayed(result)) => Ok(Some(result)),
            Some(Ack::Done) | None => Ok(None),
        }
    }

    async fn row(&self, id: MessageId) -> Result<Option<Row>, StoreError> {
        Ok(self.shared.data().row(id))
    }

    async fn about(&self, ids: &[MessageId]) -> Result<Vec<About>, StoreError> {
        let data = self.shared.data();
        let about = |id: &MessageId| {
            let state = &data.messages.get(id)?.state;
            Some(About {
                message: *id,
                tenant: state.tenant.clone(),
                channel: state.channel?,
                sender: state.sender.clone(),
                recipient: state.recipient.clone()?,
            })
        };
        Ok(ids.iter().filter_map(about).collect())
    }

    async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>, StoreError> {
        let data = self.shared.data();
        Ok(data.attempts.values().filter(|tried| tried.message == id).map(attempt).collect())
    }

    async fn receipts(&self, id: MessageId) -> Result<Vec<ReceiptRow>, StoreError> {
        let data = self.shared.data();
        let theirs = data.receipts.values().filter(|one| one.message == Some(id));
        let row = theirs.map(|one| ReceiptRow {
            provider: one.new.provider.to_string(),
            received_at: one.new.received_at,
            kind: one.new.kind.to_owned(),
            at: one.new.at,
            code: one.new.code.clone(),
            detail: one.new.detail.clone(),
        });
        Ok(row.collect())
    }

    async fn contacts(&self, tenant: &Tenant, ids: &[&str]) -> Result<Vec<Arc<Contact>>, StoreError> {
        Ok(self.shared.data().contacts(tenant, ids))
    }

    async fn find_contacts(&self, query: FindQuery) -> Result<Page<Contact>, StoreError> {
        let data = self.shared.data();
        let theirs = data.contacts.keys().rev().filter(|(tenant, _)| *tenant == query.tenant);
        Ok(page(theirs.filter_map(|(tenant, id)| data.contact(tenant, id)), query.limit))
    }

    async fn activity(&self, tenant: &Tenant, id: ActivityId) -> Result<Option<Activity>, StoreError> {
        Ok(self.shared.data().activities.get(&id.0).filter(|one| one.tenant == *tenant).cloned())
    }

    async fn find_activities(&self, query: FindQuery) -> Result<Page<Activity>, StoreError> {
        let data = self.shared.data();
        let theirs = data.activities.values().rev().filter(|one| one.tenant == query.tenant);
        Ok(page(theirs.cloned(), query.limit))
    }

    async fn ticket(&self, tenant: &Tenant, id: TicketId) -> Result<Option<Ticket>, StoreError> {
        Ok(self.shared.data().tickets.get(&id.0).filter(|one| one.tenant == *tenant).cloned())
    }

    async fn find_tickets(&self, query: FindQuery) -> Result<Page<Ticket>, StoreError> {
        let data = self.shared.data();
        let theirs = data.tickets.values().rev().filter(|one| one.tenant == query.tenant);
        Ok(page(theirs.cloned(), query.limit))
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        let data = self.shared.data();
        let after = usize::try_from(query.after).unwrap_or(0).min(data.events.len());
        let wanted = data.events[after..].iter().filter(|event| {
            query.tenant.as_ref().is_none_or(|tenant| event.tenant == *tenant)
                && query.target.as_ref().is_none_or(|target| event.target == *target)
        });
        Ok(wanted.take(usize::try_from(query.limit).unwrap_or(0)).cloned().collect())
    }

    async fn last_event(&self) -> Result<EventId, StoreError> {
        Ok(self.shared.data().last_event())
    }

    async fn consumer(&self, name: &str) -> Result<i64, StoreError> {
        Ok(self.shared.data().consumer(name))
    }

    async fn depth(&self, channel: Channel) -> Result<QueueDepth, StoreError> {
        Ok(self.shared.data().depth(channel))
    }

    async fn key_by_hash(&self, hash: &[u8]) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.shared.data().keys.values().find(|key| key.hash == hash).cloned())
    }

    async fn keys(&self, tenant: &Tenant) -> Result<Vec<ApiKey>, StoreError> {
        let data = self.shared.data();
        Ok(data.keys.values().rev().filter(|key| key.tenant == *tenant).cloned().collect())
    }

    async fn key(&self, tenant: &Tenant, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.shared.data().keys.get(&id.0).filter(|key| key.tenant == *tenant).cloned())
    }
}

fn page<T>(items: impl Iterator<Item = T>, limit: i64) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(0);
    Page { items: items.take(limit).collect(), next_page_token: String::new() }
}

fn attempt(tried: &Tried) -> Attempt {
    let attempt = &tried.attempt;
    Attempt {
        generation: tried.generation,
        provider: attempt.provider.clone(),
        started_at: attempt.started_at,
        ended_at: tried.ended_at,
        outcome: attempt.outcome.to_owned(),
        provider_message_id: attempt.provider_message_id.clone(),
        code: attempt.code.clone(),
        detail: attempt.detail.clone(),
        retry_at: attempt.retry_at,
        orphan: tried.orphan,
    }
}
