#![doc = include_str!("README.md")]

mod address;
mod compose;
mod config;
mod errors;
mod headers;
mod pool;
mod reply;
mod session;
mod tls;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use self::{
    compose::{Letter, compose},
    config::{Config, Tls},
    pool::Pool,
    reply::Reply,
    session::Session,
    wire::Clock,
};
use crate::contract::{
    Accepted, BuildContext, Capture, Channel, ChannelProvider, ConfigError, Descriptor, Dispatch, Fault,
    Profile, ReceiptSource, Reconcile, Reporting, SendError, Settings,
};

/// The plugin for the registry.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "smtp",
    channels: &[Channel::Email],
    summary: "E-mail through an SMTP relay, with STARTTLS or TLS, AUTH and kept connections",
    example: r#"[[provider]]
name = "smtp-main"
kind = "smtp"
host = "smtp.example.com"
username = "acme"
password = "change-me"   # or "env:SMTP_PASSWORD", or "file:/run/secrets/smtp"
from = "Acme <no-reply@acme.test>"
"#,
    keys: config::KEYS,
    build,
};

/// Texts of 10 MiB; relays commonly refuse more.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// The attempt ends this much before the deadline that the service sets for it.
const MARGIN: Duration = Duration::from_secs(5);

fn build(settings: &Settings, _context: BuildContext) -> Result<Arc<dyn ChannelProvider>, ConfigError> {
    let config = Config::read(settings)?;
    let tls = match config.tls {
        Tls::None => None,
        Tls::Starttls | Tls::Implicit => Some(tls::connector(config.ca_file.as_deref())?),
    };
    Ok(Arc::new(Smtp {
        profile: Profile {
            kind: DESCRIPTOR.kind,
            channels: DESCRIPTOR.channels.to_vec(),
            reporting: Reporting::None,
            idempotent: false,
            max_in_flight: config.max_connections,
            attempt_deadline: config.patience.attempt,
            max_body_bytes: MAX_BODY,
        },
        permits: Semaphore::new(config.max_connections),
        pool: Pool::new(config.max_connections, config.max_messages, config.idle),
        config,
        tls,
    }))
}

/// One relay.
struct Smtp {
    profile: Profile,
    config: Config,
    tls: Option<TlsConnector>,
    permits: Semaphore,
    pool: Pool,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("config", &self.config).field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Smtp {
    fn clock(&self) -> Clock {
        Clock::new(self.config.patience.attempt.saturating_sub(MARGIN))
    }

    /// On a kept connection if there is one; on a fresh one if not, or if the kept one turns out to be closed.
    async fn transact(&self, letter: &Letter, clock: Clock) -> Result<Reply, SendError> {
        if let Some(mut session) = self.pool.take() {
            match session.transact(letter, clock).await {
                Err(failure) if failure.is_stale_connection() => {}
                result => {
                    self.pool.put(session);
                    return Ok(result?);
                }
            }
        }
        let mut session = Session::open(&self.config, self.tls.as_ref(), clock).await?;
        let result = session.transact(letter, clock).await;
        self.pool.put(session);
        Ok(result?)
    }
}

#[async_trait]
impl ChannelProvider for Smtp {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError> {
        for (field, text) in [("body", Some(&dispatch.body)), ("html_body", dispatch.html_body.as_ref())] {
            if text.is_some_and(|text| text.len() > MAX_BODY) {
                return Err(SendError::new(Fault::Rejected, format!("`{field}` is longer than 10 MiB")));
            }
        }
        let letter = compose(dispatch, self.config.from.as_ref())?;
        let clock = self.clock();
        let closed = |_| SendError::new(Fault::Transient, "the provider is closing");
        let busy = |_| SendError::new(Fault::Transient, "all connections to the server are in use");
        let wait = Duration::from_secs(60).min(self.config.patience.attempt);
        let _permit =
            tokio::time::timeout(wait, self.permits.acquire()).await.map_err(busy)?.map_err(closed)?;
        let reply = self.transact(&letter, clock).await?;
        Ok(Accepted {
            provider_message_id: Some(letter.message_id),
            receipts: Vec::new(),
            note: Some(note(&reply)),
        })
    }

    /// Greets, secures, authenticates and takes leave.
    async fn probe(&self) -> Result<(), SendError> {
        let clock = self.clock();
        let session = Session::open(&self.config, self.tls.as_ref(), clock).await?;
        session.quit(clock).await;
        Ok(())
    }

    /// Bounces come as mail, not as webhooks.
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

/// The server's own name for the message, which its log is searched by: in the free text of the last reply.
fn note(reply: &Reply) -> String {
    let text = reply.text();
    let queued = text.split_once("queued as ").and_then(|(_, rest)| rest.split_whitespace().next());
    match queued {
        Some(id) => format!("queued as {id}"),
        None => {
            let words: Vec<&str> = text.split_whitespace().filter(|word| !word.contains('@')).collect();
            format!("{} {}", reply.code, words.join(" ").chars().take(120).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests;
