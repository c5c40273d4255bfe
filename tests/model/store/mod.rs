//! The store as a specification: plain maps, and the steps of `model::verbs`. What a database does must agree with this.
//!
//! One [`Shared`] is the durable state. A [`ModelStore`] is the handle that one node has on it: several nodes over one state, or one
//! node after another, are several handles.

mod data;
mod entities;
mod messages;
mod queue;
mod reads;
mod receipts;
mod writes;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use headlessly_communication::{
    model::Channel,
    store::{Claimed, Slot, Store, StoreError, Taker},
};
use tokio::sync::watch;

pub(crate) use data::Data;

/// What outlives every node.
pub(crate) struct Shared {
    data: Mutex<Data>,
    log: watch::Sender<u64>,
    receipts: watch::Sender<u64>,
}

/// A node's handle.
#[derive(Clone)]
pub(crate) struct ModelStore {
    shared: Arc<Shared>,
    taker: Arc<OnceLock<Arc<dyn Taker>>>,
}

/// What follows once a write is done.
#[derive(Default)]
pub(crate) struct After {
    slots: Vec<(Slot, Claimed)>,
    wakes: Vec<Channel>,
    receipts: bool,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { data: Mutex::default(), log: watch::Sender::new(0), receipts: watch::Sender::new(0) })
    }

    /// The state, to look at.
    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModelStore {
    pub(crate) fn over(shared: Arc<Shared>) -> Self {
        Self { shared, taker: Arc::default() }
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
        let mut after = After::default();
        let (result, grew) = {
            let mut data = self.shared.data();
            let before = data.events.len();
            let result = work(&mut data, &mut after);
            (result, data.events.len() > before)
        };
        for (slot, claimed) in after.slots {
            slot(claimed);
        }
        if grew {
            self.shared.log.send_modify(|count| *count += 1);
        }
        if after.receipts {
            self.shared.receipts.send_modify(|count| *count += 1);
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
        self.shared.log.subscribe()
    }

    fn receipts_waiting(&self) -> watch::Receiver<u64> {
        self.shared.receipts.subscribe()
    }

    fn attach(&self, taker: Arc<dyn Taker>) {
        self.taker.set(taker).ok();
    }

    fn queued(&self) -> i64 {
        self.shared.data().queue.len() as i64
    }

    fn secret(&self) -> &[u8] {
        &[7; 32]
    }

    async fn close(&self) {}
}
