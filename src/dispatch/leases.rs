//! Leases: renewed while a try lives, given back when its holder is gone.

use std::sync::Arc;

use super::Inner;
use crate::{model::ids::MessageId, store::StoreError};

/// At the start: one process has the store, so every lease in it is of a process that is gone.
pub(super) async fn recover(inner: &Inner) -> Result<(), StoreError> {
    let mut released = 0;
    loop {
        let swept = inner.store.sweep(inner.now(), true).await?;
        released += swept.released;
        if swept.released == 0 {
            break;
        }
    }
    if released > 0 {
        inner.metrics.released.inc_by(released as u64);
        tracing::info!(released, "took back messages that an earlier process was handing off");
    }
    Ok(())
}

/// Renews the leases that have lasted a while, four times in a lease, until no try runs any more.
pub(super) async fn renew(inner: Arc<Inner>) {
    let every = inner.settings.lease / 4;
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // While stopping the tries that still run keep their leases.
        tokio::select! {
            biased;
            () = inner.over.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = inner.now();
        let old: Vec<(MessageId, i64)> = inner
            .held()
            .iter()
            .filter(|(_, (_, since))| now.since(*since) >= every)
            .map(|(id, (epoch, _))| (*id, *epoch))
            .collect();
        if old.is_empty() {
            continue;
        }
        if let Err(error) = inner.store.renew(old, now.plus(inner.settings.lease)).await {
            tracing::error!(%error, "leases cannot be renewed");
        }
    }
}

/// Gives back leases that ran out, and ends waits that are over.
pub(super) async fn sweep(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(inner.settings.sweep);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = inner.stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        inner.slots.share_rates(u32::try_from(inner.store.nodes()).unwrap_or(u32::MAX));
        match inner.store.sweep(inner.now(), false).await {
            Ok(swept) if swept.released > 0 => {
                inner.metrics.released.inc_by(swept.released as u64);
                tracing::warn!(released = swept.released, "leases ran out before their tries ended");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the queue cannot be swept"),
        }
    }
}
