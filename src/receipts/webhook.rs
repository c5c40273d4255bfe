//! The calls of vendors: verified over the raw bytes, stored, answered.

use std::{collections::HashMap, sync::Arc};

use headlessly_providers::contract::{ChannelProvider, ReceiptError, WebhookReply, WebhookRequest};

use super::Receipts;
use crate::{metrics::ByReceipt, model::Timestamp};

/// A provider that can be called back.
#[derive(Clone, Debug)]
pub struct Callee {
    /// The instance.
    pub provider: Arc<dyn ChannelProvider>,
    /// The scheme and authority that its vendor was told, `https://edge.example`; the listener's own when none is configured.
    pub public_url: String,
}

/// Takes webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Webhooks {
    receipts: Receipts,
    callees: Arc<HashMap<Arc<str>, Callee>>,
}

/// A call, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `POST`.
    pub method: &'a str,
    /// `/webhooks/twilio-eu?hly=...`, as sent.
    pub path_and_query: &'a str,
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    /// The raw bytes.
    pub body: &'a [u8],
    /// When it arrived.
    pub now: Timestamp,
}

/// Why a call is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No provider of this name takes webhooks.
    Unknown,
    /// The signature is missing, wrong or stale.
    Unverified,
    /// Verified, but not readable.
    Malformed(String),
    /// It cannot be stored now.
    Unavailable,
}

impl Webhooks {
    /// For these providers, by name.
    pub fn new(receipts: Receipts, callees: HashMap<Arc<str>, Callee>) -> Self {
        Self { receipts, callees: Arc::new(callees) }
    }

    /// Takes a call: when it returns an answer, what it said is stored durably.
    ///
    /// # Errors
    /// Why it is not taken; nothing has changed then.
    pub async fn take(&self, provider: &str, call: Call<'_>) -> Result<Option<WebhookReply>, Refused> {
        let (name, callee) = self.callees.get_key_value(provider).ok_or(Refused::Unknown)?;
        let source = callee.provider.receipts().ok_or(Refused::Unknown)?;
        let url = format!("{}{}", callee.public_url, call.path_and_query);
        let request = WebhookRequest {
            method: call.method,
            url: &url,
            headers: call.headers,
            body: call.body,
            now: call.now,
        };
        let result = source.read(&request).map_err(|error| self.refuse(name, &error))?;
        self.receipts.put(name, result.receipts).await.map_err(|error| {
            tracing::error!(provider, %error, "a webhook cannot be stored; the vendor will repeat it");
            Refused::Unavailable
        })?;
        Ok(result.reply)
    }

    fn refuse(&self, provider: &Arc<str>, error: &ReceiptError) -> Refused {
        let kind = match error {
            ReceiptError::Unverified(_) => "UNVERIFIED",
            ReceiptError::Stale => "STALE",
            ReceiptError::Malformed(_) => "MALFORMED",
        };
        let labels = ByReceipt { provider: provider.to_string(), kind };
        self.receipts.metrics.unverified.get_or_create(&labels).inc();
        // The message of a malformed body may quote it: the vendor gets it, the log does not.
        tracing::warn!(%provider, kind, "a webhook was refused");
        match error {
            ReceiptError::Unverified(_) | ReceiptError::Stale => Refused::Unverified,
            ReceiptError::Malformed(problem) => Refused::Malformed(problem.clone()),
        }
    }
}
