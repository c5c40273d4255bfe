//! The log, live: first what is in the store after the cursor, then the end of the log as it grows, without gap or repetition.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{Stream, stream};

use super::{
    Caller, Error, Service, Violations,
    events::{cursor, is_meant, patterns, target},
    tail::{Next, PAGE, Subscription},
    verbs::message_id,
};
use crate::{
    model::{
        event::{Event, Pattern},
        ids::{self, MessageId},
        message::Message,
    },
    store::EventQuery,
};

/// Which events to watch. Everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct WatchSearch {
    /// After this event; from now on when empty (from its beginning with `message`); from the beginning when `0`.
    pub cursor: String,
    /// Only events of messages.
    pub messages: bool,
    /// Only this message.
    pub message: String,
    /// Only this entity.
    pub target: String,
    /// Only messages that this contact sends or receives.
    pub contact: String,
    /// Only this thread.
    pub thread: String,
    /// Only this campaign.
    pub campaign: String,
    /// Patterns over the types; all when empty. At most 20.
    pub types: Vec<String>,
    /// With `message`: end when it can change no more by itself.
    pub until_final: bool,
    /// Each event carries the message as it is when the event is sent out.
    pub include_message: bool,
}

/// An event, and the message it is about where that was asked for.
pub type Watched = (Event, Option<Arc<Message>>);

/// Which events are meant, in one tenant.
struct Wanted {
    messages: bool,
    target: Option<String>,
    contact: Option<String>,
    thread: Option<String>,
    campaign: Option<String>,
    patterns: Vec<Pattern>,
}

impl Wanted {
    fn fits(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, have: &Option<String>| wanted.is_none() || wanted == have;
        let contact = self.contact.is_none()
            || self.contact == event.data.sender
            || self.contact == event.data.recipient;
        contact
            && self.target.as_ref().is_none_or(|target| *target == event.target)
            && (!self.messages || event.target.starts_with(MessageId::PREFIX))
            && is(&self.thread, &event.data.thread)
            && is(&self.campaign, &event.data.campaign)
            && is_meant(&self.patterns, &event.kind)
    }
}

/// One stream of events.
struct Watcher {
    service: Service,
    caller: Caller,
    wanted: Wanted,
    include_message: bool,
    /// The message whose end ends the stream.
    until_final: Option<MessageId>,
    subscription: Subscription,
    /// The last event that was looked at.
    after: i64,
    /// Read and meant, not yet handed on.
    buffer: VecDeque<Event>,
    /// What is older than the end of the log has to be read from the store.
    behind: bool,
    /// The message was seen at its end, and everything up to then has been read since.
    finished: bool,
    over: bool,
}

