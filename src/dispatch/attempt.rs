//! One try: address, hand-off, verdict, result.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt as _;
use headlessly_providers::contract::{Accepted, Dispatch, Fault, Lookup, ReceiptKind, SendError};
use tracing::Instrument as _;

use super::{
    Inner,
    address::{Unaddressed, address},
    policy::{self, Case},
    route::{self, Way},
    slots::{Ambiguity, Seat, Slot},
};
use crate::{
    metrics::{ByOutcome, ByProvider},
    model::{
        Channel, Timestamp,
        message::Message,
        status::{Fact, Failure, Reason},
        verbs::{Outcome, Step, Verdict},
    },
    store::{Change, Claimed, NewAttempt, StoreError},
};

/// Hands a claimed message off and writes what came of it.
pub(super) async fn run(inner: Arc<Inner>, claimed: Claimed, seat: Seat) {
    let id = claimed.message.state.id;
    let span = tracing::debug_span!("handoff", message = %id, provider = %seat.slot.name, epoch = claimed.queued.epoch);
    // The lease began with the claim, which may have taken a while to come back.
    inner.held().insert(id, (claimed.queued.epoch, claimed.queued.due_at.minus(inner.settings.lease)));
    go(&inner, &claimed, seat).instrument(span).await;
    let mut held = inner.held();
    // When this lease was lost, the message may be held under a later one by now.
    if held.get(&id).is_some_and(|(epoch, _)| *epoch == claimed.queued.epoch) {
        held.remove(&id);
    }
}

async fn go(inner: &Inner, claimed: &Claimed, seat: Seat) {
    let state = &claimed.message.state;
    let before = if state.attempts == 0 {
        Vec::new()
    } else {
        match inner.store.attempts(state.id).await {
            Ok(attempts) => attempts,
            Err(error) => {
                drop(seat);
                tracing::error!(%error, "the tries before cannot be looked up; trying again");
                return put_back(inner, claimed, LATER).await;
            }
        }
    };
    let way = route::way(&before, state.generation, claimed.queued.ambiguous);
    let Some(seat) = placed(inner, claimed, &way, seat) else {
        return put_back(inner, claimed, if way.pinned.is_some() { LATER } else { SOON }).await;
    };
    let now = inner.now();
    match seat.slot.pass(state.sender.as_deref(), claimed.queued.paced, now) {
        Ok(()) => work(inner, claimed, seat, &way).await,
        Err(at) => {
            // It waits without a place.
            drop(seat);
            record(inner, claimed, change(claimed, None, Verdict::Paced { at }, now)).await;
        }
    }
}

/// A place at a provider that this message may go to. `None` when there is one that has none now.
fn placed(inner: &Inner, claimed: &Claimed, way: &Way<'_>, seat: Seat) -> Option<Seat> {
    let (here, now) = (seat.slot.name.clone(), inner.now());
    if let Some(pinned) = way.pinned {
        if pinned == &*here || inner.slots.get(pinned).is_none() {
            return Some(seat);
        }
        drop(seat);
        return inner.slots.seat_at(pinned, now);
    }
    let channel = claimed.message.state.channel.unwrap_or(Channel::Email);
    if !way.tried.contains(&&*here) || !inner.slots.another(channel, &way.tried, now) {
        return Some(seat);
    }
    drop(seat);
    inner.slots.seat(channel, &way.tried, now)
}

/// Nothing was tried: again after this.
async fn put_back(inner: &Inner, claimed: &Claimed, wait: Duration) {
    let now = inner.now();
    let ambiguous = claimed.queued.ambiguous;
    let again = Verdict::Again { at: now.plus(wait), counts: false, ambiguous };
    record(inner, claimed, change(claimed, None, again, now)).await;
}

/// A message of a channel that nobody serves.
pub(super) async fn unserved(inner: &Inner, claimed: Claimed) {
    let now = inner.now();
    let detail = "no provider is configured for the channel".to_owned();
    let failure = Failure { at: now, reason: Reason::NoProvider, code: None, detail: Some(detail) };
    record(inner, &claimed, change(&claimed, None, Verdict::Fail(failure), now)).await;
}

