//! From the small numbers of a trace to real calls: what was accepted, claimed and asked for so far.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use headlessly_communication::{
    model::{
        Channel, Priority, Reporting, Timestamp,
        crm::{About, Activity, Ticket, activity_on_sent, ticket_on_failed},
        event::{EventData, NewEvent, kind},
        ids::{ActivityId, EventId, IdGenerator, MessageId, Tenant, TicketId, entity_of, time_of},
        limits::Limits,
        message::{Draft, Message},
        status::{Fact, Failure, Reason},
        verbs::{Outcome, Queued, Step, Verdict, accepted, created},
    },
    store::{Accept, Change, Claimed, NewAttempt, NewMessage, NewReceipt, RequestKey, Slot, Taker, Turn},
};
use headlessly_providers::contract::Attachment;

use crate::trace::{About as Target, ChangeOp, FactOp, New, ReceiptOp, Request, StepOp, VerdictOp, Who};

/// The channels of a trace.
const CHANNELS: [Channel; 2] = [Channel::Email, Channel::Sms];
const PRIORITIES: [Priority; 3] = [Priority::Transactional, Priority::Normal, Priority::Bulk];
/// The provider of all tries.
pub(crate) const PROVIDER: &str = "one";

/// Gives every sender the turn that is in its name. It has no places.
#[derive(Default)]
pub(crate) struct Turns {
    now: AtomicI64,
}

impl Turns {
    /// A sender whose turn is in so many seconds.
    fn sender(count: u8) -> String {
        format!("turn {count}")
    }

    pub(crate) fn at(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::Relaxed);
    }
}

impl Taker for Turns {
    fn reserve(&self, _channel: Channel, _priority: Priority) -> Option<(Slot, Duration)> {
        None
    }

    fn book(&self, _channel: Channel, sender: Option<&str>) -> Turn {
        let count = sender.and_then(|sender| sender.strip_prefix("turn ")?.parse().ok());
        match count {
            None => Turn::Free,
            Some(0) => Turn::Now,
            Some(count) => Turn::At(Timestamp(self.now.load(Ordering::Relaxed)).plus(seconds(count))),
        }
    }

    fn wake(&self, _channel: Channel) {}
}

/// A claim that was made, and the try that ended it.
pub(crate) struct Held {
    pub(crate) message: MessageId,
    pub(crate) epoch: i64,
    attempt: Option<i64>,
}

/// What a trace has led to.
pub(crate) struct World {
    pub(crate) ids: IdGenerator,
    pub(crate) now: Timestamp,
    pub(crate) messages: Vec<(MessageId, Tenant)>,
    accepted: Option<MessageId>,
    pub(crate) held: Vec<Held>,
    pub(crate) keys: Vec<RequestKey>,
    pub(crate) activities: Vec<(ActivityId, Tenant)>,
    pub(crate) tickets: Vec<(TicketId, Tenant)>,
}

pub(crate) fn seconds(count: u8) -> Duration {
    Duration::from_secs(count.into())
}

pub(crate) fn tenant(number: u8) -> Tenant {
    Tenant::new(["acme", "globex"][usize::from(number % 2)]).unwrap()
}

pub(crate) fn channel(number: u8) -> Channel {
    CHANNELS[usize::from(number) % CHANNELS.len()]
}

