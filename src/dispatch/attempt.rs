//! One try: address, hand-off, verdict, result.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use headlessly_providers::contract::{Accepted, Dispatch, Fault, Party, ReceiptKind, SendError};
use tracing::Instrument as _;

use super::{
    Inner,
    policy::{self, Case},
    slots::{Ambiguity, Seat, Slot},
};
use crate::{
    metrics::ByOutcome,
    model::{
        Channel, Timestamp,
        contact::Contact,
        ids::is_contact,
        message::Message,
        status::{Fact, Failure, Reason},
        verbs::{Outcome, Step, Verdict},
    },
    store::{Attempt, Change, Claimed, NewAttempt, StoreError},
};

/// Hands a claimed message off and writes what came of it.
pub(super) async fn run(inner: Arc<Inner>, claimed: Claimed, seat: Seat) {
    let id = claimed.message.state.id;
    let span = tracing::debug_span!("handoff", message = %id, provider = %seat.slot.name, epoch = claimed.queued.epoch);
    // The lease began with the claim, which may have taken a while to come back.
    inner.held().insert(id, (claimed.queued.epoch, claimed.queued.due_at.minus(inner.settings.lease)));
    match pinned(&inner, &claimed, seat).await {
        Some(seat) => work(&inner, &claimed, &seat.slot).instrument(span).await,
        None => {
            let now = inner.now();
            let again = Verdict::Again { at: now.plus(LATER), counts: false, ambiguous: true };
            record(&inner, &claimed, change(&claimed, None, again, now)).await;
        }
    }
    let mut held = inner.held();
    // When this lease was lost, the message may be held under a later one by now.
    if held.get(&id).is_some_and(|(epoch, _)| *epoch == claimed.queued.epoch) {
        held.remove(&id);
    }
}

/// A message that a provider may have goes to no other one: there its idempotency key means nothing. `None` when that provider has
/// no place now.
async fn pinned(inner: &Inner, claimed: &Claimed, seat: Seat) -> Option<Seat> {
    if !claimed.queued.ambiguous {
        return Some(seat);
    }
    let state = &claimed.message.state;
    let attempts = match inner.store.attempts(state.id).await {
        Ok(attempts) => attempts,
        Err(error) => {
            tracing::error!(%error, "the tries before cannot be looked up; trying again");
            return None;
        }
    };
    let unsure = |attempt: &&Attempt| {
        attempt.generation == state.generation && attempt.outcome == Fault::Ambiguous.as_str()
    };
    match attempts.iter().rev().find(unsure) {
        Some(last) if last.provider != *seat.slot.name && inner.slots.get(&last.provider).is_some() => {
            inner.slots.seat_at(&last.provider, inner.now())
        }
        _ => Some(seat),
    }
}

/// A message of a channel that nobody serves.
pub(super) async fn unserved(inner: &Inner, claimed: Claimed) {
    let now = inner.now();
    let detail = "no provider is configured for the channel".to_owned();
    let failure = Failure { at: now, reason: Reason::NoProvider, code: None, detail: Some(detail) };
    record(inner, &claimed, change(&claimed, None, Verdict::Fail(failure), now)).await;
}

async fn work(inner: &Inner, claimed: &Claimed, slot: &Arc<Slot>) {
    let message = &claimed.message;
    let started_at = inner.now();
    if claimed.queued.expires_at <= started_at {
        record(inner, claimed, change(claimed, None, Verdict::Expire, started_at)).await;
        return;
    }
    // Its last holder was lost together with the answer of the provider: what may not be repeated waits for a receipt.
    if claimed.queued.ambiguous && ambiguity(slot, message) == Ambiguity::Hold {
        let hold = Verdict::Hold { until: started_at.plus(inner.settings.hold) };
        record(inner, claimed, change(claimed, None, hold, started_at)).await;
        return;
    }
    let dispatch = match address(inner, claimed, slot, started_at).await {
        Ok(dispatch) => dispatch,
        Err(Unaddressed::Nowhere(failure)) => {
            record(inner, claimed, change(claimed, None, Verdict::Fail(failure), inner.now())).await;
            return;
        }
        Err(Unaddressed::Later(error)) => {
            tracing::error!(%error, "the recipient cannot be looked up; trying again");
            let again = Verdict::Again { at: started_at.plus(LATER), counts: false, ambiguous: false };
            record(inner, claimed, change(claimed, None, again, started_at)).await;
            return;
        }
    };
    // Whoever takes over a lease that ran out relies on it: nothing begins under it any more.
    let now = inner.now();
    if claimed.queued.due_at <= now {
        let again = Verdict::Again { at: now, counts: false, ambiguous: false };
        record(inner, claimed, change(claimed, None, again, now)).await;
        return;
    }
    let result = hand_off(slot, &dispatch).await;
    let now = inner.now();
    let mut change = settle(inner, claimed, slot, &result, now);
    let outcome = result.as_ref().map_or_else(|error| error.fault.as_str(), |_| "ACCEPTED");
    inner.metrics.handoffs.get_or_create(&ByOutcome { provider: slot.name.to_string(), outcome }).inc();
    if result.is_ok() {
        let accepted_at = message.state.scheduled_at.unwrap_or(message.content.created_at);
        inner.metrics.handoff_seconds.observe(now.since(accepted_at).as_secs_f64());
    }
    change.attempt = Some(attempt(inner, claimed, slot, started_at, &result, &change.step));
    if let Err(error) = &result
        && error.retire_recipient
        && dispatch.channel == Channel::Push
    {
        let reason = error.code.clone().unwrap_or_else(|| error.fault.as_str().to_owned());
        change.retire = Some((dispatch.recipient.address, reason));
    }
    record(inner, claimed, change).await;
}

