//! The limits of the configuration in the words of the service.

use crate::{
    config::Config,
    service::Limits,
    store::load::{Bounds, Weight},
};

/// How much may come in, by the configuration.
pub(super) fn of(config: &Config) -> Limits {
    let limits = &config.limits;
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let bounds = Bounds {
        all: Weight { messages: limits.queue_depth, bytes: bytes(limits.queue_bytes) },
        tenant: Weight { messages: limits.tenant_queue_depth, bytes: bytes(limits.tenant_queue_bytes) },
        pending_bytes: bytes(limits.pending_bytes),
    };
    Limits { bounds, rate: limits.tenant_rate, burst: limits.tenant_burst }
}
