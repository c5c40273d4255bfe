//! The configured providers: built from the configuration, and shown to the use cases.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use headlessly_providers::{
    contract::{BuildContext, ConfigError},
    registry,
};

use super::StartError;
use crate::{
    clock::Clock,
    config::{self, Ambiguous, Config, ProviderConfig},
    dispatch::slots::{Ambiguity, Rate, Slot, Slots, Terms},
    model::Channel,
    receipts::Receipts,
    service::providers::{Directory, Probe, ProviderStatus},
};

/// A try that may take less would never end well.
const SHORTEST_TRY: Duration = Duration::from_secs(1);
/// One that may take more holds its place at the provider, and its message, for too long.
const LONGEST_TRY: Duration = Duration::from_secs(3_600);

/// The configured providers, built.
///
/// # Errors
/// What is wrong with the settings of one.
pub(super) fn slots(config: &Config, receipts: &Receipts) -> Result<Slots, StartError> {
    let slots: Result<Vec<Slot>, StartError> =
        config.providers.iter().map(|provider| slot(config, provider, receipts)).collect();
    slots.map(Slots::new)
}

fn slot(config: &Config, provider: &ProviderConfig, receipts: &Receipts) -> Result<Slot, StartError> {
    let bad = |error: ConfigError| {
        let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        StartError::Provider(provider.name.clone(), error, hint)
    };
    let descriptor = registry::find(&provider.kind)
        .ok_or_else(|| bad(ConfigError::new("kind", "names no plugin of this build")))?;
    let context = BuildContext { name: provider.name.clone(), receipts: receipts.sink(&provider.name) };
    let instance = (descriptor.build)(&provider.settings, context).map_err(bad)?;
    let deadline = instance.profile().attempt_deadline;
    if !(SHORTEST_TRY..=LONGEST_TRY).contains(&deadline) {
        let text = format!("makes a try of {} s; it must be from 1 s to 1 h", deadline.as_secs());
        return Err(bad(ConfigError::new("timeout", text)));
    }
    if provider.ambiguous == Some(Ambiguous::Reconcile) && instance.reconcile().is_none() {
        let problem = "is \"reconcile\", and this kind cannot look hand-offs up";
        return Err(bad(ConfigError::new("ambiguous", problem).hint("write \"hold\" or \"retry\"")));
    }
    let places = provider.max_in_flight.unwrap_or(instance.profile().max_in_flight);
    let rate = |rate: config::Rate| Rate { count: rate.count, per: rate.per };
    let terms = Terms {
        max_in_flight: Some(places.min(config.dispatch.max_in_flight)),
        priority: i32::try_from(provider.priority).unwrap_or(i32::MAX),
        weight: provider.weight,
        ambiguity: provider.ambiguous.map(|ambiguous| match ambiguous {
            Ambiguous::Retry => Ambiguity::Retry,
            Ambiguous::Hold => Ambiguity::Hold,
            Ambiguous::Reconcile => Ambiguity::Reconcile,
        }),
        rate: provider.rate.map(rate),
        burst: provider.burst,
        sender_rate: provider.sender_rate.map(rate),
        probe: config.dispatch.breaker_probe,
    };
    let mut slot = Slot::new(&provider.name, instance, terms);
    slot.channels.clone_from(&provider.channels);
    let callback = |url: &String| format!("{url}/webhooks/{}", provider.name);
    slot.callback_url = config.edge.public_url.as_ref().map(callback);
    Ok(slot)
}

/// The dispatcher's providers, as the use cases see them.
pub(super) struct Adapter(pub(super) Slots, pub(super) Clock);

#[async_trait]
impl Directory for Adapter {
    fn list(&self) -> Vec<ProviderStatus> {
        let now = (self.1)();
        self.0
            .iter()
            .map(|slot| {
                let (profile, condition) = (slot.provider.profile(), slot.condition(now));
                let (accepted, refused) = slot.counts();
                ProviderStatus {
                    name: slot.name.to_string(),
                    kind: profile.kind.to_owned(),
                    channels: slot.channels.clone(),
                    reporting: profile.reporting,
                    idempotent: profile.idempotent,
                    in_flight: slot.in_flight(),
                    max_in_flight: slot.max_in_flight,
                    state: condition.state.as_str(),
                    rate: condition.rate,
                    places: condition.places,
                    paused_until: condition.paused_until,
                    paused_reason: condition.paused_reason,
                    last_error: condition.last_error.as_ref().map(|(_, error)| error.clone()),
                    last_error_at: condition.last_error.map(|(at, _)| at),
                    accepted,
                    refused,
                }
            })
            .collect()
    }

    async fn probe(&self, name: &str) -> Option<Probe> {
        let slot = self.0.get(name)?;
        let begin = Instant::now();
        let result = slot.provider.probe().await;
        let detail = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        Some(Probe { ok: result.is_ok(), detail, took: begin.elapsed() })
    }

    fn serves(&self, channel: Channel) -> bool {
        !self.0.serving(channel).is_empty()
    }
}
