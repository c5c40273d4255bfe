//! What follows from events. For now the two built-in rules: `Message.Sent` makes an Activity, `Message.Failed` a Ticket.
//!
//! Their effects and their place in the log move in one transaction, and a row remembers the event that made it: whatever happens in
//! between, an event has its effect exactly once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    model::{
        Timestamp,
        crm::{About, Activity, Ticket, activity_on_sent, ticket_on_failed},
        event::{Event, kind},
        ids::{ActivityId, IdGenerator, MessageId, TicketId},
    },
    store::{Clash, Effects, EventQuery, Store, StoreError},
};

/// The name under which the rules keep their place in the log.
const CONSUMER: &str = "builtin";
/// Events of one transaction at most.
const GROUP: i64 = 500;
/// However quiet it is, look at the log this often.
const POLL: Duration = Duration::from_secs(5);

/// Which rules are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `Message.Sent` makes an Activity.
    pub activities: bool,
    /// `Message.Failed` makes a Ticket.
    pub tickets: bool,
}

/// Runs the built-in rules.
#[derive(Clone)]
pub struct Hooks {
    store: Arc<dyn Store>,
    ids: Arc<IdGenerator>,
    clock: Clock,
    rules: Rules,
}

impl Hooks {
    /// Over this log.
    pub fn new(store: Arc<dyn Store>, ids: Arc<IdGenerator>, clock: Clock, rules: Rules) -> Self {
        Self { store, ids, clock, rules }
    }

    /// Follows the log until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut commits = self.store.commits();
        loop {
            commits.borrow_and_update();
            if let Err(error) = self.catch_up(&stop).await {
                tracing::error!(%error, "the built-in rules cannot follow the log; trying again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = commits.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Goes from its place to the end of the log.
    async fn catch_up(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut place = self.store.consumer(CONSUMER).await?;
        while !stop.is_cancelled() {
            let query = EventQuery { tenant: None, after: place, limit: GROUP, target: None };
            let events = self.store.events(query).await?;
            let Some(last) = events.last() else { return Ok(()) };
            let effects = self.effects(place, last.id.0, &events).await?;
            place = match self.store.put_effects(effects).await {
                Ok(()) => last.id.0,
                // Another one went on from here: follow it.
                Err(StoreError::Clash(Clash::Version(further))) => further,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    async fn effects(&self, from: i64, to: i64, events: &[Event]) -> Result<Effects, StoreError> {
        let concerned = |event: &&Event| match event.kind.as_str() {
            kind::MESSAGE_SENT => self.rules.activities,
            kind::MESSAGE_FAILED => self.rules.tickets,
            _ => false,
        };
        let concerned: Vec<(&Event, MessageId)> = events
            .iter()
            .filter(concerned)
            .filter_map(|event| Some((event, event.target.parse().ok()?)))
            .collect();
        let ids: Vec<MessageId> = concerned.iter().map(|(_, id)| *id).collect();
        let about = if ids.is_empty() { Vec::new() } else { self.store.about(&ids).await? };
        let about: HashMap<MessageId, About> =
            about.into_iter().map(|about| (about.message, about)).collect();
        let mut effects =
            Effects { consumer: CONSUMER, from, to, activities: Vec::new(), tickets: Vec::new() };
        let now = (self.clock)();
        for (event, id) in concerned {
            let Some(about) = about.get(&id) else { continue };
            if event.kind == kind::MESSAGE_SENT {
                effects.activities.push(self.activity(about, event, now));
            } else {
                effects.tickets.push(self.ticket(about, event, now));
            }
        }
        Ok(effects)
    }

    fn activity(&self, about: &About, event: &Event, now: Timestamp) -> Activity {
        activity_on_sent(about, ActivityId(self.ids.next(now)), event.id, now)
    }

    fn ticket(&self, about: &About, event: &Event, now: Timestamp) -> Ticket {
        ticket_on_failed(about, TicketId(self.ids.next(now)), event.id, now)
    }
}
