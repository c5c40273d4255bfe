//! Create and send: the hot path.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Caller, Error, Given, RequestId, Service, Wait,
    admission::weight_of,
    request::recall,
    settle::settle,
    validate::{self, Mode},
    verbs::message_id,
};
use crate::{
    model::{
        Timestamp,
        ids::MessageId,
        message::{Draft, Message},
        status::Status,
        verbs::{self, Step},
    },
    store::{
        Accept, Ack, Changed, NewMessage,
        load::{Room, Weight},
    },
};

/// The name of the call, for request ids: by id and inline are one call.
const SEND: &str = "Message.Send";

/// Messages of one batch at most.
pub const MAX_BATCH: usize = 1_000;

/// What became of each message of a batch, in order.
pub type BatchResult = Vec<Result<Arc<Message>, Error>>;

/// What a stored answer remembers of one message of a batch.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Item {
    Id(String),
    Error(Box<Error>),
}

impl Service {
    /// Stores a draft.
    ///
    /// # Errors
    /// Everything that is wrong with it; the request id was used for another content.
    pub async fn create(
        &self,
        caller: &Caller,
        given: Given<Draft>,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        self.pace(caller, 1)?;
        let Given { value: mut draft, mut violations } = given;
        validate::message(&mut violations, &mut draft, Mode::Draft, self.now());
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        self.check_reply(caller, &draft).await?;
        let (id, now) = self.next_id();
        let message = Message::new(draft, MessageId(id), caller.tenant.clone(), now, &caller.actor);
        let events = vec![verbs::created(&message.state, now, &caller.actor)];
        let new = NewMessage { message: Arc::new(message), queued: None, events };
        // A draft waits for nothing; its bytes are on their way to the disk all the same.
        let room = self.admit(caller, Weight { messages: 0, ..weight_of([&new.message]) })?;
        self.accept_one(caller, "Message.Create", new, room, request).await
    }

    /// Creates and sends in one durable step.
    ///
    /// # Errors
    /// Everything that is wrong with it; the request id was used for another content.
    pub async fn send(
        &self,
        caller: &Caller,
        mut given: Given<Draft>,
        wait: Wait,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        self.pace(caller, 1)?;
        RequestId::check(request.as_ref(), &mut given.violations);
        let people = self.people(caller, std::iter::once(&given.value)).await?;
        let settled = match settle(given, &people, self.now()) {
            Ok(draft) => self.check_reply(caller, &draft).await.and_then(|()| {
                let new = self.new_message(caller, draft);
                Ok((self.admit(caller, weight_of([&new.message]))?, new))
            }),
            Err(error) => Err(error),
        };
        let (room, new) = match settled {
            Ok(settled) => settled,
            Err(refusal) => {
                let id = self.or_replay(caller, SEND, request.as_ref(), refusal).await?;
                return self.message(caller, message_id(&id)?).await;
            }
        };
        let watching = self.watch_for(wait).await?;
        let message = self.accept_one(caller, SEND, new, room, request).await?;
        match watching {
            Some(watching) => self.wait_for(caller, message.state.id, wait.until, watching).await,
            None => Ok(message),
        }
    }

    /// Sends a draft, or a scheduled message now.
    ///
    /// # Errors
    /// There is no such message; its status does not allow it; something in it is missing or wrong.
    pub async fn send_draft(
        &self,
        caller: &Caller,
        id: &str,
        scheduled_at: Given<Option<Timestamp>>,
        wait: Wait,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        self.pace(caller, 1)?;
        let Given { value: at, mut violations } = scheduled_at;
        let now = self.now();
        let at = validate::schedule(&mut violations, "scheduled_at", at, now);
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let id = message_id(id)?;
        let stored = self.message(caller, id).await?;
        let mut draft = super::update::draft_of(&stored);
        draft.0.scheduled_at = at.or(draft.0.scheduled_at.filter(|at| *at > now));
        let (mut step, recipient) = (
            Step::Send { at, channel: draft.0.channel.unwrap_or(crate::model::Channel::Email) },
            draft.0.recipient.clone(),
        );
        // Any other status is refused, or answered as the repetition it is, by the store.
        let mut room = None;
        if matches!(draft.1, Status::Draft | Status::Scheduled) {
            let weight = weight_of([&stored]);
            // A scheduled message has its place already.
            let weight = if draft.1 == Status::Draft { weight } else { Weight::default() };
            room = Some(self.admit(caller, weight)?);
            let people = self.people(caller, std::iter::once(&draft.0)).await?;
            let settled = settle(Given::new(draft.0), &people, now)?;
            if let (Some(channel), Step::Send { channel: chosen, .. }) = (settled.channel, &mut step) {
                *chosen = channel;
            }
        }
        let watching = self.watch_for(wait).await?;
        let mut change = self.change(caller, id, step);
        change.request = self.key(caller, SEND, request, id.to_string())?;
        change.recipient = recipient;
        change.bytes = Some(stored.bytes());
        let done = self.store().change(change).await;
        drop(room);
        match done.map_err(|error| Error::of_store(error, "Message", &id.to_string()))? {
            Changed::Done(row) => self.count(row.state.channel),
            Changed::Replayed(_) => return self.message(caller, id).await,
        }
        match watching {
            Some(watching) => self.wait_for(caller, id, wait.until, watching).await,
            None => self.message(caller, id).await,
        }
    }

