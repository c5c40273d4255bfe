//! Contacts, devices, activities, tickets, keys.

use std::sync::Arc;

use headlessly_communication::{
    model::{
        Timestamp,
        contact::Contact,
        crm::{Activity, Ticket},
        event::{EventData, NewEvent, kind},
        ids::{EventId, MessageId, Tenant},
    },
    store::{Ack, ApiKey, Clash, ContactWrite, DeviceWrite, Effects, Record, RequestKey, StoreError},
};

use super::data::{Data, broken};

/// Requests forgotten in one call at most.
const PURGE: usize = 5_000;

impl Data {
    pub(crate) fn put_contact(&mut self, write: ContactWrite) -> Result<Ack, StoreError> {
        if let Some(answer) = write.request.as_ref().and_then(|key| self.answered(key)) {
            return answer;
        }
        let contact = write.contact;
        let name = (contact.tenant.clone(), contact.id.clone());
        match self.contacts.get(&name) {
            Some(_) if contact.version == 1 => return Err(StoreError::Clash(Clash::Exists)),
            Some(have) if have.version != contact.version - 1 => {
                return Err(StoreError::Clash(Clash::Version(have.version)));
            }
            None if contact.version != 1 => return Err(StoreError::NotFound),
            Some(_) | None => {}
        }
        self.contacts.insert(name, Contact { devices: Vec::new(), ..contact });
        self.log(write.event);
        self.remember(write.request.as_ref());
        Ok(Ack::Done)
    }

    pub(crate) fn put_device(&mut self, write: DeviceWrite) -> Result<Ack, StoreError> {
        if let Some(answer) = write.request.as_ref().and_then(|key| self.answered(key)) {
            return answer;
        }
        let place = (write.tenant.clone(), write.device.token.clone());
        let mut device = write.device;
        if let Some((_, have)) = self.devices.get(&place) {
            device.id = have.id;
        }
        self.devices.insert(place, (write.contact.clone(), device));
        if let Some(contact) = self.contacts.get_mut(&(write.tenant, write.contact)) {
            contact.version += 1;
            contact.updated_at = write.event.at;
        }
        self.log(write.event);
        self.remember(write.request.as_ref());
        Ok(Ack::Done)
    }

    /// A contact with its devices, newest registration first.
    pub(crate) fn contact(&self, tenant: &Tenant, id: &str) -> Option<Contact> {
        let mut contact = self.contacts.get(&(tenant.clone(), id.to_owned()))?.clone();
        let theirs = self.devices.iter().filter(|((of, _), (person, _))| of == tenant && person == id);
        contact.devices = theirs.map(|(_, (_, device))| device.clone()).collect();
        contact.devices.sort_by_key(|device| std::cmp::Reverse((device.registered_at, device.id)));
        Some(contact)
    }

    pub(crate) fn contacts(&self, tenant: &Tenant, ids: &[&str]) -> Vec<Arc<Contact>> {
        ids.iter().filter_map(|id| self.contact(tenant, id)).map(Arc::new).collect()
    }

    pub(crate) fn put_record(
        &mut self,
        record: Record,
        request: Option<&RequestKey>,
    ) -> Result<Ack, StoreError> {
        if let Some(answer) = request.and_then(|key| self.answered(key)) {
            return answer;
        }
        match record {
            Record::Activity(activity) if self.fits(std::slice::from_ref(&activity), &[]) => {
                self.add_activity(activity);
            }
            Record::Ticket(ticket) if self.fits(&[], std::slice::from_ref(&ticket)) => {
                self.add_ticket(ticket);
            }
            Record::Activity(_) | Record::Ticket(_) => return Err(broken()),
        }
        self.remember(request);
        Ok(Ack::Done)
    }

    /// An event makes one activity and one ticket at most; an id is used once.
    fn fits(&self, activities: &[Activity], tickets: &[Ticket]) -> bool {
        let made_activity = |event| self.activities.values().any(|one| one.event == event);
        let made_ticket = |event| self.tickets.values().any(|one| one.event == event);
        activities.iter().all(|one| {
            !self.activities.contains_key(&one.id.0) && (one.event.is_none() || !made_activity(one.event))
        }) && tickets.iter().all(|one| {
            !self.tickets.contains_key(&one.id.0) && (one.event.is_none() || !made_ticket(one.event))
        })
    }

    fn add_activity(&mut self, activity: Activity) {
        let (target, entity) = (activity.id.to_string(), activity.id.0);
        let (status, message) = (activity.status.clone(), activity.message);
        self.log(NewEvent {
            kind: kind::ACTIVITY_CREATED,
            tenant: activity.tenant.clone(),
            target,
            entity,
            actor: activity.created_by.clone(),
            at: activity.created_at,
            version: activity.version,
            data: made(status, message),
        });
        self.activities.insert(entity, activity);
    }

    fn add_ticket(&mut self, ticket: Ticket) {
        let (target, entity) = (ticket.id.to_string(), ticket.id.0);
        let (status, message) = (ticket.status.clone(), ticket.message);
        self.log(NewEvent {
            kind: kind::TICKET_CREATED,
            tenant: ticket.tenant.clone(),
            target,
            entity,
            actor: ticket.created_by.clone(),
            at: ticket.created_at,
            version: ticket.version,
            data: made(status, message),
        });
        self.tickets.insert(entity, ticket);
    }

    pub(crate) fn put_effects(&mut self, effects: Effects) -> Result<(), StoreError> {
        let place = self.consumer(effects.consumer);
        if place != effects.from {
            return Err(StoreError::Clash(Clash::Version(place)));
        }
        if !self.fits(&effects.activities, &effects.tickets) {
            return Err(broken());
        }
        self.consumers.insert(effects.consumer.to_owned(), effects.to);
        effects.activities.into_iter().for_each(|one| self.add_activity(one));
        effects.tickets.into_iter().for_each(|one| self.add_ticket(one));
        Ok(())
    }

    pub(crate) fn consumer(&self, name: &str) -> i64 {
        self.consumers.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn last_event(&self) -> EventId {
        EventId(self.events.len() as i64)
    }

    pub(crate) fn put_key(&mut self, key: ApiKey) -> Result<(), StoreError> {
        if self.keys.values().any(|have| have.hash == key.hash && have.id != key.id) {
            return Err(broken());
        }
        let revoked_at = key.revoked_at;
        self.keys.entry(key.id.0).or_insert(key).revoked_at = revoked_at;
        Ok(())
    }

    pub(crate) fn purge_requests(&mut self, before: Timestamp) -> u64 {
        let old = self.requests.iter().filter(|(_, (_, _, at))| *at < before);
        let old: Vec<_> = old.map(|(name, _)| name.clone()).take(PURGE).collect();
        old.iter().for_each(|name| drop(self.requests.remove(name)));
        old.len() as u64
    }
}

fn made(status: String, message: Option<MessageId>) -> EventData {
    EventData { status: Some(status), message: message.map(|id| id.to_string()), ..EventData::default() }
}
