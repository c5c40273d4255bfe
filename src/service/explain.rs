//! Why a message went where it went, when, and why not elsewhere: told from what is stored, in the order in which it happened.

use std::sync::Arc;

use super::{Caller, Error, Service, verbs::message_id};
use crate::{
    model::{
        Channel, Timestamp,
        contact::Contact,
        event::{Event, kind},
        ids::is_contact,
        message::Message,
        verbs::{Row, Wait},
    },
    store::{Attempt, EventQuery, ReceiptRow},
};

/// What was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kinds of `Decision` in proto/, under their names")]
pub enum DecisionKind {
    Accept,
    Channel,
    Address,
    Provider,
    Attempt,
    Retry,
    Receipt,
    End,
}

/// One thing that was decided about a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// On what.
    pub kind: DecisionKind,
    /// One sentence.
    pub summary: String,
    /// The provider concerned.
    pub provider: Option<String>,
    /// The attempt concerned, from 1.
    pub attempt: Option<i32>,
    /// The provider's code.
    pub code: Option<String>,
}

/// A message, and what was decided about it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// As it is now.
    pub message: Arc<Message>,
    /// In order.
    pub decisions: Vec<Decision>,
}

/// Everything that is known.
struct Known<'a> {
    message: &'a Message,
    row: &'a Row,
    contact: Option<&'a Contact>,
    served: bool,
    attempts: &'a [Attempt],
    receipts: &'a [ReceiptRow],
    events: &'a [Event],
}

impl Service {
    /// The ordered decisions on a message.
    ///
    /// # Errors
    /// There is no such message.
    pub async fn explain(&self, caller: &Caller, id: &str) -> Result<Explanation, Error> {
        let id = message_id(id)?;
        let message = self.message(caller, id).await?;
        let row = self.row(caller, id).await?;
        let recipient = message.state.recipient.as_deref().filter(|recipient| is_contact(recipient));
        let contact = match recipient {
            Some(contact) => self.store().contacts(&caller.tenant, &[contact]).await?.into_iter().next(),
            None => None,
        };
        let events = EventQuery {
            tenant: Some(caller.tenant.clone()),
            after: 0,
            limit: super::tail::PAGE,
            target: Some(id.to_string()),
        };
        let decisions = decide(&Known {
            message: &message,
            row: &row,
            contact: contact.as_deref(),
            served: message.state.channel.is_none_or(|channel| self.directory().serves(channel)),
            attempts: &self.store().attempts(id).await?,
            receipts: &self.store().receipts(id).await?,
            events: &self.store().events(events).await?,
        });
        Ok(Explanation { message, decisions })
    }
}

fn decision(at: Timestamp, kind: DecisionKind, summary: impl Into<String>) -> Decision {
    Decision { at, kind, summary: summary.into(), provider: None, attempt: None, code: None }
}

fn decide(known: &Known<'_>) -> Vec<Decision> {
    let mut decisions = Vec::new();
    addressing(known, &mut decisions);
    for event in known.events {
        decisions.extend(of_event(known, event));
    }
    attempts(known, &mut decisions);
    for receipt in known.receipts {
        let at =
            if receipt.at == receipt.received_at { String::new() } else { format!(" for {}", receipt.at) };
        let detail = tail(receipt.detail.as_deref());
        let summary = format!("{} reported {}{at}{detail}.", receipt.provider, receipt.kind);
        decisions.push(Decision {
            provider: Some(receipt.provider.clone()),
            code: receipt.code.clone(),
            ..decision(receipt.received_at, DecisionKind::Receipt, summary)
        });
    }
    // Stable: what happened at the same time stays in the order in which it was told.
    decisions.sort_by_key(|decision| decision.at);
    decisions.extend(waiting(known));
    decisions
}

