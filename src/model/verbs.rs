//! What may happen to a message, as pure steps over its row.
//!
//! The store loads a [`Row`], applies a [`Step`] and writes what came out, in one transaction. All decisions on state are here.

use headlessly_providers::contract::{Fault, Reporting};

use super::{
    Channel, Priority, Timestamp,
    event::{EventData, NewEvent, kind},
    ids::is_contact,
    limits::{Limits, may_expire},
    message::State,
    status::{Fact, Facts, Failure, Reason, Status, status},
};

/// How a queued message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// To be claimed when due.
    Ready,
    /// Claimed; the lease ends at `due_at`.
    Leased,
    /// May have been sent; waits for a receipt until `due_at`.
    Held,
}

/// A message's place in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    /// How it waits.
    pub wait: Wait,
    /// See [`Wait`].
    pub due_at: Timestamp,
    /// Of the latest claim.
    pub epoch: i64,
    /// Tries of this generation that count.
    pub tries: i32,
    /// A try of this generation may have reached the provider.
    pub ambiguous: bool,
    /// Not handed off after this.
    pub expires_at: Timestamp,
    /// Bytes of the content that waits.
    pub bytes: i64,
    /// Claims in a row that ended without a result.
    pub losses: i32,
    /// Its time is its own in the lane of its sender.
    pub paced: bool,
}

/// What a step sees and changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The message without its content.
    pub state: State,
    /// Its place in the queue, if it waits.
    pub queued: Option<Queued>,
}

/// When and by whom.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Now.
    pub now: Timestamp,
    /// `user_...`, `apikey_...`, `provider_...`, `system`.
    pub actor: &'a str,
    /// What holds.
    pub limits: &'a Limits,
}

/// How a hand-off try ended, after the policy had its say.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// A provider has it.
    Accepted {
        /// The provider's id.
        provider_message_id: Option<String>,
        /// What it reports later.
        reporting: Reporting,
        /// What it reported at once.
        facts: Vec<Fact>,
    },
    /// Nothing was handed off (or it may be repeated): again at this time.
    Again {
        /// When.
        at: Timestamp,
        /// Whether the try counts.
        counts: bool,
        /// Whether the provider may have it all the same.
        ambiguous: bool,
    },
    /// Its sender sends too fast: nothing was tried, it goes at this time, which is its own.
    Paced {
        /// When.
        at: Timestamp,
    },
    /// It may have been taken and may not be repeated: wait for a receipt until then.
    Hold {
        /// When to give up.
        until: Timestamp,
    },
    /// For good.
    Fail(Failure),
    /// Its time has passed.
    Expire,
}

/// The result of one claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The claim's.
    pub epoch: i64,
    /// The provider that was tried; `None` when it did not come to that.
    pub provider: Option<String>,
    /// What follows.
    pub verdict: Verdict,
}

/// Something that happens to a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A draft, or a scheduled message, is to be sent: at `scheduled_at`, or now. The addressing is settled by the caller.
    Send {
        /// Not before.
        at: Option<Timestamp>,
        /// The channel that was chosen.
        channel: Channel,
    },
    /// Withdraw.
    Cancel,
    /// Another time.
    Reschedule(Timestamp),
    /// Again, in a new generation.
    Retry,
    /// Soft delete.
    Delete,
    /// Something was reported.
    Learn {
        /// What.
        fact: Fact,
        /// Of which generation, when that is known to be another than the current one.
        generation: Option<i32>,
    },
    /// The wait is over: due and claimed. `lease_until` is the end of the lease.
    Claim {
        /// End of the lease.
        lease_until: Timestamp,
    },
    /// A claim ended.
    Outcome(Outcome),
    /// The lease ran out, or the process that held it is gone.
    Release,
    /// Nobody reported on a held message in time, or its time has passed.
    GiveUp,
}

/// Why a step is not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The status does not allow it.
    Status(Status),
    /// It is in a provider's hands, or may be.
    TooLate(Status),
    /// Done already: not an error, nothing to do.
    Already,
    /// The claim is not the current one (any more).
    Stale,
    /// It was deleted.
    Deleted,
}

