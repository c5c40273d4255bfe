//! Replays a trace on the model and on a database, and compares every answer.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures_util::future::join_all;
use headlessly_communication::{
    model::{
        Channel, Timestamp,
        contact::{Address, Contact, Device},
        crm::About,
        event::kind,
        ids::{DeviceId, MessageId, Tenant},
        verbs::lane,
    },
    store::{
        Claim, Claimed, ContactWrite, DeviceWrite, Effects, EventQuery, Reads as _, Record, Rewrite, Store,
        StoreError, Writes as _,
    },
};

use crate::{
    observe,
    store::{ModelStore, Shared},
    trace::{New, Op, Request, Who},
    world::{self, Turns, World, seconds, tenant},
};

/// The consumer of the log.
pub(crate) const CONSUMER: &str = "trace";

/// A model and a database, side by side.
pub(crate) struct Pair {
    pub(crate) model: ModelStore,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) world: World,
    turns: Arc<Turns>,
    /// No other node may be over the database.
    alone: bool,
}

/// An answer in words. What stands in the way of a database is told in its own words; here it is enough that it does.
pub(crate) fn words<T: Debug>(answer: &Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable(_)) => "Unavailable".to_owned(),
        answer => format!("{answer:?}"),
    }
}

fn same<T: Debug>(model: &Result<T, StoreError>, store: &Result<T, StoreError>) -> Result<(), String> {
    let (model, store) = (words(model), words(store));
    if model == store { Ok(()) } else { Err(format!("\n model: {model}\n store: {store}")) }
}

impl Pair {
    pub(crate) fn new(store: Arc<dyn Store>, alone: bool) -> Self {
        let pair = Self {
            model: ModelStore::over(Shared::new()),
            store,
            world: World::new(),
            turns: Arc::default(),
            alone,
        };
        pair.turns.at(pair.world.now);
        pair.model.attach(pair.turns.clone());
        pair.store.attach(pair.turns.clone());
        pair
    }

    /// Replays a trace and compares the answers, then all that can be read.
    ///
    /// # Errors
    /// The first step on which the two differ, in words.
    pub(crate) async fn replay(&mut self, trace: &[Op]) -> Result<(), String> {
        for (number, op) in trace.iter().enumerate() {
            self.step(op).await.map_err(|problem| format!("step {number}, {op:?}: {problem}"))?;
            // Where other nodes may write too, what waits is only known about.
            for tenant in [tenant(0), tenant(1)].iter().filter(|_| self.alone) {
                let (model, store) = (self.model.load().of(tenant), self.store.load().of(tenant));
                if model != store {
                    return Err(format!("step {number}, {op:?}: of {tenant} wait {model:?} and {store:?}"));
                }
            }
        }
        observe::compare(self).await
    }

