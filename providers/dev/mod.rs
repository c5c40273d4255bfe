#![doc = include_str!("README.md")]

mod behaviour;
mod config;
mod disk;
mod inbox;
mod reports;
mod vendor;
mod webhook;

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use self::{
    behaviour::Behaviour,
    config::Config,
    inbox::{Inbox, Key},
    vendor::Vendor,
    webhook::Webhook,
};
use crate::contract::{
    Accepted, BuildContext, Capture, Captured, Channel, ChannelProvider, ConfigError, Descriptor, Dispatch,
    Fault, Lookup, Profile, ReceiptSource, Reconcile, Reporting, SendError, Settings,
};

/// The plugin for the registry.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "dev",
    channels: &Channel::ALL,
    summary: "Simulator for development: keeps every message and plays the vendor, well or badly behaved",
    example: "[[provider]]\nname = \"dev\"\nkind = \"dev\"\nkeep = 1000\ndelivery_delay = \"0s\"\n",
    keys: config::KEYS,
    build,
};

/// How long `slow` takes.
const SLOW: Duration = Duration::from_secs(2);
/// How often `throttle` and `transient` refuse.
const REFUSALS: u32 = 2;

fn build(settings: &Settings, context: BuildContext) -> Result<Arc<dyn ChannelProvider>, ConfigError> {
    let config = Config::read(settings)?;
    Ok(Arc::new(Dev {
        profile: Profile {
            kind: DESCRIPTOR.kind,
            channels: DESCRIPTOR.channels.to_vec(),
            reporting: Reporting::DeliveryAndRead,
            idempotent: true,
            max_in_flight: 512,
            attempt_deadline: Duration::from_secs(30),
            max_body_bytes: 10 * 1024 * 1024,
        },
        inbox: Mutex::new(Inbox::new(config.keep)),
        vendor: Vendor::new(context.receipts),
        webhook: Webhook::new(config.webhook_key.clone()),
        config,
    }))
}

/// The simulated vendor.
struct Dev {
    profile: Profile,
    config: Config,
    inbox: Mutex<Inbox>,
    vendor: Vendor,
    webhook: Webhook,
}

impl fmt::Debug for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dev")
            .field("keep", &self.config.keep)
            .field("dir", &self.config.dir)
            .finish_non_exhaustive()
    }
}

impl Dev {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is refused without being kept.
    fn refusal(&self, behaviour: Behaviour, dispatch: &Dispatch) -> Option<SendError> {
        let refuse = |fault, code: &str, what: &str| {
            Some(SendError::new(fault, format!("the simulator {what}")).code(code))
        };
        match behaviour {
            Behaviour::BadRecipient => {
                refuse(Fault::BadRecipient, "unknown-recipient", "knows no such recipient")
                    .map(SendError::retire)
            }
            Behaviour::Reject => refuse(Fault::Rejected, "rejected", "does not take this message"),
            Behaviour::Unauthorized => {
                refuse(Fault::Unauthorized, "bad-credentials", "does not know our account")
            }
            Behaviour::Lost => refuse(Fault::Ambiguous, "no-reply", "lost the message and did not answer"),
            Behaviour::Throttle if self.inbox().count_try(&dispatch.message_id) <= REFUSALS => {
                refuse(Fault::Throttled, "too-many-requests", "asks us to slow down")
                    .map(|error| error.retry_after(Some(Duration::from_secs(1))))
            }
            Behaviour::Transient if self.inbox().count_try(&dispatch.message_id) <= REFUSALS => {
                refuse(Fault::Transient, "unavailable", "is not available")
            }
            _ => None,
        }
    }
}

#[async_trait]
impl Reconcile for Dev {
    async fn lookup(&self, dispatch: &Dispatch) -> Result<Lookup, SendError> {
        let key = key(&dispatch.idempotency_key);
        if self.inbox().has_taken(&key) {
            return Ok(Lookup::Found(accepted(id(&key), "found in the dev inbox")));
        }
        Ok(Lookup::NotThere)
    }
}

#[async_trait]
impl ChannelProvider for Dev {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError> {
        let began = (Instant::now(), dispatch.now);
        let key = key(&dispatch.idempotency_key);
        let id = id(&key);
        if self.inbox().has_taken(&key) {
            return Ok(accepted(id, "taken before, under the same idempotency key"));
        }
        let behaviour = Behaviour::of(&dispatch.recipient.address);
        if let Some(error) = self.refusal(behaviour, dispatch) {
            return Err(error);
        }
        if behaviour == Behaviour::Slow {
            tokio::time::sleep(SLOW).await;
        }
        if let Some(dir) = &self.config.dir {
            disk::write(dir, &id, dispatch).await?;
        }
        let Some(permit) = self.vendor.reserve().await else {
            return Err(SendError::new(Fault::Transient, "the simulator is closing"));
        };
        // No await from here on: the message is kept and reported, or neither.
        {
            let mut inbox = self.inbox();
            if !inbox.take(key) {
                return Ok(accepted(id, "taken before, under the same idempotency key"));
            }
            inbox.keep(Captured { dispatch: dispatch.clone(), provider_message_id: id.clone() });
        }
        let reports = reports::of(behaviour, dispatch, &id, began, self.config.delivery_delay);
        if !reports.is_empty() {
            permit.send(reports);
        }
        if behaviour == Behaviour::Ambiguous {
            let detail = "the simulator took the message and did not answer";
            return Err(SendError::new(Fault::Ambiguous, detail).code("no-reply"));
        }
        Ok(accepted(id, "kept in the dev inbox"))
    }

    async fn probe(&self) -> Result<(), SendError> {
        Ok(())
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        Some(&self.webhook)
    }

    fn reconcile(&self) -> Option<&dyn Reconcile> {
        Some(self)
    }

    fn capture(&self) -> Option<&dyn Capture> {
        Some(self)
    }
}

impl Capture for Dev {
    fn captured(&self, limit: usize) -> Vec<Captured> {
        self.inbox().latest(limit)
    }
}

fn accepted(id: String, note: &str) -> Accepted {
    Accepted { provider_message_id: Some(id), receipts: Vec::new(), note: Some(note.to_owned()) }
}

fn key(idempotency_key: &str) -> Key {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, idempotency_key.as_bytes());
    let mut key = Key::default();
    key.copy_from_slice(&digest.as_ref()[..16]);
    key
}

/// The vendor's id follows from the key, so a try that is repeated after a restart gets the same.
fn id(key: &Key) -> String {
    let mut id = String::with_capacity(4 + 2 * key.len());
    id.push_str("dev_");
    for byte in key {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
