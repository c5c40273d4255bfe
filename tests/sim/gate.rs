//! The way between a node and the world. A node that crashed gets through it no more, one that is frozen gets through later.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// One life of one node.
pub(crate) struct Gate {
    /// Which life; no two nodes share one.
    pub(crate) life: u64,
    dead: AtomicBool,
    frozen_until: Mutex<Option<Instant>>,
}

impl Gate {
    pub(crate) fn new(life: u64) -> Self {
        Self { life, dead: AtomicBool::new(false), frozen_until: Mutex::new(None) }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// From now on nothing of this life has any effect.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub(crate) fn freeze(&self, duration: Duration) {
        *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + duration);
    }

    pub(crate) fn thaw(&self) {
        *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn frozen_until(&self) -> Option<Instant> {
        let until = *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > Instant::now())
    }

    /// Goes through, when that is possible. Never returns in a life that is over.
    pub(crate) async fn pass(&self) {
        while let Some(until) = self.frozen_until() {
            tokio::time::sleep_until(until).await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}
