#![doc = include_str!("README.md")]

mod config;
mod errors;
mod request;
#[cfg(test)]
mod tests;
mod token;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{Method, Url};
use secrecy::ExposeSecret;

use crate::{
    contract::{
        Accepted, BuildContext, Capture, Channel, ChannelProvider, ConfigError, Descriptor, Dispatch,
        Profile, ReceiptSource, Reconcile, Reporting, SendError, Settings, Timestamp,
    },
    shared::{answer::Answer, endpoint, http::Http},
};
use config::Config;
use token::TokenSource;

/// The plugin.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "fcm",
    channels: &[Channel::Push],
    summary: "Firebase Cloud Messaging (HTTP v1): push to Android, iOS and browsers",
    example: include_str!("example.toml"),
    keys: config::KEYS,
    build,
};

/// One exchange with FCM, connecting included.
const EXCHANGE: Duration = Duration::from_secs(15);

/// A try is abandoned after this: two token requests of 10 s and two exchanges fit.
const ATTEMPT: Duration = Duration::from_secs(60);

fn build(settings: &Settings, _context: BuildContext) -> Result<Arc<dyn ChannelProvider>, ConfigError> {
    let config = Config::read(settings)?;
    let path = format!("v1/projects/{}/messages:send", config.project_id);
    Ok(Arc::new(Fcm {
        profile: Profile {
            kind: DESCRIPTOR.kind,
            channels: DESCRIPTOR.channels.to_vec(),
            reporting: Reporting::None,
            idempotent: false,
            // One HTTP/2 connection carries about 100 streams.
            max_in_flight: 64,
            attempt_deadline: ATTEMPT,
            max_body_bytes: request::MAX_PAYLOAD,
        },
        endpoint: endpoint::join(&config.base_url, &path)?,
        http: Http::new(&config.base_url)?,
        token: TokenSource::new(config.account, config.token_url)?,
    }))
}

/// A Firebase project.
#[derive(Debug)]
struct Fcm {
    profile: Profile,
    http: Http,
    endpoint: Url,
    token: TokenSource,
}

impl Fcm {
    /// Sends the body; once more with a new token when the first one is refused.
    async fn exchange(&self, body: &serde_json::Value, now: Timestamp) -> Result<Answer, SendError> {
        let token = self.token.get(now).await?;
        let answer = self.post(&token, body).await?;
        if !errors::token_refused(&answer) {
            return Ok(answer);
        }
        self.token.discard(&token).await;
        let token = self.token.get(now).await?;
        self.post(&token, body).await
    }

    async fn post(&self, token: &token::Token, body: &serde_json::Value) -> Result<Answer, SendError> {
        let request = self.http.request(Method::POST, self.endpoint.clone());
        self.http.exchange(request.bearer_auth(token.expose_secret()).json(body), EXCHANGE).await
    }
}

#[async_trait]
impl ChannelProvider for Fcm {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError> {
        let body = request::body(dispatch)?;
        let answer = self.exchange(&body, dispatch.now).await?;
        if answer.status.is_success() {
            errors::accepted(&answer)
        } else {
            Err(errors::refusal(&answer, dispatch.now))
        }
    }

    async fn probe(&self) -> Result<(), SendError> {
        // A message that is only validated, to a token that cannot exist: everything but the token is checked.
        let body = request::probe();
        let answer = self.exchange(&body, token::clock()).await?;
        if answer.status.is_success() || errors::only_the_token_is_wrong(&answer) {
            Ok(())
        } else {
            Err(errors::refusal(&answer, token::clock()))
        }
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