/// Applies a step. `Ok` when the row changed (or the step had nothing new to say), with the events it made.
///
/// # Errors
/// The reason why the step is not taken; the row is then as before.
pub fn apply(row: &mut Row, step: &Step, by: By<'_>) -> Result<Vec<NewEvent>, Refusal> {
    let mut change = Change { row, by, events: Vec::new(), touched: false };
    match step {
        Step::Send { at, channel } => change.send(*at, *channel)?,
        Step::Cancel => change.cancel()?,
        Step::Reschedule(at) => change.reschedule(*at)?,
        Step::Retry => change.retry()?,
        Step::Delete => change.delete()?,
        Step::Learn { fact, generation } => change.report(fact.clone(), *generation),
        Step::Claim { lease_until } => change.claim(*lease_until)?,
        Step::Outcome(outcome) => change.outcome(outcome)?,
        Step::Release => change.release(),
        Step::GiveUp => change.give_up(),
    }
    change.prove();
    change.finish()
}

struct Change<'a> {
    row: &'a mut Row,
    by: By<'a>,
    events: Vec<NewEvent>,
    /// The message itself changed, not only its place in the queue.
    touched: bool,
}

impl Change<'_> {
    fn status(&self) -> Status {
        self.row.state.status()
    }

    fn facts(&self) -> &Facts {
        &self.row.state.facts
    }

    fn emit(&mut self, kind: &'static str, at: Timestamp, late: bool) {
        self.touched = true;
        let mut data = data(&self.row.state);
        data.late = late;
        self.events.push(NewEvent {
            kind,
            tenant: self.row.state.tenant.clone(),
            target: self.row.state.id.to_string(),
            entity: self.row.state.id.0,
            actor: self.by.actor.to_owned(),
            at,
            version: 0,
            data,
        });
    }

    /// Learns a fact; a new one has its event, an earlier time for a known one only moves the time.
    fn learn(&mut self, fact: Fact) {
        let (kind, at) = event_of(&fact);
        let before = self.facts().clone();
        if !self.row.state.facts.learn(fact) {
            self.touched |= *self.facts() != before;
            return;
        }
        self.touched = true;
        if let Some(kind) = kind {
            let late = is_late(kind, &before, self.row.state.channel.unwrap_or(Channel::Email));
            self.emit(kind, at, late);
        }
    }

    fn place(&self, due_at: Timestamp, before: Option<&Queued>) -> Queued {
        queued(&self.row.state, due_at, before, self.by.limits)
    }

    fn send(&mut self, at: Option<Timestamp>, channel: Channel) -> Result<(), Refusal> {
        match self.status() {
            _ if self.row.state.deleted_at.is_some() => return Err(Refusal::Deleted),
            Status::Draft | Status::Scheduled => {}
            status => return Err(Refusal::Status(status)),
        }
        let now = self.by.now;
        let state = &mut self.row.state;
        state.channel = Some(channel);
        // A scheduled message that is sent without a time is sent now; a draft keeps the time that it names.
        let named = if self.row.queued.is_some() { Some(now) } else { state.scheduled_at };
        state.scheduled_at = at.or(named);
        let due = state.scheduled_at.filter(|at| *at > now);
        self.row.queued = Some(self.place(due.unwrap_or(now), self.row.queued.as_ref()));
        if due.is_some() {
            self.learn(Fact::Accepted(now));
            self.emit(kind::MESSAGE_SCHEDULED, now, false);
        } else {
            self.learn(Fact::Accepted(now));
            self.learn(Fact::Queued(now));
        }
        Ok(())
    }

    fn cancel(&mut self) -> Result<(), Refusal> {
        match self.status() {
            Status::Cancelled => return Err(Refusal::Already),
            Status::Draft | Status::Scheduled | Status::Queued => {}
            status => return Err(Refusal::TooLate(status)),
        }
        let untouched = |queued: &Queued| queued.wait == Wait::Ready && !queued.ambiguous;
        if !self.row.queued.as_ref().is_none_or(untouched) {
            return Err(Refusal::TooLate(self.status()));
        }
        self.learn(Fact::Cancelled(self.by.now));
        Ok(())
    }

    fn reschedule(&mut self, at: Timestamp) -> Result<(), Refusal> {
        match (self.status(), &mut self.row.queued) {
            (Status::Scheduled, Some(queued)) if queued.wait == Wait::Ready => queued.due_at = at,
            (status @ (Status::Scheduled | Status::Queued), _) => return Err(Refusal::TooLate(status)),
            (status, _) => return Err(Refusal::Status(status)),
        }
        self.row.state.scheduled_at = Some(at);
        self.row.queued = Some(self.place(at, self.row.queued.as_ref()));
        self.emit(kind::MESSAGE_RESCHEDULED, self.by.now, false);
        Ok(())
    }

    fn retry(&mut self) -> Result<(), Refusal> {
        if self.row.state.deleted_at.is_some() {
            return Err(Refusal::Deleted);
        }
        if self.status() != Status::Failed {
            return Err(Refusal::Status(self.status()));
        }
        // Somebody reported it as failed while it is being handed off: what comes of that is still to be written.
        if self.row.queued.is_some() {
            return Err(Refusal::TooLate(self.status()));
        }
        let now = self.by.now;
        let state = &mut self.row.state;
        state.generation += 1;
        state.facts = Facts { accepted: Some(now), queued: Some(now), ..Facts::default() };
        state.provider = None;
        state.provider_message_id = None;
        state.reporting = None;
        // The old deadline belongs to the old generation.
        state.expires_at = state.expires_at.filter(|at| *at > now);
        self.row.queued = Some(self.place(now, None));
        self.emit(kind::MESSAGE_RETRIED, now, false);
        Ok(())
    }

    fn delete(&mut self) -> Result<(), Refusal> {
        if self.row.state.deleted_at.is_some() {
            return Err(Refusal::Already);
        }
        if self.row.queued.is_some() {
            return Err(Refusal::Status(self.status()));
        }
        self.row.state.deleted_at = Some(self.by.now);
        self.emit(kind::MESSAGE_DELETED, self.by.now, false);
        Ok(())
    }

    /// A fact of an older generation counts only where it says that a person has the message.
    fn report(&mut self, fact: Fact, generation: Option<i32>) {
        let current = generation.is_none_or(|generation| generation == self.row.state.generation);
        let (Fact::Delivered(at) | Fact::Read(at)) = fact else {
            if current {
                self.learn(fact);
            }
            return;
        };
        if self.is_unsure() {
            let provider = self.by.actor.strip_prefix("provider_").map(str::to_owned);
            self.row.state.provider = self.row.state.provider.take().or(provider);
            self.learn(Fact::HandedOff(at));
        }
        self.learn(fact);
    }

    /// A provider may have it, and only a report can tell: it waits after an ambiguous try, or failed. A try that still runs tells by
    /// itself.
    fn is_unsure(&self) -> bool {
        match &self.row.queued {
            Some(queued) => queued.ambiguous && queued.wait != Wait::Leased,
            None => self.facts().failed.is_some(),
        }
    }

    /// What was reported while a try still ran proves the hand-off when that try ends without knowing, or is lost with its process.
    fn prove(&mut self) {
        let facts = self.facts();
        let reported = [facts.delivered, facts.read].into_iter().flatten().min();
        if let Some(at) = reported.filter(|_| facts.handed_off.is_none() && self.is_unsure()) {
            self.learn(Fact::HandedOff(at));
        }
    }

    fn claim(&mut self, lease_until: Timestamp) -> Result<(), Refusal> {
        let now = self.by.now;
        let Some(queued) = &mut self.row.queued else { return Err(Refusal::Stale) };
        if queued.wait != Wait::Ready || queued.due_at > now {
            return Err(Refusal::Stale);
        }
        if queued.expires_at <= now {
            self.give_up();
            return Ok(());
        }
        queued.wait = Wait::Leased;
        queued.due_at = lease_until;
        queued.epoch += 1;
        if self.facts().queued.is_none() {
            self.learn(Fact::Queued(now));
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: &Outcome) -> Result<(), Refusal> {
        let current = |queued: &Queued| queued.wait == Wait::Leased && queued.epoch == outcome.epoch;
        let Some(queued) = self.row.queued.as_mut().filter(|queued| current(queued)) else {
            return Err(Refusal::Stale);
        };
        if outcome.provider.is_some() {
            self.row.state.attempts += 1;
            self.touched = true;
        }
        (queued.losses, queued.paced) = (0, false);
        match &outcome.verdict {
            Verdict::Paced { at } => {
                queued.wait = Wait::Ready;
                queued.due_at = *at;
                queued.paced = true;
            }
            Verdict::Again { at, counts, ambiguous } => {
                queued.wait = Wait::Ready;
                queued.due_at = *at;
                queued.tries += i32::from(*counts);
                queued.ambiguous |= ambiguous;
            }
            Verdict::Hold { until } => {
                queued.wait = Wait::Held;
                queued.due_at = *until;
                queued.ambiguous = true;
            }
            Verdict::Accepted { provider_message_id, reporting, facts } => {
                self.row.queued = None;
                self.row.state.provider = outcome.provider.clone();
                self.row.state.provider_message_id = provider_message_id.clone();
                self.row.state.reporting = Some(*reporting);
                self.learn(Fact::HandedOff(self.by.now));
                for fact in facts {
                    self.learn(fact.clone());
                }
            }
            Verdict::Fail(failure) => {
                self.row.queued = None;
                self.row.state.provider = outcome.provider.clone().or(self.row.state.provider.take());
                self.learn(Fact::Failed(failure.clone()));
            }
            Verdict::Expire => self.give_up(),
        }
        Ok(())
    }

    fn release(&mut self) {
        let (now, limits, id) = (self.by.now, self.by.limits, self.row.state.id.0);
        let Some(queued) = self.row.queued.as_mut().filter(|queued| queued.wait == Wait::Leased) else {
            return;
        };
        queued.losses += 1;
        if queued.losses >= limits.poison_after {
            let detail =
                format!("its hand-off ended {} times without a result, as by a crash", queued.losses);
            self.row.queued = None;
            return self.fail(Reason::Poison, &detail);
        }
        queued.wait = Wait::Ready;
        // Not at once: a process that ends again and again is not to end by the same message each time.
        queued.due_at = now.plus(limits.backoff.wait(queued.losses, id.unsigned_abs()));
        // The try may have reached the provider before its process ended.
        queued.ambiguous = true;
    }

    fn fail(&mut self, reason: Reason, detail: &str) {
        let failure = Failure { at: self.by.now, reason, code: None, detail: Some(detail.to_owned()) };
        self.learn(Fact::Failed(failure));
    }

    /// Ends a wait that can lead to nothing: FAILED as ambiguous when it may have been handed off, EXPIRED when that is what its
    /// sender wanted, else FAILED as a dead letter.
    fn give_up(&mut self) {
        let Some(queued) = self.row.queued.take() else { return };
        if queued.ambiguous {
            self.fail(Reason::Ambiguous, "it may have been sent, and no report came in time");
        } else if may_expire(&self.row.state) {
            self.learn(Fact::Expired(self.by.now));
        } else {
            self.fail(
                Reason::RetriesExhausted,
                "no provider took it within the longest time that it may wait",
            );
        }
    }

    fn finish(self) -> Result<Vec<NewEvent>, Refusal> {
        let Self { row, by, mut events, touched } = self;
        // Whatever ended the wait, the place in the queue goes with it; a lease stays until its claim ends.
        let over = !row.state.status().is_waiting();
        if over && row.queued.as_ref().is_some_and(|queued| queued.wait != Wait::Leased) {
            row.queued = None;
        }
        // A receipt that overtakes the outcome of its own claim: the wait is over, the claim's result is still to come.
        if touched {
            row.state.version += 1;
            row.state.updated_at = by.now.max(row.state.updated_at);
        }
        let status = row.state.status();
        for event in &mut events {
            event.version = row.state.version;
            event.data.status = Some(status.as_str().to_owned());
        }
        Ok(events)
    }
}

