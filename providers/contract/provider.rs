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

    /// Who looks hand-offs up afterwards, if the vendor can be asked.
    fn reconcile(&self) -> Option<&dyn Reconcile>;

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

/// Asks the vendor what became of a hand-off that may or may not have worked.
#[async_trait]
pub trait Reconcile: Send + Sync {
    /// Looks the hand-off up by what it carried. Sends nothing. Must end within the attempt deadline of the profile.
    ///
    /// # Errors
    /// The vendor could not be asked now.
    async fn lookup(&self, dispatch: &Dispatch) -> Result<Lookup, SendError>;
}

/// What a vendor knows of a hand-off.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// It has the message.
    Found(Accepted),
    /// It surely does not have it, and no request that is still on its way can change that: it may be handed over again.
    NotThere,
    /// That cannot be told.
    Unknown,
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