impl Service {
    /// Events from a cursor on, then live. Ends when the process stops, with an error that says so.
    ///
    /// # Errors
    /// The cursor, a pattern or an id cannot be read; there is no such message.
    pub async fn watch(
        &self,
        caller: &Caller,
        search: WatchSearch,
    ) -> Result<impl Stream<Item = Result<Watched, Error>> + Send + use<>, Error> {
        let mut violations = Violations::default();
        let wanted = Wanted {
            messages: search.messages,
            target: target(&mut violations, "target", &search.target),
            contact: contact(&mut violations, &search.contact),
            thread: given(search.thread),
            campaign: given(search.campaign),
            patterns: patterns(&mut violations, &search.types),
        };
        let cursor = cursor(&mut violations, &search.cursor);
        if search.until_final && search.message.is_empty() {
            violations.add("until_final", "needs `message`: there is no end without it");
        }
        violations.done()?;
        let message = if search.message.is_empty() { None } else { Some(message_id(&search.message)?) };
        let wanted = match message {
            Some(id) => {
                self.row(caller, id).await?;
                Wanted { target: Some(id.to_string()), ..wanted }
            }
            None => wanted,
        };
        // First the place at the end of the log, then its number: nothing falls between them.
        let subscription = self.0.tail.subscribe().await?;
        let last = self.store().last_event().await?.0;
        if cursor.is_some_and(|cursor| cursor > last) {
            let problem = "lies after the end of the log; start again from an older event, or from `0`";
            return Err(Error::invalid("cursor", problem));
        }
        let watcher = Watcher {
            service: self.clone(),
            caller: caller.clone(),
            include_message: search.include_message,
            until_final: message.filter(|_| search.until_final),
            subscription,
            after: cursor.unwrap_or(if message.is_some() { 0 } else { last }),
            buffer: VecDeque::new(),
            behind: cursor.is_some() || message.is_some(),
            finished: false,
            over: false,
            wanted,
        };
        Ok(stream::unfold(watcher, |mut watcher| async { watcher.next().await.map(|item| (item, watcher)) }))
    }
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<Watched, Error>> {
        if self.over {
            return None;
        }
        match self.advance().await {
            Ok(item) => item.map(Ok),
            Err(error) => {
                self.over = true;
                Some(Err(error))
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Watched>, Error> {
        loop {
            if let Some(event) = self.buffer.pop_front() {
                let message = if self.include_message { self.message_of(&event).await? } else { None };
                return Ok(Some((event, message)));
            }
            if self.behind {
                self.catch_up().await?;
                continue;
            }
            if self.finished {
                return Ok(None);
            }
            if self.is_final().await? {
                // Once more from the store: what led to the end may not have come by here yet.
                (self.finished, self.behind) = (true, true);
                continue;
            }
            match self.subscription.next().await {
                Next::Batch(batch) => self.take(&batch),
                Next::Lagged => self.behind = true,
                Next::Stopping => return Err(Error::stopping()),
            }
        }
    }

    /// Reads a page of what is older than the end of the log.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let query = EventQuery {
            tenant: Some(self.caller.tenant.clone()),
            after: self.after,
            limit: PAGE,
            target: self.wanted.target.clone(),
        };
        let events = self.service.store().events(query).await?;
        self.behind = events.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
        if let Some(last) = events.last() {
            self.after = last.id.0;
        }
        self.buffer.extend(events.into_iter().filter(|event| self.wanted.fits(event)));
        Ok(())
    }

    /// Takes what is new to this watcher out of a batch.
    fn take(&mut self, batch: &[Event]) {
        let new = batch.iter().filter(|event| event.id.0 > self.after);
        let meant = new.filter(|event| event.tenant == self.caller.tenant && self.wanted.fits(event));
        self.buffer.extend(meant.cloned());
        self.after = self.after.max(batch.last().map_or(0, |event| event.id.0));
    }

    async fn is_final(&self) -> Result<bool, Error> {
        let Some(id) = self.until_final else { return Ok(false) };
        let row = self.service.store().row(id).await?;
        Ok(row.is_none_or(|row| row.state.is_final()))
    }

    async fn message_of(&self, event: &Event) -> Result<Option<Arc<Message>>, Error> {
        let Ok(id) = event.target.parse::<MessageId>() else { return Ok(None) };
        Ok(self.service.store().message(&self.caller.tenant, id).await?.map(Arc::new))
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn contact(violations: &mut Violations, text: &str) -> Option<String> {
    if !text.is_empty() && !ids::is_contact(text) {
        violations.add("contact", "must be the id of a contact (`contact_...`)");
    }
    given(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Timestamp,
        event::{EventData, kind},
        ids::{EventId, Tenant},
    };

    fn event() -> Event {
        Event {
            id: EventId(7),
            kind: kind::MESSAGE_SENT.to_owned(),
            tenant: Tenant::default(),
            target: MessageId(1).to_string(),
            actor: "system".to_owned(),
            at: Timestamp(1),
            version: 2,
            data: EventData {
                recipient: Some("contact_a".to_owned()),
                thread: Some("t".to_owned()),
                ..Default::default()
            },
        }
    }

    fn all() -> Wanted {
        Wanted {
            messages: false,
            target: None,
            contact: None,
            thread: None,
            campaign: None,
            patterns: Vec::new(),
        }
    }

    #[test]
    fn everything_given_must_hold() {
        let is = |text: &str| Some(text.to_owned());
        assert!(all().fits(&event()));
        assert!(Wanted { contact: is("contact_a"), thread: is("t"), messages: true, ..all() }.fits(&event()));
        assert!(!Wanted { contact: is("contact_b"), ..all() }.fits(&event()));
        assert!(!Wanted { campaign: is("c"), ..all() }.fits(&event()));
        assert!(!Wanted { target: is("message_x"), ..all() }.fits(&event()));
        let patterns = Pattern::parse("*.Failed").into_iter().collect();
        assert!(!Wanted { patterns, ..all() }.fits(&event()));
        let ticket = Event { target: "ticket_x".to_owned(), ..event() };
        assert!(!Wanted { messages: true, ..all() }.fits(&ticket));
    }
}