/// The epochs of a generation lie above those of the one before: a result that is late by a generation is never taken for a current one.
fn first_epoch(generation: i32) -> i64 {
    i64::from(generation - 1) << 32
}

fn queued(state: &State, due_at: Timestamp, before: Option<&Queued>, limits: &Limits) -> Queued {
    Queued {
        wait: Wait::Ready,
        due_at,
        epoch: before.map_or(first_epoch(state.generation), |before| before.epoch),
        tries: 0,
        ambiguous: false,
        expires_at: limits.until(state, due_at),
        bytes: before.map_or(0, |before| before.bytes),
        losses: 0,
        paced: false,
    }
}

/// The place in the queue of a message that is accepted and, when `lease_until` is given, claimed in the same step.
pub fn accepted(
    state: &mut State,
    now: Timestamp,
    actor: &str,
    lease_until: Option<Timestamp>,
    limits: &Limits,
) -> (Queued, Vec<NewEvent>) {
    let due = state.scheduled_at.filter(|at| *at > now);
    let mut place = queued(state, due.unwrap_or(now), None, limits);
    state.facts.accepted = Some(now);
    let mut events = vec![created(state, now, actor)];
    if due.is_none() {
        state.facts.queued = Some(now);
        if let Some(until) = lease_until {
            place = Queued { wait: Wait::Leased, due_at: until, epoch: 1, ..place };
        }
    }
    let kind = if due.is_some() { kind::MESSAGE_SCHEDULED } else { kind::MESSAGE_QUEUED };
    let status = state.status();
    let mut second = NewEvent { kind, ..events[0].clone() };
    second.data.status = Some(status.as_str().to_owned());
    events[0].data.status = second.data.status.clone();
    events.push(second);
    (place, events)
}

