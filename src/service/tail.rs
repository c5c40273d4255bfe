//! The end of the log, read once for everybody who watches it.
//!
//! One task reads what each commit added and hands it to all watchers. It runs while there is a watcher. A watcher that joins
//! reads what is older from the store; ids tell where the two meet.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::{
    model::event::Event,
    store::{EventQuery, Store},
};

/// Events in one read.
pub(super) const PAGE: i64 = 1_000;
/// Reads that a slow watcher may be behind before it goes back to the store.
const BACKLOG: usize = 256;

/// Some events, in order.
pub(super) type Batch = Arc<[Event]>;

/// The reader of the end of the log.
#[derive(Clone)]
pub(super) struct Tail(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    stopping: CancellationToken,
    sender: broadcast::Sender<Batch>,
    /// Whether the task runs. The lock makes its end and a new watcher follow each other.
    running: Mutex<bool>,
}

/// A watcher's place at the end of the log.
pub(super) struct Subscription {
    receiver: broadcast::Receiver<Batch>,
    stopping: CancellationToken,
}

/// What came next.
pub(super) enum Next {
    /// New events.
    Batch(Batch),
    /// Too slow: some went by and must be read from the store.
    Lagged,
    /// The process stops.
    Stopping,
}

impl Tail {
    pub(super) fn new(store: Arc<dyn Store>, stopping: CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        Self(Arc::new(Inner { store, stopping, sender, running: Mutex::new(false) }))
    }

    /// From now on every event that is committed comes to the subscription; what was committed before this returned may be in
    /// the store only.
    pub(super) async fn subscribe(&self) -> Result<Subscription, Error> {
        let inner = &self.0;
        let receiver = inner.sender.subscribe();
        // Both before the task is started, so that nothing is committed between its start and its first read.
        let commits = inner.store.commits();
        let last = inner.store.last_event().await?;
        let mut running = inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !*running {
            *running = true;
            tokio::spawn(self.clone().run(last.0, commits));
        }
        drop(running);
        Ok(Subscription { receiver, stopping: inner.stopping.clone() })
    }

    async fn run(self, mut after: i64, mut commits: tokio::sync::watch::Receiver<u64>) {
        let inner = &self.0;
        loop {
            after = self.read(after).await;
            tokio::select! {
                biased;
                () = inner.stopping.cancelled() => return,
                changed = commits.changed() => if changed.is_err() { return },
            }
            let mut running = inner.running.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.sender.receiver_count() == 0 {
                *running = false;
                return;
            }
        }
    }

    /// Hands on all events after this place; returns the new place. A store that cannot be read is asked again until it can.
    async fn read(&self, mut after: i64) -> i64 {
        loop {
            let query = EventQuery { tenant: None, after, limit: PAGE, target: None };
            let events = match self.0.store.events(query).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(%error, "the end of the log cannot be read");
                    tokio::select! {
                        () = self.0.stopping.cancelled() => return after,
                        () = tokio::time::sleep(std::time::Duration::from_secs(1)) => continue,
                    }
                }
            };
            let Some(last) = events.last() else { return after };
            after = last.id.0;
            let short = events.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            // Nobody there is no error: the last watcher has just gone.
            drop(self.0.sender.send(events.into()));
            if short {
                return after;
            }
        }
    }
}

impl Subscription {
    /// Waits for what comes next. May be dropped at any time without losing anything.
    pub(super) async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Next::Stopping,
            received = self.receiver.recv() => match received {
                Ok(batch) => Next::Batch(batch),
                Err(RecvError::Lagged(_)) => Next::Lagged,
                Err(RecvError::Closed) => Next::Stopping,
            },
        }
    }
}
