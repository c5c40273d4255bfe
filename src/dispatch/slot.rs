//! A provider as the dispatcher sees it: places, health, speed, counts.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use headlessly_providers::contract::{ChannelProvider, Fault, SendError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{
    breaker::{Admission, Breaker, BreakerState},
    pace::{Bucket, Pace, Rate},
    senders::Senders,
};
use crate::{
    model::{Channel, Timestamp},
    store::Turn,
};

/// What to do when a hand-off may or may not have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// Try again under the same idempotency key: twice is better than never.
    Retry,
    /// Wait for a receipt: never is better than twice.
    Hold,
    /// Ask the provider, and then go on by what it knows.
    Reconcile,
}

/// How a provider is treated.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Hand-offs at once; what the plugin advises when `None`.
    pub max_in_flight: Option<usize>,
    /// Lower goes first.
    pub priority: i32,
    /// The share of messages among those of equal priority.
    pub weight: u32,
    /// What to do with an ambiguous hand-off; by channel when `None`.
    pub ambiguity: Option<Ambiguity>,
    /// Hand-offs at most in a time.
    pub rate: Option<Rate>,
    /// How many of these may go at once after a pause; a tenth of a second's worth when `None`.
    pub burst: Option<u32>,
    /// Hand-offs at most in a time of each sender.
    pub sender_rate: Option<Rate>,
    /// How long it is left alone when it fails, before one message finds out.
    pub probe: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            max_in_flight: None,
            priority: 100,
            weight: 100,
            ambiguity: None,
            rate: None,
            burst: None,
            sender_rate: None,
            probe: Duration::from_secs(30),
        }
    }
}

/// A configured provider.
pub struct Slot {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The instance.
    pub provider: Arc<dyn ChannelProvider>,
    /// The channels it is used for.
    pub channels: Vec<Channel>,
    /// How it is treated.
    pub terms: Terms,
    /// Where its callbacks are received.
    pub callback_url: Option<String>,
    /// Hand-offs at once.
    pub max_in_flight: usize,
    places: Arc<Semaphore>,
    health: Mutex<Health>,
    senders: Option<Mutex<Senders>>,
    /// Among how many nodes its rates are shared.
    nodes: AtomicU32,
    accepted: AtomicU64,
    refused: AtomicU64,
}

struct Health {
    breaker: Breaker,
    pace: Pace,
    bucket: Option<(Duration, Bucket)>,
    /// Why nothing goes to it, when that is so.
    reason: Option<&'static str>,
    last_error: Option<(Timestamp, String)>,
}

/// How a provider is doing, as it is shown.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What its breaker says.
    pub state: BreakerState,
    /// Nothing is handed to it before then.
    pub paused_until: Option<Timestamp>,
    /// Why.
    pub paused_reason: Option<String>,
    /// The last refusal.
    pub last_error: Option<(Timestamp, String)>,
    /// Hand-offs a second it may get now, when that is limited.
    pub rate: Option<f64>,
    /// Hand-offs at once that it may get now.
    pub places: usize,
}

/// What a refusal means for the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It was known to be in trouble: the refusal says nothing about the message.
    pub(super) suspect: bool,
    /// Nothing goes to it any more, from now on.
    pub(super) opened: bool,
}