    async fn step(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Accept(new) => self.accept(new).await,
            Op::Change(changes) => {
                let changes: Vec<_> = changes.iter().filter_map(|op| self.world.change(op)).collect();
                let store = join_all(changes.iter().map(|change| self.store.change(change.clone()))).await;
                for (change, store) in changes.into_iter().zip(store) {
                    same(&self.model.change(change).await, &store)?;
                }
                Ok(())
            }
            Op::Rewrite { .. } => self.rewrite(op).await,
            Op::Claim { channel, limit } => self.claim(world::channel(*channel), i64::from(*limit)).await,
            Op::Renew { claims, until } => {
                let held = claims.iter().filter_map(|claim| self.world.claim(*claim));
                let held: BTreeSet<usize> = held.collect();
                let leases: Vec<(MessageId, i64)> = held
                    .iter()
                    .map(|index| &self.world.held[*index])
                    .map(|it| (it.message, it.epoch))
                    .collect();
                let until = self.world.now.plus(seconds(*until));
                same(&self.model.renew(leases.clone(), until).await, &self.store.renew(leases, until).await)
            }
            Op::Release { claims } => {
                // Some under an epoch that is over; those of one message in the order of their claims.
                let held: Vec<usize> = claims.iter().filter_map(|claim| self.world.claim(*claim)).collect();
                let held = held.iter().map(|index| &self.world.held[*index]);
                let leases: Vec<(MessageId, i64)> = held.map(|it| (it.message, it.epoch)).collect();
                let now = self.world.now;
                same(&self.model.release(leases.clone(), now).await, &self.store.release(leases, now).await)
            }
            Op::Sweep { all } => {
                // A start among other nodes takes nothing from them.
                let (now, model) = (self.world.now, *all && self.alone);
                same(&self.model.sweep(now, model).await, &self.store.sweep(now, *all).await)
            }
            Op::Receipts(receipts) => {
                let new: Vec<_> = receipts.iter().map(|op| self.world.receipt(op)).collect();
                same(&self.model.put_receipts(new.clone()).await, &self.store.put_receipts(new).await)
            }
            Op::Apply { limit } => {
                let (now, limit) = (self.world.now, i64::from(*limit));
                same(
                    &self.model.apply_receipts(now, limit).await,
                    &self.store.apply_receipts(now, limit).await,
                )
            }
            Op::Effects { events, wrong_place, again } => {
                self.effects(i64::from(*events), *wrong_place, *again).await
            }
            Op::Contact { .. } | Op::Device { .. } => self.people(op).await,
            Op::Record { ticket, request } => self.record(*ticket, *request).await,
            Op::Purge { ago } => {
                let before = self.world.now.minus(seconds(*ago));
                same(&self.model.purge_requests(before).await, &self.store.purge_requests(before).await)
            }
            Op::Pass(count) => {
                self.world.now = self.world.now.plus(seconds(*count));
                self.turns.at(self.world.now);
                Ok(())
            }
        }
    }

    async fn accept(&mut self, new: &[New]) -> Result<(), String> {
        let accepts: Vec<_> = new.iter().map(|new| self.world.accept(new)).collect();
        let store = join_all(accepts.iter().map(|accept| self.store.accept(accept.clone()))).await;
        for (accept, store) in accepts.into_iter().zip(store) {
            same(&self.model.accept(accept).await, &store)?;
        }
        Ok(())
    }

    async fn rewrite(&mut self, op: &Op) -> Result<(), String> {
        let Op::Rewrite { message, who, lane, scheduled_in, expires_in, old, request } = op else {
            return Ok(());
        };
        let Some((id, owner)) = self.world.message(*message) else { return Ok(()) };
        let row = self.model.row(id).await.map_err(|error| error.to_string())?;
        let version = row.map_or(1, |row| row.state.version - i64::from(*old));
        let new = New {
            tenant: 0,
            channel: *lane,
            lane: *lane,
            scheduled_in: *scheduled_in,
            expires_in: *expires_in,
            draft: false,
            sensitive: *old,
            parts: !*old,
            turn: None,
            taken: false,
            request: None,
        };
        let who = if matches!(who, Who::Stranger) { Who::Stranger } else { Who::Owner };
        let work = Rewrite {
            tenant: World::asker(who, &owner).unwrap_or_else(|| owner.clone()),
            id,
            draft: self.world.draft(&new),
            version,
            actor: "user_trace".into(),
            now: self.world.now,
            request: self.world.key(&owner, "Message.Update", *request),
        };
        same(&self.model.rewrite(work.clone()).await, &self.store.rewrite(work).await)
    }

    /// The store may choose which of the due messages it takes, within the contract; the model takes the same ones.
    async fn claim(&mut self, channel: Channel, limit: i64) -> Result<(), String> {
        let now = self.world.now;
        let claim = Claim { channel, limit, now, lease_until: now.plus(seconds(30)) };
        let candidates = self.model.shared().data().candidates(channel, now);
        let answer = self.store.claim(claim).await.map_err(|error| error.to_string())?;
        let mut chosen = Vec::new();
        for (lane, due, id) in &candidates {
            let before = self.model.row(*id).await.map_err(|error| error.to_string())?;
            let row = self.store.row(*id).await.map_err(|error| error.to_string())?;
            if before.map(|row| row.queued) != row.map(|row| row.queued) {
                chosen.push((*lane, *due, *id));
            }
        }
        self.allowed(&candidates, &chosen, limit)?;
        let mut order: Vec<i16> = answer.iter().map(|one| lane(one.message.state.priority)).collect();
        if !order.is_sorted() {
            return Err(format!("the lanes come as {order:?}"));
        }
        order.clear();
        let chosen: Vec<MessageId> = chosen.into_iter().map(|(_, _, id)| id).collect();
        let model = self.model.write(|data, after| Ok(data.claim_these(&claim, &chosen, after)));
        let sorted = |mut claimed: Vec<Claimed>| {
            claimed.sort_by_key(|one| one.message.state.id);
            claimed
        };
        self.world.hold(&answer);
        same(&model.map(sorted), &Ok(sorted(answer)))
    }

    /// What may be claimed: as many as there are places, no lane before one above it, within a tenant the longest due first.
    fn allowed(
        &self,
        candidates: &[(i16, Timestamp, MessageId)],
        chosen: &[(i16, Timestamp, MessageId)],
        limit: i64,
    ) -> Result<(), String> {
        let wanted = candidates.len().min(usize::try_from(limit).unwrap_or(0));
        if chosen.len() != wanted {
            return Err(format!("{} of {wanted} that are due were taken", chosen.len()));
        }
        let data = self.model.shared().data();
        let owner = |id: &MessageId| data.messages.get(id).map(|message| message.state.tenant.clone());
        for left in candidates.iter().filter(|one| !chosen.contains(one)) {
            let before = |taken: &&(i16, Timestamp, MessageId)| {
                taken.0 > left.0
                    || (taken.0 == left.0 && taken.1 > left.1 && owner(&taken.2) == owner(&left.2))
            };
            if let Some(taken) = chosen.iter().find(before) {
                return Err(format!("{taken:?} was taken before {left:?}"));
            }
        }
        Ok(())
    }

    async fn effects(&mut self, limit: i64, wrong_place: bool, again: bool) -> Result<(), String> {
        let trouble = |error: StoreError| error.to_string();
        let place = self.store.consumer(CONSUMER).await.map_err(trouble)?;
        // An event that had its effect already comes round again.
        let after = if again { 0 } else { place };
        let query = EventQuery { tenant: None, after, limit, target: None };
        let events = self.store.events(query).await.map_err(trouble)?;
        let Some(last) = events.last() else { return Ok(()) };
        let from = if wrong_place && place > 0 { place - 1 } else { place };
        let to = last.id.0.max(place);
        let mut effects =
            Effects { consumer: CONSUMER, from, to, activities: Vec::new(), tickets: Vec::new() };
        for event in &events {
            let Ok(id) = event.target.parse::<MessageId>() else { continue };
            let about = self.model.about(&[id]).await.map_err(trouble)?;
            let Some(about) = about.first() else { continue };
            match event.kind.as_str() {
                kind::MESSAGE_SENT => effects.activities.push(self.world.activity(about, Some(event.id))),
                kind::MESSAGE_FAILED => effects.tickets.push(self.world.ticket(about, Some(event.id))),
                _ => {}
            }
        }
        same(&self.model.put_effects(effects.clone()).await, &self.store.put_effects(effects).await)
    }

    async fn people(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Contact { tenant: number, contact, version, deleted, request } => {
                let (tenant, id) = (tenant(*number), world::contact(*contact));
                let version = i64::from(*version) + 1;
                let write = ContactWrite {
                    contact: self.contact(&tenant, &id, version, *deleted),
                    event: self.world.contact_event(&tenant, &id, version),
                    request: self.world.key(&tenant, "Contact.Put", *request),
                };
                same(&self.model.put_contact(write.clone()).await, &self.store.put_contact(write).await)?;
            }
            Op::Device { tenant: number, contact, token, retired, request } => {
                let (tenant, id) = (tenant(*number), world::contact(*contact));
                let write = DeviceWrite {
                    device: Device {
                        id: DeviceId(self.world.id()),
                        token: format!("token {token}"),
                        platform: None,
                        provider: None,
                        registered_at: self.world.now,
                        retired_at: retired.then_some(self.world.now),
                        retired_reason: None,
                    },
                    event: self.world.contact_event(&tenant, &id, 0),
                    request: self.world.key(&tenant, "Device.Put", *request),
                    tenant,
                    contact: id,
                };
                same(&self.model.put_device(write.clone()).await, &self.store.put_device(write).await)?;
            }
            _ => {}
        }
        observe::contacts(self).await
    }

    fn contact(&self, tenant: &Tenant, id: &str, version: i64, deleted: bool) -> Contact {
        let now = self.world.now;
        let address = Address { channel: Channel::Sms, value: "+15005550010".to_owned(), label: None };
        Contact {
            id: id.to_owned(),
            tenant: tenant.clone(),
            version,
            created_at: now,
            updated_at: now,
            created_by: "user_trace".to_owned(),
            name: Some(format!("version {version}")),
            addresses: vec![address],
            preferred_channel: None,
            locale: None,
            time_zone: None,
            metadata: None,
            devices: Vec::new(),
            deleted_at: deleted.then_some(now),
        }
    }

    async fn record(&mut self, ticket: bool, request: Request) -> Result<(), String> {
        let about = About {
            message: MessageId(1),
            tenant: tenant(0),
            channel: Channel::Sms,
            sender: None,
            recipient: "somebody".to_owned(),
        };
        let record = if ticket {
            Record::Ticket(self.world.ticket(&about, None))
        } else {
            Record::Activity(self.world.activity(&about, None))
        };
        let key = self.world.key(&tenant(0), "Record.Create", request);
        let model = self.model.put_record(record.clone(), key.clone()).await;
        same(&model, &self.store.put_record(record, key).await)
    }
}
