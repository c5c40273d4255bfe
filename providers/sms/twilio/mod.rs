#![doc = include_str!("README.md")]

mod config;
mod errors;
mod request;
#[cfg(test)]
mod tests;
mod webhook;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder, Url};
use secrecy::ExposeSecret;

use crate::{
    contract::{
        Accepted, BuildContext, Capture, Channel, ChannelProvider, ConfigError, Descriptor, Dispatch,
        Profile, ReceiptSource, Reconcile, Reporting, SendError, Settings,
    },
    shared::{endpoint, http::Http},
};
use config::Config;
use webhook::Webhook;

/// The plugin.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "twilio",
    channels: &[Channel::Sms],
    summary: "Twilio Programmable Messaging: text messages, delivery receipts, replies, STOP",
    example: include_str!("example.toml"),
    keys: config::KEYS,
    build,
};

/// One exchange with Twilio, connecting included.
const EXCHANGE: Duration = Duration::from_secs(25);

/// A try is abandoned after this.
const ATTEMPT: Duration = Duration::from_secs(30);

fn build(settings: &Settings, _context: BuildContext) -> Result<Arc<dyn ChannelProvider>, ConfigError> {
    let config = Config::read(settings)?;
    let http = Http::new(&config.base_url)?;
    let messages = format!("2010-04-01/Accounts/{}/Messages.json", config.account_sid);
    Ok(Arc::new(Twilio {
        profile: profile(&config),
        messages: endpoint::join(&config.base_url, &messages)?,
        webhook: Webhook::new(config.auth_token.clone(), config.webhook_key.clone()),
        http,
        config,
    }))
}

fn profile(config: &Config) -> Profile {
    // SMS reports no reading; WhatsApp and RCS senders do.
    let reads = config.from.as_deref().is_some_and(|from| from.contains(':'));
    Profile {
        kind: DESCRIPTOR.kind,
        channels: DESCRIPTOR.channels.to_vec(),
        reporting: if reads { Reporting::DeliveryAndRead } else { Reporting::Delivery },
        idempotent: false,
        max_in_flight: 32,
        attempt_deadline: ATTEMPT,
        max_body_bytes: request::MAX_BODY_CHARS * 4,
    }
}

/// A Twilio account.
#[derive(Debug)]
struct Twilio {
    profile: Profile,
    config: Config,
    http: Http,
    messages: Url,
    webhook: Webhook,
}

impl Twilio {
    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let (user, password) = self.config.credentials();
        self.http.request(method, url).basic_auth(user, Some(password.expose_secret()))
    }
}

#[async_trait]
impl ChannelProvider for Twilio {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError> {
        let form = request::form(&self.config, dispatch)?;
        let request = self.request(Method::POST, self.messages.clone());
        let answer = self.http.exchange(request.form(&form), EXCHANGE).await?;
        if answer.status.is_success() {
            errors::accepted(&answer)
        } else {
            Err(errors::refusal(&answer, dispatch.now))
        }
    }

    async fn probe(&self) -> Result<(), SendError> {
        // Listing messages is what both kinds of credentials may do; an API key may not read the account itself.
        let mut url = self.messages.clone();
        url.set_query(Some("PageSize=1"));
        let answer = self.http.exchange(self.request(Method::GET, url), EXCHANGE).await?;
        if answer.status.is_success() { Ok(()) } else { Err(errors::refusal(&answer, Default::default())) }
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        Some(&self.webhook)
    }

    fn reconcile(&self) -> Option<&dyn Reconcile> {
        // A message resource holds no reference of ours: one of the same text to the same number could be another.
        None
    }

    fn capture(&self) -> Option<&dyn Capture> {
        None
    }
}