/// What to do with a message that this provider may or may not have.
fn ambiguity(slot: &Slot, message: &Message) -> Ambiguity {
    let channel = message.state.channel.unwrap_or(Channel::Email);
    policy::ambiguity(slot.ambiguity, slot.provider.profile().idempotent, channel)
}

/// How long to leave a message whose recipient could not be looked up.
const LATER: Duration = Duration::from_secs(5);

/// Calls the provider within its deadline. A plugin that panics takes nothing with it.
async fn hand_off(slot: &Slot, dispatch: &Dispatch) -> Result<Accepted, SendError> {
    let deadline = slot.provider.profile().attempt_deadline;
    let send = AssertUnwindSafe(slot.provider.send(dispatch)).catch_unwind();
    match tokio::time::timeout(deadline, send).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(SendError::new(Fault::Ambiguous, "the plugin panicked").code("PANIC")),
        Err(_) => {
            let detail = format!("no answer within {} s", deadline.as_secs());
            Err(SendError::new(Fault::Ambiguous, detail).code("DEADLINE"))
        }
    }
}

fn settle(
    inner: &Inner,
    claimed: &Claimed,
    slot: &Arc<Slot>,
    result: &Result<Accepted, SendError>,
    now: Timestamp,
) -> Change {
    let state = &claimed.message.state;
    let channel = state.channel.unwrap_or(Channel::Email);
    let profile = slot.provider.profile();
    let verdict = match result {
        Ok(accepted) => {
            slot.accepted();
            Verdict::Accepted {
                provider_message_id: accepted.provider_message_id.clone(),
                reporting: profile.reporting,
                facts: accepted.receipts.iter().filter_map(|receipt| known(receipt, now)).collect(),
            }
        }
        Err(error) => {
            let rest = slot.refused(error, now);
            if error.fault == Fault::Unauthorized {
                tracing::error!(provider = %slot.name, "the provider refuses our credentials; its messages wait");
            }
            policy::decide(
                error,
                &Case {
                    queued: &claimed.queued,
                    now,
                    backoff: inner.settings.backoff,
                    seed: state.id.0.unsigned_abs(),
                    ambiguity: ambiguity(slot, &claimed.message),
                    hold: inner.settings.hold,
                    rest,
                    another: inner.slots.any_well(channel, now),
                },
            )
        }
    };
    change(claimed, Some(slot), verdict, now)
}

/// What a provider reported within the call, as facts.
fn known(receipt: &headlessly_providers::contract::Receipt, now: Timestamp) -> Option<Fact> {
    let at = receipt.at.unwrap_or(now);
    match receipt.kind {
        ReceiptKind::Delivered => Some(Fact::Delivered(at)),
        ReceiptKind::Read => Some(Fact::Read(at)),
        _ => None,
    }
}

fn change(claimed: &Claimed, slot: Option<&Arc<Slot>>, verdict: Verdict, now: Timestamp) -> Change {
    let actor: Arc<str> = match slot {
        Some(slot) => format!("provider_{}", slot.name).into(),
        None => "system".into(),
    };
    let provider = slot.map(|slot| slot.name.to_string());
    let outcome = Outcome { epoch: claimed.queued.epoch, provider, verdict };
    Change::internal(claimed.message.state.id, Step::Outcome(outcome), actor, now)
}