    /// Creates and sends up to [`MAX_BATCH`] messages in one durable step. With `atomic` one refused message refuses all.
    ///
    /// # Errors
    /// There are too many, or none; with `atomic` everything that is wrong with any of them.
    pub async fn send_batch(
        &self,
        caller: &Caller,
        items: Vec<Given<Draft>>,
        atomic: bool,
        request: Option<RequestId>,
    ) -> Result<BatchResult, Error> {
        let mut violations = super::Violations::default();
        if items.is_empty() || items.len() > MAX_BATCH {
            violations.add("messages", format!("must be 1 to {MAX_BATCH}; there are {}", items.len()));
        }
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        self.pace(caller, items.len())?;
        let people = self.people(caller, items.iter().map(|item| &item.value)).await?;
        let now = self.now();
        let mut results: BatchResult = Vec::with_capacity(items.len());
        let mut accepted = Vec::with_capacity(items.len());
        for item in items {
            let settled = match settle(item, &people, now) {
                Ok(draft) => self.check_reply(caller, &draft).await.map(|()| draft),
                Err(error) => Err(error),
            };
            results.push(settled.map(|draft| {
                let new = self.new_message(caller, draft);
                let message = new.message.clone();
                accepted.push(new);
                message
            }));
        }
        if atomic {
            refuse_together(&results)?;
        }
        let room = self.admit(caller, weight_of(accepted.iter().map(|new| &new.message)))?;
        let answer = if request.is_some() { results.iter().map(Item::of).collect() } else { Vec::new() };
        let request = self.key(caller, "Message.SendBatch", request, answer)?;
        if accepted.is_empty() && request.is_none() {
            return Ok(results);
        }
        match self.accept(Accept { messages: accepted, request }, room).await? {
            Ack::Done => {
                results.iter().flatten().for_each(|message| self.count(message.state.channel));
                Ok(results)
            }
            Ack::Replayed(result) => self.replay_batch(caller, &result).await,
        }
    }

    async fn replay_batch(&self, caller: &Caller, result: &str) -> Result<BatchResult, Error> {
        let mut results = Vec::new();
        for item in recall::<Vec<Item>>(result)? {
            results.push(match item {
                Item::Id(id) => Ok(self.message(caller, message_id(&id)?).await?),
                Item::Error(error) => Err(*error),
            });
        }
        Ok(results)
    }

    /// A message that is to be sent, with its place in the queue and its first events.
    fn new_message(&self, caller: &Caller, draft: Draft) -> NewMessage {
        let (id, now) = self.next_id();
        let mut message = Message::new(draft, MessageId(id), caller.tenant.clone(), now, &caller.actor);
        let (mut queued, events) =
            verbs::accepted(&mut message.state, now, &caller.actor, None, &self.store().limits());
        queued.bytes = message.bytes();
        NewMessage { message: Arc::new(message), queued: Some(queued), events }
    }

    async fn accept_one(
        &self,
        caller: &Caller,
        method: &'static str,
        new: NewMessage,
        room: Room,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        let message = new.message.clone();
        let request = match request {
            None => None,
            request => self.key(caller, method, request, message.state.id.to_string())?,
        };
        match self.accept(Accept { messages: vec![new], request }, room).await? {
            Ack::Done => {
                if method == SEND {
                    self.count(message.state.channel);
                }
                Ok(message)
            }
            Ack::Replayed(result) => self.message(caller, message_id(recall(&result)?)?).await,
        }
    }
}

impl Item {
    fn of(result: &Result<Arc<Message>, Error>) -> Self {
        match result {
            Ok(message) => Self::Id(message.state.id.to_string()),
            Err(error) => Self::Error(Box::new(error.clone())),
        }
    }
}

/// One refusal for all that is wrong with any message of an atomic batch.
fn refuse_together(results: &BatchResult) -> Result<(), Error> {
    let mut violations = super::Violations::default();
    for (index, error) in
        results.iter().enumerate().filter_map(|(index, result)| Some((index, result.as_ref().err()?)))
    {
        if error.violations.is_empty() {
            violations.add(format!("messages[{index}]"), error.message.clone());
        }
        for violation in &error.violations {
            violations.add(format!("messages[{index}].{}", violation.field), violation.description.clone());
        }
    }
    violations.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_batch_is_refused_with_everything_that_is_wrong() {
        let wrong = || Err(Error::invalid("body", "is required"));
        let missing = Err(Error::not_found("Message", "message_x"));
        let error = refuse_together(&vec![wrong(), missing, wrong()]).err();
        let fields: Vec<_> =
            error.into_iter().flat_map(|error| error.violations).map(|violation| violation.field).collect();
        assert_eq!(fields, ["messages[0].body", "messages[1]", "messages[2].body"]);
    }

    #[test]
    fn the_answer_to_a_batch_reads_back() {
        let items = vec![
            Item::Id("message_a".to_owned()),
            Item::Error(Box::new(Error::invalid("body", "is required"))),
        ];
        let json = serde_json::to_string(&items).unwrap_or_default();
        let back: Vec<Item> = serde_json::from_str(&json).unwrap_or_default();
        assert!(matches!(&back[0], Item::Id(id) if id == "message_a"));
        assert!(matches!(&back[1], Item::Error(error) if error.violations.len() == 1));
    }
}