/// The event of a message that is stored.
pub fn created(state: &State, now: Timestamp, actor: &str) -> NewEvent {
    let mut data = data(state);
    data.status = Some(state.status().as_str().to_owned());
    NewEvent {
        kind: kind::MESSAGE_CREATED,
        tenant: state.tenant.clone(),
        target: state.id.to_string(),
        entity: state.id.0,
        actor: actor.to_owned(),
        at: now,
        version: state.version,
        data,
    }
}

/// The ids and codes of a message that go into its events.
pub fn data(state: &State) -> EventData {
    let contact = |party: &Option<String>| party.clone().filter(|party| is_contact(party));
    let failure = state.facts.failure(state.channel.unwrap_or(Channel::Email));
    EventData {
        status: None,
        channel: state.channel.map(|channel| channel.as_str().to_owned()),
        sender: contact(&state.sender),
        recipient: contact(&state.recipient),
        thread: state.thread.clone(),
        campaign: state.campaign.clone(),
        provider: state.provider.clone(),
        attempt: (state.attempts > 0).then_some(state.attempts),
        generation: (state.generation > 1).then_some(state.generation),
        reason: failure.as_ref().map(|failure| failure.reason.as_str().to_owned()),
        code: failure.and_then(|failure| failure.code),
        late: false,
        message: None,
    }
}

