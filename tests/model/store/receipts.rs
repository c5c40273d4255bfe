//! Receipts: applied in the order in which they came, parked until their message is known.

use std::time::Duration;

use headlessly_communication::{
    model::{
        Channel, Priority, Reporting, Timestamp,
        event::{NewEvent, kind},
        ids::{MessageId, Tenant, time_of},
        message::{Direction, Draft, Message, Metadata},
        status::{Fact, Failure, Reason},
        verbs::{Step, created},
    },
    store::{Applied, NewAttempt, NewReceipt},
};

use super::{
    After,
    data::{Data, Reported, Settled, Tried},
};

/// How long a receipt waits for its message.
const PARKED: Duration = Duration::from_secs(72 * 3600);

/// A message, and the generation of the try that a receipt is about when that is known.
type Target = Option<(MessageId, Option<i32>)>;

impl Data {
    pub(crate) fn put_receipts(&mut self, receipts: Vec<NewReceipt>, after: &mut After) {
        for new in receipts {
            let target = self.target(new.message, &new);
            let settled = if new.kind == "INBOUND" {
                after.receipts = true;
                Settled::Waiting
            } else {
                self.learn(&new, target, new.received_at, after)
            };
            let message = target.map(|(id, _)| id);
            self.receipts.insert(new.id, Reported { new, settled, message });
        }
    }

    pub(crate) fn apply_receipts(&mut self, now: Timestamp, limit: i64, after: &mut After) -> Applied {
        let waiting = self.receipts.iter().filter(|(_, one)| one.settled == Settled::Waiting);
        let limit = usize::try_from(limit).unwrap_or(0);
        let waiting: Vec<(i64, NewReceipt)> =
            waiting.take(limit).map(|(id, one)| (*id, one.new.clone())).collect();
        let targets: Vec<Target> =
            waiting.iter().map(|(id, new)| self.target(self.receipts[id].message, new)).collect();
        let mut done = Applied::default();
        for ((id, new), target) in waiting.into_iter().zip(targets) {
            let settled = if new.kind == "INBOUND" {
                self.inbound(&new, now)
            } else {
                self.learn(&new, target, now, after)
            };
            match settled {
                Settled::Applied => done.applied += 1,
                Settled::Parked => done.parked += 1,
                Settled::Ignored | Settled::Waiting => done.ignored += 1,
            }
            if let Some(reported) = self.receipts.get_mut(&id) {
                reported.settled = settled;
                reported.message = target.map(|(id, _)| id);
            }
        }
        done
    }

    /// Looks again for the messages of parked receipts; what waited too long is of no effect.
    pub(crate) fn look_again(&mut self, now: Timestamp, after: &mut After) {
        let parked = self.receipts.iter().filter(|(_, one)| one.settled == Settled::Parked);
        let seen: Vec<(i64, Settled)> = parked
            .filter_map(|(id, one)| match self.try_of(&one.new) {
                Some(_) => Some((*id, Settled::Waiting)),
                None if one.new.received_at < now.minus(PARKED) => Some((*id, Settled::Ignored)),
                None => None,
            })
            .collect();
        for (id, settled) in seen {
            after.receipts |= settled == Settled::Waiting;
            if let Some(one) = self.receipts.get_mut(&id) {
                one.settled = settled;
            }
        }
    }

    /// By our own id, else by the provider's. The latest try under the provider's id tells the generation.
    fn target(&self, message: Option<MessageId>, new: &NewReceipt) -> Target {
        let tried = self.try_of(new).map(|tried| (tried.message, tried.generation));
        match (message, tried) {
            (Some(id), tried) => {
                Some((id, tried.filter(|(of, _)| *of == id).map(|(_, generation)| generation)))
            }
            (None, tried) => tried.map(|(id, generation)| (id, Some(generation))),
        }
    }

    fn try_of(&self, new: &NewReceipt) -> Option<&Tried> {
        let id = new.provider_message_id.as_ref()?;
        self.attempts.values().rev().find(|tried| {
            *tried.attempt.provider == *new.provider && tried.attempt.provider_message_id.as_ref() == Some(id)
        })
    }

    fn learn(&mut self, new: &NewReceipt, target: Target, now: Timestamp, after: &mut After) -> Settled {
        let Some(fact) = fact(new) else { return Settled::Ignored };
        let Some((id, generation)) = target else {
            return if new.provider_message_id.is_some() { Settled::Parked } else { Settled::Ignored };
        };
        let actor = format!("provider_{}", new.provider);
        match self.step(id, &Step::Learn { fact, generation }, (now, &actor), after) {
            Some(_) => Settled::Applied,
            None => Settled::Ignored,
        }
    }

    /// Somebody wrote to us: a message, once for each id of the provider.
    fn inbound(&mut self, new: &NewReceipt, now: Timestamp) -> Settled {
        let Some(message) = inbound_message(new) else { return Settled::Ignored };
        if self.try_of(new).is_some() {
            return Settled::Ignored;
        }
        let actor = format!("provider_{}", new.provider);
        let first = created(&message.state, now, &actor);
        self.log(first.clone());
        self.log(NewEvent { kind: kind::MESSAGE_RECEIVED, at: new.at, ..first });
        let attempt = NewAttempt {
            id: new.id,
            provider: new.provider.to_string(),
            epoch: 0,
            started_at: new.at,
            outcome: "RECEIVED",
            provider_message_id: new.provider_message_id.clone(),
            code: None,
            detail: None,
            retry_at: None,
        };
        let id = message.state.id;
        self.messages.insert(id, message);
        let tried = Tried { message: id, generation: 1, attempt, ended_at: now, orphan: false };
        self.attempts.insert(new.id, tried);
        Settled::Applied
    }
}

fn fact(new: &NewReceipt) -> Option<Fact> {
    let at = new.at;
    let failed =
        |reason| Fact::Failed(Failure { at, reason, code: new.code.clone(), detail: new.detail.clone() });
    match new.kind {
        "SENT" => Some(Fact::HandedOff(at)),
        "DELIVERED" => Some(Fact::Delivered(at)),
        "READ" | "CLICKED" => Some(Fact::Read(at)),
        "FAILED" => Some(failed(Reason::Undelivered)),
        "RECIPIENT_DEAD" => Some(failed(Reason::BadRecipient)),
        _ => None,
    }
}

fn inbound_message(new: &NewReceipt) -> Option<Message> {
    let data: serde_json::Value = serde_json::from_str(new.data.as_deref()?).ok()?;
    let text = |name: &str| data.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let pairs = data.get("metadata").and_then(|value| value.as_array()).cloned().unwrap_or_default();
    let metadata: Metadata =
        pairs.iter().filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].clone()))).collect();
    let draft = Draft {
        channel: Some(text("channel")?.parse::<Channel>().ok()?),
        direction: Direction::Inbound,
        sender: Some(text("from")?),
        recipient: Some(text("to")?),
        subject: text("subject"),
        body: text("body")?,
        metadata: (!metadata.is_empty()).then_some(metadata),
        priority: Priority::Normal,
        ..Draft::default()
    };
    let actor = format!("provider_{}", new.provider);
    let mut message = Message::new(draft, MessageId(new.id), Tenant::default(), time_of(new.id), &actor);
    message.state.provider = Some(new.provider.to_string());
    message.state.provider_message_id = new.provider_message_id.clone();
    message.state.reporting = Some(Reporting::Delivery);
    message.state.facts.accepted = Some(new.at);
    message.state.facts.delivered = Some(new.at);
    Some(message)
}