async fn work(inner: &Inner, claimed: &Claimed, mut seat: Seat, way: &Way<'_>) {
    let slot = seat.slot.clone();
    let started_at = inner.now();
    if let Some(verdict) = over(inner, claimed, &slot, way, started_at) {
        return record(inner, claimed, change(claimed, None, verdict, started_at)).await;
    }
    let dispatch = match address(inner, claimed, &slot, started_at).await {
        Ok(dispatch) => dispatch,
        Err(Unaddressed::Nowhere(failure)) => {
            return record(inner, claimed, change(claimed, None, Verdict::Fail(failure), inner.now())).await;
        }
        Err(Unaddressed::Later(error)) => {
            drop(seat);
            tracing::error!(%error, "the recipient cannot be looked up; trying again");
            return put_back(inner, claimed, LATER).await;
        }
    };
    // Whoever takes over a lease that ran out relies on it: nothing begins under it any more.
    if claimed.queued.due_at <= inner.now() {
        return put_back(inner, claimed, Duration::ZERO).await;
    }
    seat.begin();
    let (result, outcome) = if unsure(claimed, &slot) == Some(Ambiguity::Reconcile) {
        match look_up(&slot, &dispatch).await {
            Ok(Lookup::Found(accepted)) => (Ok(accepted), Some("FOUND")),
            // What was true when it was looked up, somebody else may have changed since.
            Ok(Lookup::NotThere) if claimed.queued.due_at <= inner.now() => {
                return put_back(inner, claimed, Duration::ZERO).await;
            }
            Ok(Lookup::NotThere) => (hand_off(&slot, &dispatch).await, None),
            Ok(Lookup::Unknown) => {
                let now = inner.now();
                let hold = Verdict::Hold { until: now.plus(inner.settings.hold) };
                return record(inner, claimed, change(claimed, None, hold, now)).await;
            }
            Err(error) => {
                drop(seat);
                tracing::warn!(provider = %slot.name, %error, "a hand-off cannot be looked up; trying again");
                return put_back(inner, claimed, LATER).await;
            }
        }
    } else {
        (hand_off(&slot, &dispatch).await, None)
    };
    finish(inner, claimed, &slot, way, started_at, (result, outcome), dispatch).await;
}