fn attempt(
    inner: &Inner,
    claimed: &Claimed,
    slot: &Slot,
    started_at: Timestamp,
    result: &Result<Accepted, SendError>,
    step: &Step,
) -> NewAttempt {
    let error = result.as_ref().err();
    let retry_at = match step {
        Step::Outcome(Outcome { verdict: Verdict::Again { at, .. }, .. }) => Some(*at),
        _ => None,
    };
    let accepted = result.as_ref().ok();
    NewAttempt {
        id: inner.ids.next(started_at),
        provider: slot.name.to_string(),
        epoch: claimed.queued.epoch,
        started_at,
        outcome: error.map_or("ACCEPTED", |error| error.fault.as_str()),
        provider_message_id: accepted.and_then(|accepted| accepted.provider_message_id.clone()),
        code: error.and_then(|error| error.code.clone()),
        detail: error
            .map(|error| error.detail.clone())
            .or_else(|| accepted.and_then(|accepted| accepted.note.clone())),
        retry_at,
    }
}

/// Writes a result. When the store is away it is kept and offered again for as long as the lease may last; after that the message is
/// found again as one that may have been sent.
async fn record(inner: &Inner, claimed: &Claimed, change: Change) {
    let deadline = tokio::time::Instant::now() + inner.settings.lease * 10;
    let mut wait = Duration::from_millis(50);
    loop {
        match inner.store.change(change.clone()).await {
            Ok(_) => return,
            Err(StoreError::Refused(refusal, _)) => {
                inner.metrics.orphans.inc();
                tracing::warn!(message = %claimed.message.state.id, ?refusal, "a result came after its lease had gone");
                return;
            }
            Err(error) => {
                tracing::error!(message = %claimed.message.state.id, %error, "a result cannot be written");
                if tokio::time::Instant::now() + wait > deadline {
                    return;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
        }
    }
}

enum Unaddressed {
    Nowhere(Failure),
    Later(StoreError),
}

/// Makes the hand-off of a message: contacts become addresses now, at the moment of sending.
async fn address(
    inner: &Inner,
    claimed: &Claimed,
    slot: &Slot,
    now: Timestamp,
) -> Result<Dispatch, Unaddressed> {
    let message = &claimed.message;
    let state = &message.state;
    let channel = state.channel.unwrap_or(Channel::Email);
    let recipient = state.recipient.as_deref().unwrap_or_default();
    let parties: Vec<&str> = [Some(recipient), state.sender.as_deref()]
        .into_iter()
        .flatten()
        .filter(|id| is_contact(id))
        .collect();
    let contacts = if parties.is_empty() {
        Vec::new()
    } else {
        inner.store.contacts(&state.tenant, &parties).await.map_err(Unaddressed::Later)?
    };
    let find = |id: &str| contacts.iter().find(|contact| contact.id == id);
    let party = |contact: &Arc<Contact>| {
        let address = contact.address(channel)?;
        Some(Party { address: address.to_owned(), name: contact.name.clone() })
    };
    let recipient = if is_contact(recipient) {
        find(recipient).and_then(party).ok_or_else(|| {
            Unaddressed::Nowhere(Failure {
                at: now,
                reason: Reason::NoAddress,
                code: None,
                detail: Some(format!("the contact has no {} address", channel.title())),
            })
        })?
    } else {
        Party { address: recipient.to_owned(), name: None }
    };
    // A sender without an address on the channel is spoken for by the provider's own.
    let sender = match state.sender.as_deref() {
        Some(id) if is_contact(id) => find(id).and_then(party),
        Some(address) => Some(Party { address: address.to_owned(), name: None }),
        None => None,
    };
    Ok(dispatch(message, claimed.queued.tries, slot, sender, recipient, now))
}

fn dispatch(
    message: &Message,
    tries: i32,
    slot: &Slot,
    sender: Option<Party>,
    recipient: Party,
    now: Timestamp,
) -> Dispatch {
    let (state, content) = (&message.state, &message.content);
    let id = state.id.to_string();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let metadata = content.metadata.iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect();
    Dispatch {
        idempotency_key: format!("{id}.{}", state.generation),
        message_id: id,
        attempt: u32::try_from(tries + 1).unwrap_or(1),
        channel: state.channel.unwrap_or(Channel::Email),
        sender,
        recipient,
        subject: content.subject.clone(),
        body: content.body.clone(),
        html_body: content.html_body.clone(),
        attachments: content.attachments.clone(),
        headers: content.headers.clone(),
        metadata,
        thread: state.thread.clone(),
        in_reply_to: content.in_reply_to.clone(),
        priority: state.priority,
        expires_at: state.expires_at,
        now,
        callback_url: slot.callback_url.clone(),
    }
}