fn event_of(fact: &Fact) -> (Option<&'static str>, Timestamp) {
    match fact {
        Fact::Accepted(at) => (None, *at),
        Fact::Queued(at) => (Some(kind::MESSAGE_QUEUED), *at),
        Fact::HandedOff(at) => (Some(kind::MESSAGE_SENT), *at),
        Fact::Delivered(at) => (Some(kind::MESSAGE_DELIVERED), *at),
        Fact::Read(at) => (Some(kind::MESSAGE_READ), *at),
        Fact::Failed(failure) => (Some(kind::MESSAGE_FAILED), failure.at),
        Fact::Cancelled(at) => (Some(kind::MESSAGE_CANCELLED), *at),
        Fact::Expired(at) => (Some(kind::MESSAGE_EXPIRED), *at),
    }
}

/// Whether what was known before already went beyond this event.
fn is_late(kind: &'static str, before: &Facts, channel: Channel) -> bool {
    match (kind, status(before, channel)) {
        (kind::MESSAGE_SENT, Status::Delivered | Status::Read | Status::Failed) => true,
        (kind::MESSAGE_DELIVERED, Status::Read) => true,
        (kind::MESSAGE_FAILED, Status::Delivered) => channel != Channel::Email,
        (kind::MESSAGE_FAILED, Status::Read | Status::Cancelled | Status::Expired) => true,
        (kind::MESSAGE_SENT | kind::MESSAGE_DELIVERED, Status::Cancelled | Status::Expired) => true,
        _ => false,
    }
}

/// The word for a failure that a provider's refusal makes.
pub fn reason_of(fault: Fault) -> Reason {
    match fault {
        Fault::Rejected => Reason::Rejected,
        Fault::BadRecipient => Reason::BadRecipient,
        Fault::Ambiguous => Reason::Ambiguous,
        Fault::Transient | Fault::Throttled | Fault::Unauthorized => Reason::RetriesExhausted,
    }
}

/// The number of a lane in the store: the smaller goes first.
pub fn lane(priority: Priority) -> i16 {
    match priority {
        Priority::Transactional => 0,
        Priority::Normal => 1,
        Priority::Bulk => 2,
    }
}

#[cfg(test)]
#[path = "verbs_tests.rs"]
mod tests;
