//! What the writer tells the rest of the store.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::queue::Turns;
use crate::{
    model::{Channel, limits::Limits},
    store::{StoreError, Taker, load::Load, space::Space},
};

/// What the writer tells after a commit.
pub(in super::super) struct Signals {
    pub(in super::super) log: watch::Sender<u64>,
    pub(in super::super) receipts: watch::Sender<u64>,
    pub(in super::super) contacts: watch::Sender<u64>,
    pub(in super::super) taker: OnceLock<Arc<dyn Taker>>,
    /// What waits in the queue.
    pub(in super::super) load: Arc<Load>,
    /// Receipts may be parked.
    pub(in super::super) parked: AtomicBool,
    /// How a transaction ends.
    pub(in super::super) ending: &'static str,
    /// What holds for every message.
    pub(in super::super) limits: OnceLock<Limits>,
    /// The disk under it, when it is one of this machine.
    pub(in super::super) space: OnceLock<Arc<Space>>,
    /// Places in the queue that were set aside since the start.
    pub(in super::super) quarantined: AtomicU64,
    /// Cancelled when the disk did not keep a write.
    pub(in super::super) broken: CancellationToken,
    /// Since when nothing can be written.
    trouble: Mutex<Option<Instant>>,
    /// Whose turn it is.
    turns: Mutex<Turns>,
    /// What other nodes are told.
    pub(in super::super) said: Said,
}

/// What happened since other nodes were told last.
#[derive(Default)]
pub(in super::super) struct Said {
    pub(in super::super) log: AtomicBool,
    pub(in super::super) receipts: AtomicBool,
    /// A bit for each channel on which something became ready.
    pub(in super::super) wakes: AtomicU8,
}

impl Signals {
    /// Of a store in which so much waits.
    pub(in super::super) fn new(load: Arc<Load>, ending: &'static str) -> Self {
        Self {
            log: watch::Sender::new(0),
            receipts: watch::Sender::new(0),
            contacts: watch::Sender::new(0),
            taker: OnceLock::new(),
            load,
            parked: AtomicBool::new(true),
            ending,
            limits: OnceLock::new(),
            space: OnceLock::new(),
            quarantined: AtomicU64::new(0),
            broken: CancellationToken::new(),
            trouble: Mutex::default(),
            turns: Mutex::default(),
            said: Said::default(),
        }
    }

    /// Whose turn it is.
    pub(in super::super) fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A channel has something that may be due.
    pub(in super::super) fn wake(&self, channel: Channel) {
        if let Some(taker) = self.taker.get() {
            taker.wake(channel);
        }
    }

    /// For how long nothing could be written.
    pub(in super::super) fn trouble(&self) -> Option<Duration> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    /// A write went through.
    pub(in super::super) fn wrote(&self) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Why a transaction failed. A write that the system refused for want of room is no broken disk.
    pub(in super::super) fn failed(&self, error: StoreError) -> StoreError {
        let no_room = |_: &String| self.space.get().is_some_and(|space| space.is_out());
        let error = match error {
            StoreError::Broken(what) if no_room(&what) => StoreError::Full,
            error => error,
        };
        if matches!(error, StoreError::Full | StoreError::Unavailable(_) | StoreError::Broken(_)) {
            self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
        error
    }
}
