//! The providers as the dispatcher sees them: places, health, counts.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use headlessly_providers::contract::{ChannelProvider, Fault, SendError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::model::{Channel, Timestamp};

/// What to do when a hand-off may or may not have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// Try again under the same idempotency key: twice is better than never.
    Retry,
    /// Wait for a receipt: never is better than twice.
    Hold,
}

/// A configured provider.
pub struct Slot {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The instance.
    pub provider: Arc<dyn ChannelProvider>,
    /// The channels it is used for.
    pub channels: Vec<Channel>,
    /// Lower goes first.
    pub priority: i32,
    /// What the configuration says for ambiguous hand-offs; by channel when `None`.
    pub ambiguity: Option<Ambiguity>,
    /// Where its callbacks are received.
    pub callback_url: Option<String>,
    /// Hand-offs at once.
    pub max_in_flight: usize,
    places: Arc<Semaphore>,
    health: Mutex<Health>,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// How a provider is doing.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Nothing is handed to it before then.
    pub paused_until: Option<Timestamp>,
    /// Why.
    pub paused_reason: Option<String>,
    /// The last refusal.
    pub last_error: Option<(Timestamp, String)>,
    /// Failures of the provider since it last accepted something.
    failures: u32,
}

/// Failures in a row that make a provider rest.
const FAILURES: u32 = 5;
/// How long it rests then.
const REST: Duration = Duration::from_secs(30);
/// How long a provider that refuses our credentials is left alone.
const UNAUTHORIZED: Duration = Duration::from_secs(60);
/// How long to slow down when a provider says "too fast" without saying how long.
const THROTTLED: Duration = Duration::from_secs(5);
/// However long a provider asks us to wait, we ask again after this.
const LONGEST: Duration = Duration::from_secs(3600);

impl Slot {
    /// A slot with this many places.
    pub fn new(name: &str, provider: Arc<dyn ChannelProvider>, max_in_flight: Option<usize>) -> Self {
        let places = max_in_flight.unwrap_or(provider.profile().max_in_flight).clamp(1, 10_000);
        Self {
            name: name.into(),
            channels: provider.profile().channels.clone(),
            provider,
            priority: 100,
            ambiguity: None,
            callback_url: None,
            max_in_flight: places,
            places: Arc::new(Semaphore::new(places)),
            health: Mutex::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn health_mut(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is doing.
    pub fn health(&self) -> Health {
        self.health_mut().clone()
    }

    /// Hand-offs under way.
    pub fn in_flight(&self) -> usize {
        self.max_in_flight - self.places.available_permits().min(self.max_in_flight)
    }

    /// Hand-offs it accepted and refused, in this process.
    pub fn counts(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.health_mut().paused_until.filter(|until| *until > now)
    }

    /// It accepted a message: whatever was, it is well.
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let mut health = self.health_mut();
        health.failures = 0;
        health.paused_until = None;
        health.paused_reason = None;
    }

    /// It did not accept a message. Returns how long it is left alone, when it is.
    pub(super) fn refused(&self, error: &SendError, now: Timestamp) -> Option<Duration> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut health = self.health_mut();
        let code = error.code.as_deref().unwrap_or("-");
        health.last_error = Some((now, format!("{} ({code})", error.fault.as_str())));
        let rest = match error.fault {
            Fault::Throttled => error.retry_after.unwrap_or(THROTTLED).min(LONGEST),
            Fault::Unauthorized => UNAUTHORIZED,
            Fault::Transient | Fault::Ambiguous => {
                health.failures += 1;
                if health.failures < FAILURES {
                    return None;
                }
                error.retry_after.unwrap_or(REST).clamp(REST, LONGEST)
            }
            // The message's fault, not the provider's.
            Fault::Rejected | Fault::BadRecipient => return None,
        };
        let until = now.plus(rest);
        health.paused_until = Some(health.paused_until.map_or(until, |have| have.max(until)));
        health.paused_reason = Some(error.fault.as_str().to_owned());
        Some(rest)
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A place at a provider, free again when it is dropped.
pub(super) struct Seat {
    pub(super) slot: Arc<Slot>,
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.permit.take();
        self.freed.notify_waiters();
    }
}

/// All providers, those that go first in front.
#[derive(Clone, Debug)]
pub struct Slots {
    list: Arc<[Arc<Slot>]>,
    freed: Arc<Notify>,
}

impl Slots {
    /// These providers; those of equal priority in the order given.
    pub fn new(mut list: Vec<Slot>) -> Self {
        list.sort_by_key(|slot| slot.priority);
        Self { list: list.into_iter().map(Arc::new).collect(), freed: Arc::new(Notify::new()) }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.list.iter()
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Slot>> {
        self.list.iter().find(|slot| &*slot.name == name)
    }

    /// Those that serve a channel.
    pub fn serving(&self, channel: Channel) -> impl Iterator<Item = &Arc<Slot>> {
        self.list.iter().filter(move |slot| slot.channels.contains(&channel))
    }

    pub(super) fn freed(&self) -> Arc<Notify> {
        self.freed.clone()
    }

    /// A place for one message of a channel at the first provider that is well and has one.
    pub(super) fn seat(&self, channel: Channel, now: Timestamp) -> Option<Seat> {
        self.serving(channel).filter(|slot| slot.paused_until(now).is_none()).find_map(|slot| {
            let permit = slot.places.clone().try_acquire_owned().ok()?;
            Some(Seat { slot: slot.clone(), permit: Some(permit), freed: self.freed.clone() })
        })
    }

    /// A place at this provider, if it is well and has one.
    pub(super) fn seat_at(&self, name: &str, now: Timestamp) -> Option<Seat> {
        let slot = self.get(name).filter(|slot| slot.paused_until(now).is_none())?;
        let permit = slot.places.clone().try_acquire_owned().ok()?;
        Some(Seat { slot: slot.clone(), permit: Some(permit), freed: self.freed.clone() })
    }

    /// When the first of the resting providers of a channel may be tried again.
    pub(super) fn next_rested(&self, channel: Channel, now: Timestamp) -> Option<Timestamp> {
        self.serving(channel).filter_map(|slot| slot.paused_until(now)).min()
    }

    /// Whether a provider of the channel is well now.
    pub(super) fn any_well(&self, channel: Channel, now: Timestamp) -> bool {
        self.serving(channel).any(|slot| slot.paused_until(now).is_none())
    }
}