/// Writes the result of a try and what follows from it.
async fn finish(
    inner: &Inner,
    claimed: &Claimed,
    slot: &Arc<Slot>,
    way: &Way<'_>,
    started_at: Timestamp,
    (result, outcome): (Result<Accepted, SendError>, Option<&'static str>),
    dispatch: Dispatch,
) {
    let now = inner.now();
    let message = &claimed.message;
    let mut change = settle(inner, claimed, slot, way, &result, now);
    inner.metrics.breaker.get_or_create(&ByProvider::of(&slot.name)).set(slot.state(now).number());
    let outcome =
        outcome.unwrap_or(result.as_ref().map_or_else(|error| error.fault.as_str(), |_| "ACCEPTED"));
    inner.metrics.handoffs.get_or_create(&ByOutcome { provider: slot.name.to_string(), outcome }).inc();
    if result.is_ok() {
        let accepted_at = message.state.scheduled_at.unwrap_or(message.content.created_at);
        inner.metrics.handoff_seconds.observe(now.since(accepted_at).as_secs_f64());
    }
    let attempt = attempt(inner, claimed, slot, started_at, &result, &change.step);
    change.attempt = Some(NewAttempt { outcome, ..attempt });
    if let Err(error) = &result
        && error.retire_recipient
        && dispatch.channel == Channel::Push
    {
        let reason = error.code.clone().unwrap_or_else(|| error.fault.as_str().to_owned());
        change.retire = Some((dispatch.recipient.address, reason));
    }
    record(inner, claimed, change).await;
}

/// What there is to say without a try: its time has passed, or it may not be repeated.
fn over(inner: &Inner, claimed: &Claimed, slot: &Slot, way: &Way<'_>, now: Timestamp) -> Option<Verdict> {
    if claimed.queued.expires_at <= now {
        return Some(Verdict::Expire);
    }
    let hold = Verdict::Hold { until: now.plus(inner.settings.hold) };
    match unsure(claimed, slot)? {
        Ambiguity::Retry => None,
        // Its last holder was lost together with the answer of the provider: what may not be repeated waits for a receipt.
        Ambiguity::Hold => Some(hold),
        // Nobody knows which provider to ask when the holder was lost.
        Ambiguity::Reconcile => {
            let several = inner.slots.serving(claimed.message.state.channel?).len() > 1;
            (way.pinned.is_none() && several).then_some(hold)
        }
    }
}

/// What to do with a message that a provider may have already; `None` for any other.
fn unsure(claimed: &Claimed, slot: &Slot) -> Option<Ambiguity> {
    claimed.queued.ambiguous.then(|| ambiguity(slot, &claimed.message))
}

/// What to do with a message that this provider may or may not have.
fn ambiguity(slot: &Slot, message: &Message) -> Ambiguity {
    let channel = message.state.channel.unwrap_or(Channel::Email);
    policy::ambiguity(slot.terms.ambiguity, slot.provider.profile().idempotent, channel)
}

/// How long to leave a message when the store does not answer, or the provider that may have it cannot be asked.
const LATER: Duration = Duration::from_secs(5);
/// How long to leave a message when the provider that it goes on to is full.
const SOON: Duration = Duration::from_millis(500);

/// Asks the provider what became of an earlier try, within its deadline.
async fn look_up(slot: &Slot, dispatch: &Dispatch) -> Result<Lookup, SendError> {
    let Some(reconcile) = slot.provider.reconcile() else { return Ok(Lookup::Unknown) };
    let deadline = slot.provider.profile().attempt_deadline;
    let lookup = AssertUnwindSafe(reconcile.lookup(dispatch)).catch_unwind();
    match tokio::time::timeout(deadline, lookup).await {
        Ok(Ok(known)) => known,
        Ok(Err(_)) => Ok(Lookup::Unknown),
        Err(_) => Err(SendError::new(Fault::Transient, "no answer in time").code("DEADLINE")),
    }
}

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
    way: &Way<'_>,
    result: &Result<Accepted, SendError>,
    now: Timestamp,
) -> Change {
    let state = &claimed.message.state;
    let channel = state.channel.unwrap_or(Channel::Email);
    let profile = slot.provider.profile();
    let verdict = match result {
        Ok(accepted) => {
            slot.accepted(now);
            Verdict::Accepted {
                provider_message_id: accepted.provider_message_id.clone(),
                reporting: profile.reporting,
                facts: accepted.receipts.iter().filter_map(|receipt| known(receipt, now)).collect(),
            }
        }
        Err(error) => {
            let refused = slot.refused(error, now);
            if refused.opened {
                report(slot, error, now);
            }
            // What a provider may have waits for that provider; all else waits for the first that can be asked again.
            let bound = claimed.queued.ambiguous;
            let not: Vec<&str> = way.tried.iter().copied().chain([&*slot.name]).collect();
            let shut = |slot: &Arc<Slot>| slot.shut_until(now);
            let again_at =
                if bound { shut(slot) } else { inner.slots.serving(channel).iter().filter_map(shut).min() };
            policy::decide(
                error,
                &Case {
                    queued: &claimed.queued,
                    now,
                    backoff: inner.settings.backoff,
                    seed: state.id.0.unsigned_abs(),
                    ambiguity: ambiguity(slot, &claimed.message),
                    hold: inner.settings.hold,
                    rest: again_at.map(|at| at.since(now)),
                    suspect: refused.suspect,
                    another: !bound && inner.slots.another(channel, &not, now),
                },
            )
        }
    };
    change(claimed, Some(slot), verdict, now)
}

/// An operator should know.
fn report(slot: &Slot, error: &SendError, now: Timestamp) {
    let code = error.code.as_deref().unwrap_or("-");
    let until = slot.shut_until(now).unwrap_or(now);
    if error.fault == Fault::Unauthorized {
        tracing::error!(provider = %slot.name, code, "the provider refuses our credentials; it is paused, its messages wait");
    } else {
        tracing::warn!(provider = %slot.name, code, %until, "the provider fails; nothing is handed to it for now");
    }
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
/// found again as one that may have been sent. Meanwhile nothing else is handed off, for its result could not be written either.
async fn record(inner: &Inner, claimed: &Claimed, change: Change) {
    let deadline = tokio::time::Instant::now() + inner.settings.lease * 10;
    let (mut wait, mut unwritten) = (Duration::from_millis(50), None);
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
                if matches!(error, StoreError::Full | StoreError::Unavailable(_)) {
                    unwritten.get_or_insert_with(|| Unwritten::new(inner));
                }
                if tokio::time::Instant::now() + wait > deadline {
                    return;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
        }
    }
}

/// A result that waits to be written, counted while it does.
struct Unwritten<'a>(&'a Inner);

impl<'a> Unwritten<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.unwritten.fetch_add(1, Ordering::Relaxed);
        Self(inner)
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.0.unwritten.fetch_sub(1, Ordering::Relaxed);
    }
}
