//! What is asked of messages: accept, change, rewrite.

use headlessly_communication::{
    model::{
        event::{NewEvent, kind},
        message::Message,
        status::Status,
        verbs::{By, Refusal, Row, Wait, apply, created},
    },
    store::{Accept, Ack, Change, Changed, Claimed, Clash, NewMessage, Rewrite, StoreError, Taker, Turn},
};

use super::{
    After,
    data::{Data, Settled, Tried, broken},
};

impl Data {
    pub(crate) fn accept(
        &mut self,
        accept: Accept,
        taker: Option<&dyn Taker>,
        after: &mut After,
    ) -> Result<Ack, StoreError> {
        if let Some(answer) = accept.request.as_ref().and_then(|key| self.answered(key)) {
            return answer;
        }
        if accept.messages.iter().any(|new| self.messages.contains_key(&new.message.state.id)) {
            return Err(broken());
        }
        self.remember(accept.request.as_ref());
        for new in accept.messages {
            self.arrange(&new, taker, after);
            self.messages.insert(new.message.state.id, (*new.message).clone());
            new.events.into_iter().for_each(|event| self.log(event));
        }
        Ok(Ack::Done)
    }

    /// The place of a new message: claimed at the door where there is room, ready otherwise.
    fn arrange(&mut self, new: &NewMessage, taker: Option<&dyn Taker>, after: &mut After) {
        let state = &new.message.state;
        let (Some(queued), Some(channel)) = (&new.queued, state.channel) else { return };
        let mut queued = queued.clone();
        let taker = taker.filter(|_| state.facts.queued.is_some());
        let turn = taker.map_or(Turn::Free, |taker| taker.book(channel, state.sender.as_deref()));
        queued.paced = turn != Turn::Free;
        if let Turn::At(at) = turn {
            queued.due_at = at;
            after.wakes.push(channel);
        } else if let Some((slot, lease)) = taker.and_then(|taker| taker.reserve(channel, state.priority)) {
            queued.wait = Wait::Leased;
            queued.epoch += 1;
            queued.due_at = queued.due_at.plus(lease);
            after.slots.push((slot, Claimed { message: new.message.clone(), queued: queued.clone() }));
        } else {
            after.wakes.push(channel);
        }
        self.queue.insert(state.id, queued);
    }

    pub(crate) fn change(&mut self, change: &Change, after: &mut After) -> Result<Changed, StoreError> {
        match change.request.as_ref().and_then(|key| self.answered(key)) {
            Some(Ok(Ack::Replayed(result))) => return Ok(Changed::Replayed(result)),
            Some(Err(error)) => return Err(error),
            Some(Ok(Ack::Done)) | None => {}
        }
        let before = self.row(change.id).ok_or(StoreError::NotFound)?;
        if change.tenant.as_ref().is_some_and(|tenant| *tenant != before.state.tenant) {
            return Err(StoreError::NotFound);
        }
        let mut row = before.clone();
        if let Some(recipient) = &change.recipient {
            row.state.recipient = Some(recipient.clone());
        }
        let by = By { now: change.now, actor: &change.actor, limits: &after.limits };
        let applied = apply(&mut row, &change.step, by);
        if let (Ok(_), Some(bytes), Some(queued)) = (&applied, change.bytes, &mut row.queued) {
            queued.bytes = bytes;
        }
        let kept = if applied.is_ok() { &row } else { &before };
        self.tried(change, kept, matches!(applied, Err(Refusal::Stale)), after);
        self.retire(change, &before);
        match applied {
            Ok(events) => {
                self.save(&before, &row, events, after);
                self.remember(change.request.as_ref());
                Ok(Changed::Done(Box::new(row)))
            }
            Err(refusal) => Err(StoreError::Refused(refusal, Box::new(before))),
        }
    }

    /// Keeps the try of an outcome, once, and frees the receipts that came before it.
    fn tried(&mut self, change: &Change, row: &Row, orphan: bool, after: &mut After) {
        let Some(attempt) = &change.attempt else { return };
        self.attempts.entry(attempt.id).or_insert_with(|| Tried {
            message: change.id,
            generation: row.state.generation,
            attempt: attempt.clone(),
            ended_at: change.now,
            orphan,
        });
        let Some(id) = &attempt.provider_message_id else { return };
        for reported in self.receipts.values_mut().filter(|one| one.settled == Settled::Parked) {
            let theirs = reported.new.provider_message_id.as_ref() == Some(id);
            if theirs && *reported.new.provider == *attempt.provider {
                reported.settled = Settled::Waiting;
                after.receipts = true;
            }
        }
    }

    /// A push token that is dead is dead whatever became of the step.
    fn retire(&mut self, change: &Change, row: &Row) {
        let Some((token, reason)) = &change.retire else { return };
        let place = (row.state.tenant.clone(), token.clone());
        if let Some((_, device)) = self.devices.get_mut(&place).filter(|(_, one)| one.retired_at.is_none()) {
            device.retired_at = Some(change.now);
            device.retired_reason = Some(reason.clone());
        }
    }

    pub(crate) fn rewrite(&mut self, work: &Rewrite, after: &mut After) -> Result<Changed, StoreError> {
        match work.request.as_ref().and_then(|key| self.answered(key)) {
            Some(Ok(Ack::Replayed(result))) => return Ok(Changed::Replayed(result)),
            Some(Err(error)) => return Err(error),
            Some(Ok(Ack::Done)) | None => {}
        }
        let row = self.row(work.id).filter(|row| row.state.tenant == work.tenant);
        let row = row.ok_or(StoreError::NotFound)?;
        let refused = |refusal, row| Err(StoreError::Refused(refusal, Box::new(row)));
        let status = row.state.status();
        if row.state.deleted_at.is_some() {
            return refused(Refusal::Deleted, row);
        }
        if !matches!(status, Status::Draft | Status::Scheduled) {
            return refused(Refusal::Status(status), row);
        }
        if row.state.version != work.version {
            return Err(StoreError::Clash(Clash::Version(row.state.version)));
        }
        let old = &self.messages[&work.id].content;
        let (created_at, created_by) = (old.created_at, old.created_by.clone());
        let mut message =
            Message::new(work.draft.clone(), work.id, work.tenant.clone(), created_at, &created_by);
        message.state.version = row.state.version + 1;
        message.state.updated_at = work.now;
        message.state.facts = row.state.facts.clone();
        let state = message.state.clone();
        let mut queued = row.queued;
        if let Some(queued) = &mut queued {
            queued.bytes = message.bytes();
            queued.due_at = state.scheduled_at.unwrap_or(queued.due_at);
            queued.expires_at = after.limits.until(&state, queued.due_at);
            self.queue.insert(work.id, queued.clone());
            after.wakes.extend(state.channel);
        }
        let event = created(&state, work.now, &work.actor);
        self.log(NewEvent { kind: kind::MESSAGE_UPDATED, ..event });
        self.messages.insert(work.id, message);
        self.remember(work.request.as_ref());
        Ok(Changed::Done(Box::new(Row { state, queued })))
    }
}
