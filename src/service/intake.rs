//! What comes in from vendors.

use async_trait::async_trait;
use bytes::Bytes;
use headlessly_providers::contract::WebhookReply;

use crate::model::Timestamp;

/// A call of a vendor, as it came.
#[derive(Clone)]
pub struct InboundHttp {
    /// `POST`.
    pub method: String,
    /// `/webhooks/twilio-eu?x=1`, as sent.
    pub path_and_query: String,
    /// Names in lower case, in the order received. Values that are not text are left out.
    pub headers: Vec<(String, String)>,
    /// The raw bytes.
    pub body: Bytes,
    /// When it arrived.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntakeAnswer {
    /// Verified, read and stored durably.
    Stored {
        /// What the vendor wants to hear; an empty 204 when `None`.
        reply: Option<WebhookReply>,
    },
    /// No provider of this name takes webhooks.
    UnknownProvider,
    /// The signature is missing, wrong or stale.
    Unverified,
    /// Verified, but not readable: what is wrong with it.
    Malformed(String),
    /// It cannot be stored now.
    Unavailable,
}

/// Takes the calls of vendors.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Verifies, reads and stores a call for the provider of this name.
    async fn receive(&self, provider: &str, request: InboundHttp) -> IntakeAnswer;
}
