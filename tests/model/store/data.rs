//! The tables.

use std::collections::BTreeMap;

use headlessly_communication::{
    model::{
        Timestamp,
        contact::{Contact, Device},
        crm::{Activity, Ticket},
        event::{Event, NewEvent},
        ids::{EventId, MessageId, Tenant},
        message::Message,
        verbs::{By, Queued, Row, Step, apply},
    },
    store::{Ack, ApiKey, Clash, NewAttempt, NewReceipt, RequestKey, StoreError, load::Weight},
};

use super::After;

/// A try with the message it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) message: MessageId,
    pub(crate) generation: i32,
    pub(crate) attempt: NewAttempt,
    pub(crate) ended_at: Timestamp,
    pub(crate) orphan: bool,
}

/// What became of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Waiting,
    Applied,
    Parked,
    Ignored,
}

/// A receipt and the message it is about, as far as that is known.
#[derive(Clone, Debug)]
pub(crate) struct Reported {
    pub(crate) new: NewReceipt,
    pub(crate) settled: Settled,
    pub(crate) message: Option<MessageId>,
}

/// An answer that was given: the hash of its request, the result, the time.
pub(crate) type Answered = ([u8; 32], String, Timestamp);

/// Everything that is durable.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) messages: BTreeMap<MessageId, Message>,
    pub(crate) queue: BTreeMap<MessageId, Queued>,
    pub(crate) events: Vec<Event>,
    pub(crate) attempts: BTreeMap<i64, Tried>,
    pub(crate) receipts: BTreeMap<i64, Reported>,
    pub(crate) requests: BTreeMap<(Tenant, &'static str, String), Answered>,
    pub(crate) consumers: BTreeMap<String, i64>,
    pub(crate) contacts: BTreeMap<(Tenant, String), Contact>,
    /// By tenant and token, with the person.
    pub(crate) devices: BTreeMap<(Tenant, String), (String, Device)>,
    pub(crate) activities: BTreeMap<i64, Activity>,
    pub(crate) tickets: BTreeMap<i64, Ticket>,
    pub(crate) keys: BTreeMap<i64, ApiKey>,
}

/// What a database says when a wall in it was hit.
pub(crate) fn broken() -> StoreError {
    StoreError::Unavailable("a constraint".to_owned())
}

impl Data {
    pub(crate) fn log(&mut self, event: NewEvent) {
        let id = EventId(self.events.len() as i64 + 1);
        let NewEvent { kind, tenant, target, entity: _, actor, at, version, data } = event;
        self.events.push(Event { id, kind: kind.to_owned(), tenant, target, actor, at, version, data });
    }

    /// What waits, of whom.
    pub(crate) fn waiting(&self) -> BTreeMap<Tenant, Weight> {
        let mut waiting: BTreeMap<Tenant, Weight> = BTreeMap::new();
        for (message, queued) in self.queue.iter().filter_map(|(id, it)| Some((self.messages.get(id)?, it))) {
            let theirs = waiting.entry(message.state.tenant.clone()).or_default();
            *theirs = theirs.plus(Weight { messages: 1, bytes: queued.bytes });
        }
        waiting
    }

    pub(crate) fn row(&self, id: MessageId) -> Option<Row> {
        let state = self.messages.get(&id)?.state.clone();
        Some(Row { state, queued: self.queue.get(&id).cloned() })
    }

    /// What a request was answered before.
    pub(crate) fn answered(&self, key: &RequestKey) -> Option<Result<Ack, StoreError>> {
        let name = (key.tenant.clone(), key.method, key.request_id.clone());
        let (hash, result, _) = self.requests.get(&name)?;
        Some(if *hash == key.hash {
            Ok(Ack::Replayed(result.clone()))
        } else {
            Err(StoreError::Clash(Clash::RequestId))
        })
    }

    pub(crate) fn remember(&mut self, key: Option<&RequestKey>) {
        if let Some(key) = key {
            let name = (key.tenant.clone(), key.method, key.request_id.clone());
            self.requests.insert(name, (key.hash, key.result.clone(), key.now));
        }
    }

    /// Applies a step of the service itself.
    pub(crate) fn step(
        &mut self,
        id: MessageId,
        step: &Step,
        (now, actor): (Timestamp, &str),
        after: &mut After,
    ) -> Option<Row> {
        let before = self.row(id)?;
        let mut row = before.clone();
        let by = By { now, actor, limits: &after.limits };
        let events = apply(&mut row, step, by).ok()?;
        self.save(&before, &row, events, after);
        Some(row)
    }

    /// Writes a row that a step has changed, with its events.
    pub(crate) fn save(&mut self, before: &Row, row: &Row, events: Vec<NewEvent>, after: &mut After) {
        let id = row.state.id;
        if let Some(message) = self.messages.get_mut(&id) {
            message.state = row.state.clone();
            // The body of a sensitive message goes with its hand-off.
            if row.state.sensitive && !before.state.facts.is_out() && row.state.facts.is_out() {
                message.content.body.clear();
                message.content.html_body = None;
                message.content.attachments.clear();
            }
        }
        match &row.queued {
            Some(queued) => {
                self.queue.insert(id, queued.clone());
                after.wakes.extend(row.state.channel);
            }
            None => {
                self.queue.remove(&id);
            }
        }
        events.into_iter().for_each(|event| self.log(event));
    }
}
