use std::time::Duration;

use super::Channel;

/// What a provider can report after it accepted a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reporting {
    /// Nothing: the message ends at SENT.
    None,
    /// Delivery or failure.
    Delivery,
    /// Delivery or failure, and reading.
    DeliveryAndRead,
}

/// What a provider is and can do. Fixed for the life of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The plugin: `smtp`.
    pub kind: &'static str,
    /// The channels it serves; never empty.
    pub channels: Vec<Channel>,
    /// What it reports back.
    pub reporting: Reporting,
    /// Repeating a hand-off with the same idempotency key sends it once.
    pub idempotent: bool,
    /// Hand-offs at once when the configuration names no other number.
    pub max_in_flight: usize,
    /// A try that takes longer is abandoned as ambiguous. Must exceed the plugin's own time-outs.
    pub attempt_deadline: Duration,
    /// Longest text in bytes.
    pub max_body_bytes: usize,
}
