//! Who goes next: messages claimed at the door, and messages claimed from the queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{Dispatcher, Inner, attempt, slots::Seat};
use crate::{
    model::{Channel, Priority, Timestamp},
    store::{Claim, Slot, StoreError, Taker, Turn},
};

/// Messages of one claim at most.
const CLAIM: usize = 256;
/// However quiet it is, look into the queue this often: a lost wake-up costs no more than this.
const POLL: Duration = Duration::from_secs(1);

/// What a channel's loop shares with the door.
#[derive(Default)]
pub(super) struct Lane {
    /// Something may be due.
    wake: Notify,
    /// More waits in the queue than there are places: only TRANSACTIONAL messages pass at the door.
    backlog: AtomicBool,
}

impl Taker for Dispatcher {
    fn reserve(&self, channel: Channel, priority: Priority) -> Option<(Slot, Duration)> {
        let inner = &self.inner;
        let backlog = inner.lanes[&channel].backlog.load(Ordering::Relaxed);
        if inner.stop.is_cancelled() || inner.is_blocked() || (backlog && priority != Priority::Transactional)
        {
            return None;
        }
        let seat = inner.slots.seat(channel, &[], inner.now())?;
        let (inner, lease) = (inner.clone(), inner.settings.lease);
        let slot: Slot = Box::new(move |claimed| {
            let running = inner.running.clone();
            running.spawn(attempt::run(inner, claimed, seat));
        });
        Some((slot, lease))
    }

    fn book(&self, channel: Channel, sender: Option<&str>) -> Turn {
        self.inner.slots.book(channel, sender, self.inner.now())
    }

    fn wake(&self, channel: Channel) {
        self.inner.lanes[&channel].wake.notify_one();
    }
}

/// Claims what is due on a channel until the dispatcher stops.
pub(super) async fn run(inner: Arc<Inner>, channel: Channel) {
    let lane = &inner.lanes[&channel];
    while !inner.stop.is_cancelled() {
        let next = match drain(&inner, channel).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%channel, %error, "the queue cannot be read; trying again");
                POLL
            }
        };
        tokio::select! {
            biased;
            () = inner.stop.cancelled() => return,
            () = lane.wake.notified() => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}

/// Claims while there are places and due messages. Returns how long to wait for the next look.
async fn drain(inner: &Arc<Inner>, channel: Channel) -> Result<Duration, StoreError> {
    let lane = &inner.lanes[&channel];
    loop {
        if inner.stop.is_cancelled() || inner.is_blocked() {
            return Ok(POLL);
        }
        // Asked before looking for places, so that one that is left in between is not missed.
        let freed = inner.freed.notified();
        let now = inner.now();
        let seats: Vec<Seat> =
            std::iter::from_fn(|| inner.slots.seat(channel, &[], now)).take(CLAIM).collect();
        if seats.is_empty() {
            if inner.slots.serving(channel).is_empty() {
                return fail_unserved(inner, channel).await;
            }
            lane.backlog.store(true, Ordering::Relaxed);
            let rested = inner.slots.next_free(channel, now).map_or(POLL, |at| at.since(now)).min(POLL);
            tokio::select! {
                biased;
                () = inner.stop.cancelled() => return Ok(POLL),
                () = freed => {}
                () = tokio::time::sleep(rested) => {}
            }
            continue;
        }
        let room = seats.len();
        let claimed = inner.store.claim(claim(inner, channel, room, now)).await?;
        let full = claimed.len() == room;
        lane.backlog.store(full, Ordering::Relaxed);
        for (claimed, seat) in claimed.into_iter().zip(seats) {
            inner.running.spawn(attempt::run(inner.clone(), claimed, seat));
        }
        if !full {
            let next = inner.store.depth(channel).await?.next_due;
            // A millisecond more than asked for: never early, also by a timer that rounds down.
            let wait = next.map_or(POLL, |at| at.since(inner.now()) + Duration::from_millis(1));
            return Ok(wait.min(POLL));
        }
    }
}

fn claim(inner: &Inner, channel: Channel, room: usize, now: Timestamp) -> Claim {
    Claim {
        channel,
        limit: i64::try_from(room).unwrap_or(0),
        now,
        lease_until: now.plus(inner.settings.lease),
    }
}

/// Nobody serves the channel: what is due on it fails, which is the truth about it.
async fn fail_unserved(inner: &Arc<Inner>, channel: Channel) -> Result<Duration, StoreError> {
    let claimed = inner.store.claim(claim(inner, channel, CLAIM, inner.now())).await?;
    let full = claimed.len() == CLAIM;
    for claimed in claimed {
        attempt::unserved(inner, claimed).await;
    }
    Ok(if full { Duration::ZERO } else { POLL })
}
