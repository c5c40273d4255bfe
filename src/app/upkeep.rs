//! What is done beside the messages, now and then.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, store::Store};

/// How long requests are remembered for their repetitions.
const REQUESTS_KEPT: Duration = Duration::from_secs(72 * 3600);
/// How often forgotten requests are removed.
const PURGE: Duration = Duration::from_secs(600);
/// How often a store that could not be written is tried again.
const PROBE: Duration = Duration::from_secs(1);

/// Forgets old requests.
pub(super) async fn purge(store: Arc<dyn Store>, clock: Clock, stop: CancellationToken) {
    loop {
        match store.purge_requests(clock().minus(REQUESTS_KEPT)).await {
            // A full helping: there is more.
            Ok(count) if count >= 5_000 => continue,
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "old requests cannot be removed"),
        }
        tokio::select! {
            () = tokio::time::sleep(PURGE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// While nothing can be written, tries it: where there are no calls, nothing else would find out that it works again.
pub(super) async fn probe(store: Arc<dyn Store>, clock: Clock, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROBE) => {}
            () = stop.cancelled() => return,
        }
        if store.trouble().is_some() && store.probe(clock()).await.is_ok() {
            tracing::info!("the store can be written again");
        }
    }
}
