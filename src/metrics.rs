//! What is counted, by name. Read by Prometheus at `/metrics`.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Labels of a message's way.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByChannel {
    /// `EMAIL`, ...
    pub channel: &'static str,
}

/// Labels of a hand-off.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByOutcome {
    /// The provider's name.
    pub provider: String,
    /// `ACCEPTED` or the fault.
    pub outcome: &'static str,
}

/// Labels of a provider.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByProvider {
    /// Its name.
    pub provider: String,
}

impl ByProvider {
    /// The one of this name.
    pub fn of(name: &str) -> Self {
        Self { provider: name.to_owned() }
    }
}

/// Labels of a receipt.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByReceipt {
    /// The provider's name.
    pub provider: String,
    /// `DELIVERED`, ...
    pub kind: &'static str,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Messages accepted for sending.
    pub accepted: Family<ByChannel, Counter>,
    /// Hand-off tries by outcome.
    pub handoffs: Family<ByOutcome, Counter>,
    /// What the breaker of a provider says: 0 closed, 1 half-open, 2 open, 3 paused.
    pub breaker: Family<ByProvider, Gauge>,
    /// Seconds from the acceptance of a message to the provider's.
    pub handoff_seconds: Histogram,
    /// Receipts stored.
    pub receipts: Family<ByReceipt, Counter>,
    /// Webhooks refused for their signature.
    pub unverified: Family<ByReceipt, Counter>,
    /// Results that came after their lease had gone.
    pub orphans: Counter,
    /// Leases given back because their holder was gone.
    pub released: Counter,
    /// Messages that wait.
    pub queue_messages: Gauge,
    /// Bytes of their content.
    pub queue_bytes: Gauge,
    /// Places in the queue that could not be read.
    pub quarantined: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("hly");
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];
        let metrics = Self {
            accepted: Family::default(),
            handoffs: Family::default(),
            breaker: Family::default(),
            handoff_seconds: Histogram::new(buckets),
            receipts: Family::default(),
            unverified: Family::default(),
            orphans: Counter::default(),
            released: Counter::default(),
            queue_messages: Gauge::default(),
            queue_bytes: Gauge::default(),
            quarantined: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("messages_accepted", "Messages accepted for sending", metrics.accepted.clone());
        registry.register("handoffs", "Hand-off tries by outcome", metrics.handoffs.clone());
        registry.register(
            "provider_breaker",
            "0 closed, 1 half-open, 2 open, 3 paused for its credentials",
            metrics.breaker.clone(),
        );
        registry.register(
            "handoff_seconds",
            "Seconds from acceptance to a provider's acceptance",
            metrics.handoff_seconds.clone(),
        );
        registry.register("receipts", "Receipts stored", metrics.receipts.clone());
        registry.register(
            "webhooks_unverified",
            "Webhooks refused for their signature",
            metrics.unverified.clone(),
        );
        registry.register("orphan_results", "Results that came after their lease", metrics.orphans.clone());
        registry.register("leases_released", "Leases given back by a sweep", metrics.released.clone());
        registry.register("queue_messages", "Messages that wait", metrics.queue_messages.clone());
        registry.register("queue_bytes", "Bytes of content that wait", metrics.queue_bytes.clone());
        let aside = "Places in the queue that could not be read and were set aside, since the start";
        registry.register("quarantined", aside, metrics.quarantined.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        encode(&mut text, &self.registry).ok();
        text
    }
}
