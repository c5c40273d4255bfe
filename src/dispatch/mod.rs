//! From the queue to the providers: claim, route, attempt, outcome.
//!
//! A message is handed off only under a lease that is in the store, and what came of it is written by compare-and-set on that lease.
//! A place (a permit of a provider) is taken before the lease, so what is claimed is what can be handed off now: a slow provider
//! fills its own places and nobody else's.

mod address;
mod attempt;
mod breaker;
mod lanes;
mod leases;
mod pace;
mod policy;
mod route;
mod senders;
mod slot;
pub mod slots;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    metrics::Metrics,
    model::{Channel, Timestamp, ids::IdGenerator, ids::MessageId, retry::Backoff},
    store::Store,
};
use slots::Slots;

/// How messages are handed off.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a claim lasts before somebody else may take the message. Renewed while the try lives.
    pub lease: Duration,
    /// How often to look for leases that ran out.
    pub sweep: Duration,
    /// When to try again.
    pub backoff: Backoff,
    /// How long a message that may have been sent waits for a receipt.
    pub hold: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            sweep: Duration::from_secs(5),
            backoff: Backoff { first: Duration::from_secs(2), max: Duration::from_secs(900), tries: 12 },
            hold: Duration::from_secs(24 * 3600),
        }
    }
}

/// Hands messages off. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    slots: Slots,
    settings: Settings,
    clock: Clock,
    ids: Arc<IdGenerator>,
    metrics: Arc<Metrics>,
    lanes: HashMap<Channel, lanes::Lane>,
    /// Somebody left a place.
    freed: Arc<Notify>,
    /// Results that cannot be written now.
    unwritten: AtomicUsize,
    /// Leases held now: epoch and when they were taken.
    held: Mutex<HashMap<MessageId, (i64, Timestamp)>>,
    running: TaskTracker,
    stop: CancellationToken,
    /// No try runs any more: nothing is left to renew.
    over: CancellationToken,
}

impl Dispatcher {
    /// A dispatcher over these providers. Does nothing before [`Dispatcher::start`].
    pub fn new(
        store: Arc<dyn Store>,
        slots: Slots,
        settings: Settings,
        clock: Clock,
        ids: Arc<IdGenerator>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let freed = slots.freed();
        Self {
            inner: Arc::new(Inner {
                store,
                slots,
                settings,
                clock,
                ids,
                metrics,
                lanes: Channel::ALL.into_iter().map(|channel| (channel, lanes::Lane::default())).collect(),
                freed,
                unwritten: AtomicUsize::new(0),
                held: Mutex::default(),
                running: TaskTracker::new(),
                stop: CancellationToken::new(),
                over: CancellationToken::new(),
            }),
        }
    }

    /// The providers and their state.
    pub fn slots(&self) -> &Slots {
        &self.inner.slots
    }

    /// Gives back what an earlier process left claimed, then begins.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn start(&self) -> Result<(), crate::store::StoreError> {
        leases::recover(&self.inner).await?;
        self.inner.store.attach(Arc::new(self.clone()));
        for channel in Channel::ALL {
            self.inner.running.spawn(lanes::run(self.inner.clone(), channel));
        }
        // Not among those that are waited for: it goes on for as long as they do.
        tokio::spawn(leases::renew(self.inner.clone()));
        self.inner.running.spawn(leases::sweep(self.inner.clone()));
        Ok(())
    }

    /// Claims no more and waits for the tries that run, at most this long. What is not finished then is given back as what may have
    /// been sent; a result that comes later changes nothing.
    pub async fn stop(&self, patience: Duration) {
        self.inner.stop.cancel();
        self.inner.running.close();
        if tokio::time::timeout(patience, self.inner.running.wait()).await.is_err() {
            let held: Vec<_> = self.inner.held().iter().map(|(id, (epoch, _))| (*id, *epoch)).collect();
            tracing::warn!(in_flight = held.len(), "stopping with hand-offs under way");
            match self.inner.store.release(held, self.inner.now()).await {
                Ok(released) => self.inner.metrics.released.inc_by(released as u64),
                // Found by the next start, or by another server when the leases run out.
                Err(error) => {
                    tracing::error!(%error, "leases cannot be given back");
                    0
                }
            };
        }
        self.inner.over.cancel();
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Whether nothing may be handed off now: what came of it could not be written.
    fn is_blocked(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed) > 0 || self.store.trouble().is_some()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<MessageId, (i64, Timestamp)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