/// The channel and the address, as far as they are told by what is stored now.
fn addressing(known: &Known<'_>, decisions: &mut Vec<Decision>) {
    let state = &known.message.state;
    let at = known.message.content.created_at;
    let Some(channel) = state.channel else {
        return decisions.push(decision(
            at,
            DecisionKind::Channel,
            "No channel is chosen before it is sent.",
        ));
    };
    let preferred = known.contact.is_some_and(|contact| contact.channel() == Some(channel));
    let why = if preferred { ", the channel that the contact prefers now" } else { "" };
    decisions.push(decision(at, DecisionKind::Channel, format!("It goes by {channel}{why}.")));
    let summary = match (known.contact, &state.recipient) {
        (Some(contact), _) => address(contact, channel),
        (None, Some(recipient)) if is_contact(recipient) => {
            format!("There is no contact {recipient} any more.")
        }
        (None, Some(_)) => "It goes to the address that the message names.".to_owned(),
        (None, None) => "It has no recipient yet.".to_owned(),
    };
    decisions.push(decision(at, DecisionKind::Address, summary));
    if !known.served {
        decisions.push(decision(
            at,
            DecisionKind::Provider,
            format!("No configured provider serves {channel} now."),
        ));
    }
}

fn address(contact: &Contact, channel: Channel) -> String {
    let id = &contact.id;
    if contact.deleted_at.is_some() {
        return format!("{id} was deleted and has no address any more.");
    }
    if contact.address(channel).is_none() {
        return format!("{id} has no address for {channel}.");
    }
    let count = contact.addresses.iter().filter(|address| address.channel == channel).count();
    let alive = contact.devices.iter().filter(|device| device.retired_at.is_none()).count();
    match (channel, count) {
        (Channel::Push, _) => format!("{id} has {alive} device(s) in use; the one registered last is used."),
        (_, 0) => format!("{id} has no chat handle and is reached by id."),
        (_, count) => format!("{id} has {count} address(es) for {channel}; the first is used."),
    }
}

fn of_event(known: &Known<'_>, event: &Event) -> Option<Decision> {
    use DecisionKind::{Accept, End, Receipt, Retry};
    let by = &event.actor;
    let state = &known.message.state;
    let reported = !by.starts_with("provider_");
    let late =
        if event.data.late { "; it came after a later fact and did not change the status" } else { "" };
    let until = state.scheduled_at.map(|at| format!(" for {at}")).unwrap_or_default();
    let (kind, summary) = match event.kind.as_str() {
        kind::MESSAGE_CREATED => (Accept, format!("Created by {by}.")),
        kind::MESSAGE_RECEIVED => (Accept, format!("Received through {by}.")),
        kind::MESSAGE_UPDATED => (Accept, format!("Changed by {by}.")),
        kind::MESSAGE_SCHEDULED => (Accept, format!("Scheduled by {by}{until}.")),
        kind::MESSAGE_RESCHEDULED => {
            (Accept, format!("Moved to another time by {by}; it is now scheduled{until}."))
        }
        kind::MESSAGE_QUEUED => (Accept, "Due: it waits for a provider.".to_owned()),
        kind::MESSAGE_RETRIED => (
            Retry,
            format!("Generation {} opened by {by}.", event.data.generation.unwrap_or(state.generation)),
        ),
        kind::MESSAGE_DELIVERED if reported => {
            (Receipt, format!("{by} reported that it was delivered{late}."))
        }
        kind::MESSAGE_READ if reported => (Receipt, format!("{by} reported that it was read{late}.")),
        kind::MESSAGE_FAILED => (End, failed(known, event, late)),
        kind::MESSAGE_CANCELLED => (End, format!("Cancelled by {by} before anything was handed off.")),
        kind::MESSAGE_EXPIRED => (End, "Expired: its time passed before anything was handed off.".to_owned()),
        kind::MESSAGE_DELETED => (End, format!("Deleted by {by}.")),
        // Told by the attempt or the receipt that made it.
        _ => return None,
    };
    let code = event.data.code.clone().filter(|_| kind == End);
    let provider = event.data.provider.clone().filter(|_| kind == End || kind == Receipt);
    Some(Decision { code, provider, ..decision(event.at, kind, summary) })
}

