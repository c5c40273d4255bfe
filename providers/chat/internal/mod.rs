#![doc = include_str!("README.md")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;

use crate::contract::{
    Accepted, BuildContext, Capture, Channel, ChannelProvider, ConfigError, Descriptor, Dispatch, Profile,
    Receipt, ReceiptKind, ReceiptSource, Reconcile, Reporting, SendError, Settings,
};

/// The plugin for the registry.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "chat",
    channels: &[Channel::Chat],
    summary: "Chat inside the service: a message is delivered when it is stored",
    example: "[[provider]]\nname = \"chat\"\nkind = \"chat\"\n",
    keys: &[],
    build,
};

fn build(settings: &Settings, _context: BuildContext) -> Result<Arc<dyn ChannelProvider>, ConfigError> {
    let NoSettings {} = settings.parse(DESCRIPTOR.keys)?;
    Ok(Arc::new(InternalChat {
        profile: Profile {
            kind: DESCRIPTOR.kind,
            channels: DESCRIPTOR.channels.to_vec(),
            reporting: Reporting::DeliveryAndRead,
            idempotent: true,
            max_in_flight: 256,
            attempt_deadline: Duration::from_secs(5),
            max_body_bytes: 1024 * 1024,
        },
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// The service's own chat.
#[derive(Debug)]
struct InternalChat {
    profile: Profile,
}

#[async_trait]
impl ChannelProvider for InternalChat {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Nothing leaves the house: storing this outcome is what makes the message visible to the recipient. There is no vendor and
    /// so no vendor's id.
    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError> {
        let delivered = Receipt {
            kind: ReceiptKind::Delivered,
            provider_message_id: None,
            message_id: Some(dispatch.message_id.clone()),
            at: Some(dispatch.now),
            code: None,
            detail: None,
        };
        Ok(Accepted {
            provider_message_id: None,
            receipts: vec![delivered],
            note: Some("stored in the recipient's inbox".to_owned()),
        })
    }

    async fn probe(&self) -> Result<(), SendError> {
        Ok(())
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        None
    }

    fn reconcile(&self) -> Option<&dyn Reconcile> {
        None
    }

    fn capture(&self) -> Option<&dyn Capture> {
        None
    }
}

#[cfg(test)]
mod tests;
