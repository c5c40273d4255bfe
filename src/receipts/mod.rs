//! What providers report: stored and applied in one transaction, answered then. A loop applies what could not be applied at once.

pub mod webhook;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use headlessly_providers::contract::{Receipt, ReceiptKind, ReceiptSink, SinkClosed};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    metrics::{ByReceipt, Metrics},
    model::{Timestamp, ids::IdGenerator},
    store::{NewReceipt, Store, StoreError},
};

/// Receipts applied in one transaction at most.
const GROUP: i64 = 500;
/// However quiet it is, look for receipts this often.
const POLL: Duration = Duration::from_secs(5);

/// Stores and applies receipts. Cheap to clone.
#[derive(Clone)]
pub struct Receipts {
    store: Arc<dyn Store>,
    ids: Arc<IdGenerator>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipts").finish_non_exhaustive()
    }
}

impl Receipts {
    /// Over this store.
    pub fn new(store: Arc<dyn Store>, ids: Arc<IdGenerator>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self { store, ids, clock, metrics }
    }

    /// Where a provider of this name puts what does not come by webhook.
    pub fn sink(&self, provider: &str) -> Arc<dyn ReceiptSink> {
        Arc::new(Sink { receipts: self.clone(), provider: provider.into() })
    }

    /// Stores what a provider reported. Durable when it returns.
    ///
    /// # Errors
    /// When the store cannot be used: the provider has to say it again.
    pub async fn put(&self, provider: &Arc<str>, receipts: Vec<Receipt>) -> Result<(), StoreError> {
        let now = (self.clock)();
        let new: Vec<NewReceipt> =
            receipts.into_iter().filter_map(|one| self.row(provider, one, now)).collect();
        if new.is_empty() { Ok(()) } else { self.store.put_receipts(new).await }
    }

    /// The row of a receipt; none for "accepted", which says no more than the hand-off did.
    fn row(&self, provider: &Arc<str>, receipt: Receipt, now: Timestamp) -> Option<NewReceipt> {
        let (kind, data) = word(&receipt.kind);
        self.metrics.receipts.get_or_create(&ByReceipt { provider: provider.to_string(), kind }).inc();
        if receipt.kind == ReceiptKind::Accepted {
            return None;
        }
        Some(NewReceipt {
            id: self.ids.next(now),
            provider: provider.clone(),
            received_at: now,
            kind,
            message: receipt.message_id.and_then(|id| id.parse().ok()),
            provider_message_id: receipt.provider_message_id.filter(|id| fits(id)),
            at: receipt.at.unwrap_or(now),
            code: receipt.code.map(|code| cut(code, 64)),
            detail: receipt.detail.map(|detail| cut(detail, 1_024)),
            data,
        })
    }

    /// Applies receipts until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut waiting = self.store.receipts_waiting();
        loop {
            waiting.borrow_and_update();
            loop {
                match self.store.apply_receipts((self.clock)(), GROUP).await {
                    Ok(applied) if applied.total() == 0 => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(%error, "receipts cannot be applied; trying again");
                        break;
                    }
                }
                if stop.is_cancelled() {
                    return;
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = waiting.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

/// The word a receipt is stored under, and what else is kept of it.
fn word(kind: &ReceiptKind) -> (&'static str, Option<String>) {
    match kind {
        ReceiptKind::Accepted => ("ACCEPTED", None),
        ReceiptKind::Sent => ("SENT", None),
        ReceiptKind::Deferred => ("DEFERRED", None),
        ReceiptKind::Delivered => ("DELIVERED", None),
        ReceiptKind::Read => ("READ", None),
        ReceiptKind::Clicked => ("CLICKED", None),
        ReceiptKind::Failed { recipient_dead: false } => ("FAILED", None),
        ReceiptKind::Failed { recipient_dead: true } => ("RECIPIENT_DEAD", None),
        ReceiptKind::Complained => ("COMPLAINED", None),
        ReceiptKind::Unsubscribed => ("UNSUBSCRIBED", None),
        ReceiptKind::Resubscribed => ("RESUBSCRIBED", None),
        ReceiptKind::Unknown(word) => ("UNKNOWN", Some(cut(word.clone(), 1_024))),
        ReceiptKind::Inbound(message) => (
            "INBOUND",
            Some(
                serde_json::json!({
                    "channel": message.channel.as_str(),
                    "from": message.from.address,
                    "to": message.to,
                    "subject": message.subject,
                    "body": message.body,
                    "metadata": message.metadata,
                })
                .to_string(),
            ),
        ),
    }
}

/// A provider's id is 1 to 256 printable characters; anything else matches nothing.
fn fits(id: &str) -> bool {
    (1..=256).contains(&id.len()) && !id.chars().any(char::is_control)
}

/// At most this many bytes of a text, cut between characters.
fn cut(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    text
}

struct Sink {
    receipts: Receipts,
    provider: Arc<str>,
}

#[async_trait]
impl ReceiptSink for Sink {
    async fn push(&self, receipts: Vec<Receipt>) -> Result<(), SinkClosed> {
        self.receipts.put(&self.provider, receipts).await.map_err(|error| {
            tracing::error!(provider = %self.provider, %error, "receipts cannot be stored");
            SinkClosed
        })
    }
}