pub(crate) fn contact(number: u8) -> String {
    format!("contact_{number}")
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            ids: IdGenerator::new(0),
            now: Timestamp(1_800_000_000_000_000),
            messages: Vec::new(),
            accepted: None,
            held: Vec::new(),
            keys: Vec::new(),
            activities: Vec::new(),
            tickets: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> i64 {
        self.ids.next(self.now)
    }

    fn ago(&self, count: u8) -> Timestamp {
        self.now.minus(seconds(count))
    }

    fn later(&self, count: u8) -> Timestamp {
        self.now.plus(seconds(count))
    }

    /// The message of this number, counted from the latest.
    pub(crate) fn message(&self, number: u8) -> Option<(MessageId, Tenant)> {
        let count = self.messages.len().max(1);
        self.messages.iter().rev().nth(usize::from(number) % count).cloned()
    }

    pub(crate) fn claim(&self, number: u8) -> Option<usize> {
        let count = self.held.len();
        (count > 0).then(|| count - 1 - usize::from(number) % count)
    }

    pub(crate) fn asker(who: Who, owner: &Tenant) -> Option<Tenant> {
        match who {
            Who::Owner => Some(owner.clone()),
            Who::Stranger => Some(tenant(u8::from(*owner == tenant(0)))),
            Who::Service => None,
        }
    }

    pub(crate) fn key(
        &mut self,
        tenant: &Tenant,
        method: &'static str,
        request: Request,
    ) -> Option<RequestKey> {
        let (id, content) = request?;
        let key = RequestKey {
            tenant: tenant.clone(),
            method,
            request_id: format!("request {id}"),
            hash: [content; 32],
            result: format!("{{\"id\":{}}}", self.keys.len()),
            now: self.now,
        };
        self.keys.push(key.clone());
        Some(key)
    }

    pub(crate) fn draft(&self, new: &New) -> Draft {
        let attachment = Attachment {
            name: "a.txt".to_owned(),
            content_type: "text/plain".to_owned(),
            content: "content".into(),
            content_id: None,
        };
        Draft {
            channel: Some(channel(new.channel)),
            sender: Some(new.turn.map_or_else(|| contact(0), Turns::sender)),
            recipient: Some("somebody".to_owned()),
            body: "hello".to_owned(),
            html_body: new.parts.then(|| "<p>hello".to_owned()),
            attachments: if new.parts { vec![attachment] } else { Vec::new() },
            tags: vec!["tag".to_owned()],
            priority: PRIORITIES[usize::from(new.lane) % 3],
            scheduled_at: new.scheduled_in.map(|count| self.later(count)),
            expires_at: new.expires_in.map(|count| self.later(count)),
            sensitive: new.sensitive,
            ..Draft::default()
        }
    }

    pub(crate) fn accept(&mut self, new: &New) -> Accept {
        let tenant = tenant(new.tenant);
        let taken = self.accepted.filter(|_| new.taken);
        let id = taken.map_or_else(|| self.id(), |id| id.0);
        let mut message =
            Message::new(self.draft(new), MessageId(id), tenant.clone(), time_of(id), "user_trace");
        let (queued, events) = if new.draft {
            (None, vec![created(&message.state, time_of(id), "user_trace")])
        } else {
            let (queued, events) =
                accepted(&mut message.state, self.now, "user_trace", None, &Limits::DEFAULT);
            let queued = Queued { bytes: message.bytes(), ..queued };
            (Some(queued), events)
        };
        let request = self.key(&tenant, "Message.Send", new.request);
        if taken.is_none() {
            self.accepted = Some(MessageId(id));
            self.messages.push((MessageId(id), tenant));
        }
        Accept { messages: vec![NewMessage { message: Arc::new(message), queued, events }], request }
    }

    fn failure(&self, reason: u8, at: Timestamp) -> Failure {
        let reasons = [Reason::Undelivered, Reason::Rejected, Reason::Reported, Reason::Ambiguous];
        Failure { at, reason: reasons[usize::from(reason) % 4], code: None, detail: Some("why".to_owned()) }
    }

    fn step(&self, step: &StepOp, channel: Channel) -> Step {
        match step {
            StepOp::Send { at, .. } => Step::Send { at: at.map(|count| self.later(count)), channel },
            StepOp::Cancel => Step::Cancel,
            StepOp::Reschedule(count) => Step::Reschedule(self.later(*count)),
            StepOp::Retry => Step::Retry,
            StepOp::Delete => Step::Delete,
            StepOp::Learn { fact, ago, generation } => {
                let at = self.ago(*ago);
                let fact = match fact {
                    FactOp::HandedOff => Fact::HandedOff(at),
                    FactOp::Delivered => Fact::Delivered(at),
                    FactOp::Read => Fact::Read(at),
                    FactOp::Failed(reason) => Fact::Failed(self.failure(*reason, at)),
                };
                Step::Learn { fact, generation: generation.map(i32::from) }
            }
        }
    }

    fn verdict(&self, verdict: &VerdictOp, provider_id: &str) -> Verdict {
        match verdict {
            VerdictOp::Accepted { receipts } => Verdict::Accepted {
                provider_message_id: Some(provider_id.to_owned()),
                reporting: Reporting::Delivery,
                facts: if *receipts { vec![Fact::Delivered(self.now)] } else { Vec::new() },
            },
            VerdictOp::Again { after, counts, ambiguous } => {
                Verdict::Again { at: self.later(*after), counts: *counts, ambiguous: *ambiguous }
            }
            VerdictOp::Hold(count) => Verdict::Hold { until: self.later(*count) },
            VerdictOp::Fail(reason) => Verdict::Fail(self.failure(*reason, self.now)),
            VerdictOp::Expire => Verdict::Expire,
            VerdictOp::Paced(count) => Verdict::Paced { at: self.later(*count) },
        }
    }

    pub(crate) fn change(&mut self, op: &ChangeOp) -> Option<Change> {
        match op {
            ChangeOp::Step { message, who, step, request } => {
                let (id, owner) = self.message(*message)?;
                let step_of = self.step(step, Channel::Sms);
                let mut change = Change::internal(id, step_of, "user_trace".into(), self.now);
                change.tenant = Self::asker(*who, &owner);
                change.request = self.key(&owner, "Message.Change", *request);
                if let StepOp::Send { recipient: Some(number), .. } = step {
                    change.recipient = Some(contact(*number));
                }
                Some(change)
            }
            ChangeOp::Outcome { claim, verdict, repeated, retire } => {
                let index = self.claim(*claim)?;
                let (fresh, provider_id) = (self.id(), format!("try {index}"));
                let verdict = self.verdict(verdict, &provider_id);
                let held = &mut self.held[index];
                let id = held.attempt.filter(|_| *repeated).unwrap_or(fresh);
                held.attempt = Some(id);
                let outcome = Outcome { epoch: held.epoch, provider: Some(PROVIDER.to_owned()), verdict };
                let (message, epoch) = (held.message, held.epoch);
                let actor = format!("provider_{PROVIDER}").into();
                let mut change = Change::internal(message, Step::Outcome(outcome), actor, self.now);
                change.attempt = Some(NewAttempt {
                    id,
                    provider: PROVIDER.to_owned(),
                    epoch,
                    started_at: self.now,
                    outcome: "ACCEPTED",
                    provider_message_id: Some(provider_id),
                    code: None,
                    detail: Some("note".to_owned()),
                    retry_at: None,
                });
                change.retire = retire.map(|number| (format!("token {number}"), "GONE".to_owned()));
                Some(change)
            }
        }
    }

    pub(crate) fn hold(&mut self, claimed: &[Claimed]) {
        self.held.extend(claimed.iter().map(|one| Held {
            message: one.message.state.id,
            epoch: one.queued.epoch,
            attempt: None,
        }));
    }

    pub(crate) fn receipt(&mut self, op: &ReceiptOp) -> NewReceipt {
        const KINDS: [&str; 9] = [
            "SENT",
            "DELIVERED",
            "READ",
            "FAILED",
            "RECIPIENT_DEAD",
            "CLICKED",
            "DEFERRED",
            "UNKNOWN",
            "INBOUND",
        ];
        let (mut message, mut provider_message_id) = (None, None);
        match op.about {
            Target::Message(number) => message = self.message(number).map(|(id, _)| id),
            Target::Try(claim) => {
                provider_message_id = self.claim(claim).map(|index| format!("try {index}"));
            }
            Target::Both(number, claim) => {
                message = self.message(number).map(|(id, _)| id);
                provider_message_id = self.claim(claim).map(|index| format!("try {index}"));
            }
            Target::Unknown(number) => provider_message_id = Some(format!("unknown {number}")),
            Target::Nothing => {}
        }
        let kind = KINDS[usize::from(op.kind) % KINDS.len()];
        let words = serde_json::json!({"channel": "SMS", "from": "+15005550001", "to": "+15005550002",
            "subject": null, "body": "hi", "metadata": [["media", "1"]]});
        let id = self.id();
        if kind == "INBOUND" {
            self.messages.push((MessageId(id), Tenant::default()));
        }
        NewReceipt {
            id,
            provider: PROVIDER.into(),
            received_at: self.now,
            kind,
            message,
            provider_message_id,
            at: self.ago(op.ago),
            code: (kind == "FAILED").then(|| "30003".to_owned()),
            detail: None,
            data: (kind == "INBOUND").then(|| words.to_string()),
        }
    }

    pub(crate) fn activity(&mut self, about: &About, event: Option<EventId>) -> Activity {
        let id = ActivityId(self.id());
        self.activities.push((id, about.tenant.clone()));
        Activity { event, ..activity_on_sent(about, id, EventId(0), self.now) }
    }

    pub(crate) fn ticket(&mut self, about: &About, event: Option<EventId>) -> Ticket {
        let id = TicketId(self.id());
        self.tickets.push((id, about.tenant.clone()));
        Ticket { event, ..ticket_on_failed(about, id, EventId(0), self.now) }
    }

    /// The line of the log of a contact.
    pub(crate) fn contact_event(&self, tenant: &Tenant, id: &str, version: i64) -> NewEvent {
        NewEvent {
            kind: kind::CONTACT_UPDATED,
            tenant: tenant.clone(),
            target: id.to_owned(),
            entity: entity_of(id),
            actor: "user_trace".to_owned(),
            at: self.now,
            version,
            data: EventData::default(),
        }
    }
}
