//! The store as a specification: plain maps, and the steps of `model::verbs`. What a database does must agree with this.
//!
//! One [`Shared`] is the durable state. A [`ModelStore`] is the handle that one node has on it: several nodes over one state, or one
//! node after another, are several handles.

pub(crate) mod data;
mod entities;
mod messages;
mod queue;
mod reads;
mod receipts;
mod writes;

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use headlessly_communication::{
    clock::Clock,
    model::{Channel, Timestamp, limits::Limits},
    store::{Claimed, Slot, Store, StoreError, Taker, load::Load},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use data::Data;

/// Who waits for news. Each has a channel of its own: those of one channel are woken in an order that differs from run to run.
type Listeners = Mutex<Vec<watch::Sender<u64>>>;

/// What outlives every node.
#[derive(Default)]
pub(crate) struct Shared {
    data: Mutex<Data>,
    log: Listeners,
    receipts: Listeners,
    load: Arc<Load>,
}

fn listen(listeners: &Listeners) -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    receiver
}

fn tell(listeners: &Listeners) {
    let mut listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
    listeners.retain(|one| !one.is_closed());
    listeners.iter().for_each(|one| one.send_modify(|count| *count += 1));
}

/// A node's handle.
#[derive(Clone)]
pub(crate) struct ModelStore {
    shared: Arc<Shared>,
    taker: Arc<OnceLock<Arc<dyn Taker>>>,
    limits: Arc<OnceLock<Limits>>,
}

/// What follows once a write is done.
#[derive(Default)]
pub(crate) struct After {
    slots: Vec<(Slot, Claimed)>,
    wakes: Vec<Channel>,
    receipts: bool,
    limits: Limits,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The state, to look at.
    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModelStore {
    pub(crate) fn over(shared: Arc<Shared>) -> Self {
        Self { shared, taker: Arc::default(), limits: Arc::default() }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn taker(&self) -> Option<&Arc<dyn Taker>> {
        self.taker.get()
    }

    /// One transaction: done as a whole, or refused with nothing changed; then what follows from it.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&mut Data, &mut After) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut after = After { limits: self.limits(), ..After::default() };
        let (result, grew) = {
            let mut data = self.shared.data();
            let before = data.events.len();
            let result = work(&mut data, &mut after);
            self.shared.load.replace(data.waiting());
            (result, data.events.len() > before)
        };
        for (slot, claimed) in after.slots {
            slot(claimed);
        }
        if grew {
            tell(&self.shared.log);
        }
        if after.receipts {
            tell(&self.shared.receipts);
        }
        if let Some(taker) = self.taker() {
            after.wakes.into_iter().for_each(|channel| taker.wake(channel));
        }
        result
    }
}

#[async_trait]
impl Store for ModelStore {
    fn commits(&self) -> watch::Receiver<u64> {
        listen(&self.shared.log)
    }

    fn receipts_waiting(&self) -> watch::Receiver<u64> {
        listen(&self.shared.receipts)
    }

    fn attach(&self, taker: Arc<dyn Taker>) {
        self.taker.set(taker).ok();
    }

    fn queued(&self) -> i64 {
        self.shared.data().queue.len() as i64
    }

    fn load(&self) -> &Arc<Load> {
        &self.shared.load
    }

    fn govern(&self, limits: Limits) {
        self.limits.set(limits).ok();
    }

    fn limits(&self) -> Limits {
        self.limits.get().copied().unwrap_or_default()
    }

    fn quarantined(&self) -> u64 {
        0
    }

    fn trouble(&self) -> Option<Duration> {
        None
    }

    fn broken(&self) -> CancellationToken {
        CancellationToken::new()
    }

    fn clock(&self) -> Clock {
        Arc::new(Timestamp::default)
    }

    fn node(&self) -> u16 {
        0
    }

    fn nodes(&self) -> usize {
        1
    }

    fn secret(&self) -> &[u8] {
        &[7; 32]
    }

    async fn close(&self) {}
}
