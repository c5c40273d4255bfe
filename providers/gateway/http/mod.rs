#![doc = include_str!("README.md")]

mod answer;
mod config;
mod message;
mod request;
mod template;
#[cfg(test)]
mod tests;
mod webhook;
mod webhook_config;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::Method;

use crate::{
    contract::{
        Accepted, BuildContext, Capture, Channel, ChannelProvider, ConfigError, Descriptor, Dispatch,
        Profile, ReceiptSource, Reconcile, Reporting, SendError, Settings,
    },
    shared::http::Http,
};
use answer::Reader;
use config::Config;
use request::Template;
use webhook::Webhook;

/// The plugin.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "http",
    channels: &Channel::ALL,
    summary: "Any vendor with an HTTP API: JSON, form or text by templates, signed callbacks",
    example: include_str!("example.toml"),
    keys: config::KEYS,
    build,
};

/// What the service allows beyond the plugin's own time-out.
const GRACE: Duration = Duration::from_secs(5);

fn build(settings: &Settings, _context: BuildContext) -> Result<Arc<dyn ChannelProvider>, ConfigError> {
    let config = Config::read(settings)?;
    let reporting = config.webhook.as_ref().map_or(Reporting::None, Webhook::reporting);
    Ok(Arc::new(Gateway {
        profile: Profile {
            kind: DESCRIPTOR.kind,
            channels: DESCRIPTOR.channels.to_vec(),
            reporting,
            idempotent: config.idempotent,
            max_in_flight: 16,
            attempt_deadline: config.timeout + GRACE,
            max_body_bytes: config.max_body_bytes,
        },
        http: Http::new(config.request.origin())?,
        timeout: config.timeout,
        request: config.request,
        reader: config.reader,
        webhook: config.webhook,
    }))
}

/// A vendor that the configuration describes.
#[derive(Debug)]
struct Gateway {
    profile: Profile,
    http: Http,
    timeout: Duration,
    request: Template,
    reader: Reader,
    webhook: Option<Webhook>,
}

#[async_trait]
impl ChannelProvider for Gateway {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError> {
        let request = self.request.render(&self.http, dispatch, self.profile.max_body_bytes)?;
        let answer = self.http.exchange(request, self.timeout).await?;
        self.reader.read(&answer, dispatch.now)
    }

    async fn probe(&self) -> Result<(), SendError> {
        // What this vendor has to check credentials with is not known; that it answers at all is.
        let request = self.http.request(Method::HEAD, self.request.origin().clone());
        self.http.exchange(request, self.timeout).await.map(drop)
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        self.webhook.as_ref().map(|webhook| webhook as &dyn ReceiptSource)
    }

    fn reconcile(&self) -> Option<&dyn Reconcile> {
        None
    }

    fn capture(&self) -> Option<&dyn Capture> {
        None
    }
}
