use std::fmt;

use async_trait::async_trait;

use super::{Accepted, Dispatch, Profile, Receipt, ReceiptError, SendError, WebhookRequest, WebhookResult};

/// A road on which messages leave: one configured instance of a plugin.
///
/// No method has a default: what a plugin cannot do it says by `None`, so that presence is the capability.
#[async_trait]
pub trait ChannelProvider: fmt::Debug + Send + Sync + 'static {
    /// What it is and can do.
    fn profile(&self) -> &Profile;

    /// Hands one message to the vendor.
    ///
    /// Must end within the attempt deadline of the profile by its own time-outs, and may be dropped at any await. `Ok` means that
    /// the vendor said it took the message over; anything less than that is an error with the fitting [`super::Fault`].
    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError>;

    /// Checks credentials and reachability. Sends no message.
    async fn probe(&self) -> Result<(), SendError>;

    /// The reader of its webhooks, if the vendor calls back.
    fn receipts(&self) -> Option<&dyn ReceiptSource>;

    /// What it kept instead of sending, if it is a provider for development.
    fn capture(&self) -> Option<&dyn Capture>;
}

/// Reads a vendor's webhooks. A pure function of the request: the same bytes at the same time give the same answer.
pub trait ReceiptSource: Send + Sync {
    /// Verifies and parses in one step: there is no way to parse without verifying.
    ///
    /// Unknown events are an empty list, not an error.
    fn read(&self, request: &WebhookRequest<'_>) -> Result<WebhookResult, ReceiptError>;
}

/// Takes receipts that do not come by webhook (deliver_sm, polling, the simulator).
#[async_trait]
pub trait ReceiptSink: Send + Sync {
    /// Returns when they are stored durably. On an error they are not: keep them and try again.
    async fn push(&self, receipts: Vec<Receipt>) -> Result<(), SinkClosed>;
}

/// The service is stopping or its store is down.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("receipts cannot be stored now")]
pub struct SinkClosed;

/// A provider that keeps messages for people to look at.
pub trait Capture: Send + Sync {
    /// The latest, newest first, at most `limit`.
    fn captured(&self, limit: usize) -> Vec<Captured>;
}

/// A message that was kept.
#[derive(Clone, Debug)]
pub struct Captured {
    /// As it was handed off.
    pub dispatch: Dispatch,
    /// The id it was given.
    pub provider_message_id: String,
}