impl Slot {
    /// A slot on these terms.
    pub fn new(name: &str, provider: Arc<dyn ChannelProvider>, terms: Terms) -> Self {
        let places = terms.max_in_flight.unwrap_or(provider.profile().max_in_flight).clamp(1, 10_000);
        let bucket = terms.rate.map(|rate| {
            let tenth = Duration::from_millis(100).as_micros() / rate.every().as_micros();
            let burst = terms.burst.unwrap_or_else(|| u32::try_from(tenth).unwrap_or(u32::MAX));
            (rate.every(), Bucket::new(burst))
        });
        let health = Health {
            breaker: Breaker::new(terms.probe),
            pace: Pace::default(),
            bucket,
            reason: None,
            last_error: None,
        };
        Self {
            name: name.into(),
            channels: provider.profile().channels.clone(),
            provider,
            terms,
            callback_url: None,
            max_in_flight: places,
            places: Arc::new(Semaphore::new(places)),
            health: Mutex::new(health),
            senders: terms.sender_rate.map(|rate| Mutex::new(Senders::new(rate.every()))),
            nodes: AtomicU32::new(1),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    /// The places of this node: its share of those that the provider bears now.
    fn share_of_places(&self, health: &Health, now: Timestamp) -> usize {
        (health.pace.places(now, self.max_in_flight) / self.nodes() as usize).max(1)
    }

    /// Among how many nodes its rates and its places are shared.
    pub(super) fn share_rates(&self, nodes: u32) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// Whether its senders have a rate each.
    pub(super) fn counts_senders(&self) -> bool {
        self.senders.is_some()
    }

    /// How it is doing.
    pub fn condition(&self, now: Timestamp) -> Condition {
        let health = self.health();
        let paused_until = health.shut_until(now);
        let state = health.breaker.state(now);
        let every = health.bucket.as_ref().map(|(every, _)| health.pace.stretch(now, *every * self.nodes()));
        Condition {
            state,
            paused_until,
            paused_reason: paused_until.and(health.reason).map(str::to_owned),
            last_error: health.last_error.clone(),
            rate: every.map(|every| 1.0 / every.as_secs_f64()),
            places: self.share_of_places(&health, now),
        }
    }

    /// What its breaker says.
    pub fn state(&self, now: Timestamp) -> BreakerState {
        self.health().breaker.state(now)
    }

    /// Hand-offs under way.
    pub fn in_flight(&self) -> usize {
        self.max_in_flight - self.places.available_permits().min(self.max_in_flight)
    }

    /// Hand-offs it accepted and refused, in this process.
    pub fn counts(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Until when nothing is handed to it, when that is so now.
    pub(super) fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.health().shut_until(now)
    }

    /// It accepted a message: whatever was, it is well.
    pub(super) fn accepted(&self, now: Timestamp) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.health().breaker.answered(now);
    }

    /// It did not accept a message.
    pub(super) fn refused(&self, error: &SendError, now: Timestamp) -> Verdict {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut health = self.health();
        let code = error.code.as_deref().unwrap_or("-");
        health.last_error = Some((now, format!("{} ({code})", error.fault.as_str())));
        let suspect = health.breaker.is_suspect();
        let opened = match error.fault {
            Fault::Throttled => {
                health.pace.throttled(now, error.retry_after);
                health.breaker.answered(now);
                health.reason = Some(error.fault.as_str());
                false
            }
            Fault::Unauthorized => health.breaker.unauthorized(now),
            Fault::Transient | Fault::Ambiguous => health.breaker.failed(now, error.retry_after),
            // The message's fault, not the provider's: it answered.
            Fault::Rejected | Fault::BadRecipient => {
                health.breaker.answered(now);
                false
            }
        };
        if opened {
            health.reason = Some(error.fault.as_str());
        }
        Verdict { suspect, opened }
    }

    /// Whether a message of this sender may go now; else the time that is its own. `given`: it comes at such a time.
    ///
    /// # Errors
    /// The time at which it may go.
    pub(super) fn pass(&self, sender: Option<&str>, given: bool, now: Timestamp) -> Result<(), Timestamp> {
        let Some(senders) = &self.senders else { return Ok(()) };
        let mut senders = senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.pass(sender.unwrap_or_default(), given, now, self.nodes())
    }

    /// The turn of a message of this sender that is about to be stored.
    pub(super) fn book(&self, sender: Option<&str>, now: Timestamp) -> Turn {
        let Some(senders) = &self.senders else { return Turn::Free };
        let mut senders = senders.lock().unwrap_or_else(PoisonError::into_inner);
        let at = senders.book(sender.unwrap_or_default(), now, self.nodes());
        if at > now { Turn::At(at) } else { Turn::Now }
    }

    /// A place, if it may be asked now and has one.
    pub(super) fn seat(self: &Arc<Self>, now: Timestamp, freed: &Arc<Notify>) -> Option<Seat> {
        let mut health = self.health();
        if health.shut_until(now).is_some() {
            return None;
        }
        let (places, nodes) = (self.share_of_places(&health, now), self.nodes());
        let every = health.bucket.as_ref().map(|(every, _)| health.pace.stretch(now, *every * nodes));
        let free = |(bucket, every): (&(Duration, Bucket), Duration)| bucket.1.free_at(every) <= now;
        if !health.bucket.as_ref().zip(every).is_none_or(free) {
            return None;
        }
        // The permit first: what the breaker grants is used.
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let admission = health.breaker.admit(now, self.in_flight() - 1, places);
        if admission == Admission::No {
            return None;
        }
        if let Some(((_, bucket), every)) = health.bucket.as_mut().zip(every) {
            bucket.take(now, every);
        }
        let probe = admission == Admission::Probe;
        drop(health);
        let unused = Some(Unused { probe, every, now });
        Some(Seat { slot: self.clone(), permit: Some(permit), freed: freed.clone(), unused })
    }

    /// When it may be asked again, when it may not now and that is a matter of time only.
    pub(super) fn free_at(&self, now: Timestamp) -> Option<Timestamp> {
        let health = self.health();
        let free = health
            .bucket
            .as_ref()
            .map(|(every, bucket)| bucket.free_at(health.pace.stretch(now, *every * self.nodes())));
        health.shut_until(now).max(free.filter(|at| *at > now))
    }
}

impl Health {
    fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.breaker.closed_until(now).max(self.pace.resting_until(now))
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a place took that is given back when nothing is handed off.
struct Unused {
    probe: bool,
    every: Option<Duration>,
    now: Timestamp,
}

/// A place at a provider, free again when it is dropped.
pub(super) struct Seat {
    pub(super) slot: Arc<Slot>,
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
    unused: Option<Unused>,
}

impl Seat {
    /// The hand-off begins.
    pub(super) fn begin(&mut self) {
        self.unused = None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(unused) = self.unused.take() {
            let mut health = self.slot.health();
            if unused.probe {
                health.breaker.unused_probe(unused.now);
            }
            if let (Some((_, bucket)), Some(every)) = (&mut health.bucket, unused.every) {
                bucket.give_back(every);
            }
        }
        self.permit.take();
        self.freed.notify_waiters();
    }
}