fn failed(known: &Known<'_>, event: &Event, late: &str) -> String {
    let reason = event.data.reason.as_deref().unwrap_or("no reason given");
    // The detail is kept for the failure that counts; events carry none.
    let failure = known.message.state.facts.failed.as_ref().filter(|failure| failure.at == event.at);
    let detail = tail(failure.and_then(|failure| failure.detail.as_deref()));
    format!("It will not arrive: {reason}{detail}{late}.")
}

fn attempts(known: &Known<'_>, decisions: &mut Vec<Decision>) {
    let mut before: Option<&str> = None;
    for (number, attempt) in (1..).zip(known.attempts) {
        let provider = attempt.provider.as_str();
        if before != Some(provider) {
            let summary = match before {
                None => format!("{provider} was chosen."),
                Some(before) => format!("{provider} was chosen after {before}."),
            };
            let chosen = decision(attempt.started_at, DecisionKind::Provider, summary);
            decisions.push(Decision { provider: Some(provider.to_owned()), ..chosen });
        }
        before = Some(provider);
        let orphan = if attempt.orphan {
            " The answer came after the hand-off had been given to another."
        } else {
            ""
        };
        let detail = tail(attempt.detail.as_deref());
        let summary = match (attempt.outcome.as_str(), &attempt.provider_message_id) {
            ("ACCEPTED", Some(id)) => format!("Try {number}: {provider} accepted it as {id}.{orphan}"),
            ("FOUND", _) => format!("Try {number}: {provider} was asked and has it.{orphan}"),
            ("ACCEPTED", None) => format!("Try {number}: {provider} accepted it.{orphan}"),
            (outcome, _) => format!("Try {number}: {provider} did not take it, {outcome}{detail}.{orphan}"),
        };
        let about = |decision| Decision {
            provider: Some(provider.to_owned()),
            attempt: Some(number),
            code: attempt.code.clone(),
            ..decision
        };
        decisions.push(about(decision(attempt.ended_at, DecisionKind::Attempt, summary)));
        if let Some(at) = attempt.retry_at {
            let next = decision(attempt.ended_at, DecisionKind::Retry, format!("To be tried again at {at}."));
            decisions.push(about(next));
        }
    }
}

/// What it waits for now.
fn waiting(known: &Known<'_>) -> Option<Decision> {
    let queued = known.row.queued.as_ref()?;
    let at = queued.due_at;
    let (kind, summary) = match queued.wait {
        Wait::Ready if queued.losses > 0 => (
            DecisionKind::Retry,
            format!(
                "Its hand-off ended without a result {} time(s) in a row, as by a crash; the next is due at {at}.",
                queued.losses
            ),
        ),
        Wait::Ready if queued.paced => {
            (DecisionKind::Provider, format!("Its sender may send only so fast: its own time to go is {at}."))
        }
        Wait::Ready if known.row.state.attempts > 0 => {
            (DecisionKind::Retry, format!("The next try is due at {at}."))
        }
        Wait::Ready => (DecisionKind::Accept, format!("The first try is due at {at}.")),
        Wait::Leased => {
            (DecisionKind::Attempt, format!("A hand-off is under way, until {at} at the latest."))
        }
        Wait::Held => (
            DecisionKind::Retry,
            format!("It may have been sent and is not repeated; a report is awaited until {at}."),
        ),
    };
    Some(decision(known.row.state.updated_at.max(known.message.content.created_at), kind, summary))
}

/// A detail at the end of a sentence, without its own full stop.
fn tail(detail: Option<&str>) -> String {
    let detail = detail.map(|detail| detail.trim().trim_end_matches('.')).filter(|detail| !detail.is_empty());
    detail.map(|detail| format!(": {detail}")).unwrap_or_default()
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
