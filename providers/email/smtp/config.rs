//! The settings of one relay, checked.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::address::Mailbox;
use crate::{
    contract::{ConfigError, Secret, Settings},
    shared::duration::duration,
};

/// The keys, for hints.
pub(super) const KEYS: &[&str] = &[
    "host",
    "port",
    "tls",
    "ca_file",
    "auth",
    "username",
    "password",
    "from",
    "hello_name",
    "max_connections",
    "max_messages_per_connection",
    "idle_timeout",
    "connect_timeout",
    "command_timeout",
    "data_timeout",
];

/// The settings as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    host: String,
    port: Option<u16>,
    tls: Option<Tls>,
    ca_file: Option<PathBuf>,
    auth: Option<Auth>,
    username: Option<String>,
    password: Option<Secret>,
    from: Option<String>,
    hello_name: Option<String>,
    max_connections: Option<usize>,
    max_messages_per_connection: Option<u32>,
    idle_timeout: Option<String>,
    connect_timeout: Option<String>,
    command_timeout: Option<String>,
    data_timeout: Option<String>,
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    /// Not at all.
    None,
    /// From the STARTTLS command on (RFC 3207); a server that does not offer it is refused.
    Starttls,
    /// From the first byte (RFC 8314 section 3.3).
    Implicit,
}

/// The SASL mechanism (RFC 4954).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auth {
    /// RFC 4616.
    Plain,
    /// Never standardised, but the only one that some servers know.
    Login,
}

/// Who we are to the relay.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: SecretString,
    /// The configured mechanism; the best of those offered when `None`.
    pub(super) auth: Option<Auth>,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// TCP connection and TLS handshake, each.
    pub(super) connect: Duration,
    /// From a command to its reply: 5 minutes by RFC 5321 section 4.5.3.2.
    pub(super) command: Duration,
    /// From the final dot to its reply: 10 minutes by RFC 5321 section 4.5.3.2.6.
    pub(super) data: Duration,
    /// The whole attempt.
    pub(super) attempt: Duration,
}

/// The settings, checked.
pub(super) struct Config {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) credentials: Option<Credentials>,
    pub(super) from: Option<Mailbox>,
    pub(super) hello_name: Option<String>,
    pub(super) max_connections: usize,
    pub(super) max_messages: u32,
    pub(super) idle: Duration,
    pub(super) patience: Patience,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("authenticates", &self.credentials.is_some())
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads and checks the settings.
    ///
    /// # Errors
    /// Names the key that is wrong and the way out.
    pub(super) fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let written: Written = settings.parse(KEYS)?;
        let host = host(&written.host)?;
        let loopback = is_loopback(&host);
        let tls = written.tls.unwrap_or(if loopback { Tls::None } else { Tls::Starttls });
        let credentials = credentials(&written, tls, loopback)?;
        let patience = patience(&written)?;
        let idle = duration(
            "idle_timeout",
            written.idle_timeout.as_deref(),
            Duration::from_secs(60),
            Duration::ZERO..=Duration::from_secs(300),
        )?;
        let from = written.from.as_deref().map(Mailbox::parse).transpose().map_err(|problem| {
            ConfigError::new("from", problem).hint("write it like \"Acme <no-reply@acme.test>\"")
        })?;
        let hello_name = written.hello_name.map(hello_name).transpose()?;
        let max_connections = written.max_connections.unwrap_or(20);
        if !(1..=1000).contains(&max_connections) {
            return Err(ConfigError::new("max_connections", "must lie between 1 and 1000"));
        }
        let max_messages = written.max_messages_per_connection.unwrap_or(100);
        if max_messages == 0 {
            return Err(ConfigError::new("max_messages_per_connection", "must be at least 1"));
        }
        let port = written.port.unwrap_or(match tls {
            Tls::None => 25,
            Tls::Starttls => 587,
            Tls::Implicit => 465,
        });
        if port == 0 {
            return Err(ConfigError::new("port", "must lie between 1 and 65535"));
        }
        let ca_file = written.ca_file;
        Ok(Self {
            host,
            port,
            tls,
            ca_file,
            credentials,
            from,
            hello_name,
            max_connections,
            max_messages,
            idle,
            patience,
        })
    }
}

/// A host name or an IP address, without the port.
fn host(written: &str) -> Result<String, ConfigError> {
    let host = written.trim();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let named = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if !named {
        return Err(ConfigError::new("host", "is not a host name or an IP address")
            .hint("write it like \"smtp.example.com\", and the port under `port`"));
    }
    match url::Host::parse(host) {
        Ok(host) => Ok(host.to_string()),
        Err(_) => Err(ConfigError::new("host", "is not a host name or an IP address")),
    }
}

/// Whether the traffic stays on this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

fn credentials(written: &Written, tls: Tls, loopback: bool) -> Result<Option<Credentials>, ConfigError> {
    let (username, password) = match (&written.username, &written.password) {
        (None, None) => {
            return match written.auth {
                None => Ok(None),
                Some(_) => Err(ConfigError::new("username", "is missing").hint("`auth` needs it")),
            };
        }
        (Some(username), Some(password)) => (username.clone(), password.resolve("password")?),
        (None, Some(_)) => return Err(ConfigError::new("username", "is missing beside `password`")),
        (Some(_), None) => {
            return Err(ConfigError::new("password", "is missing beside `username`")
                .hint("give the password, env:NAME or file:/path"));
        }
    };
    if username.is_empty() || username.contains('\0') {
        return Err(ConfigError::new("username", "must hold at least one character and no NUL (RFC 4616)"));
    }
    if tls == Tls::None && !loopback {
        return Err(ConfigError::new("tls", "is none, and the password would travel in clear")
            .hint("set tls = \"starttls\" or \"implicit\", or take out username and password"));
    }
    Ok(Some(Credentials { username, password, auth: written.auth }))
}

fn hello_name(name: String) -> Result<String, ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
        return Err(ConfigError::new("hello_name", "is not a host name or an address in brackets")
            .hint("write it like \"mail.acme.test\" (RFC 5321 section 4.1.1.1)"));
    }
    Ok(name)
}

fn patience(written: &Written) -> Result<Patience, ConfigError> {
    let seconds = Duration::from_secs;
    let least = Duration::from_millis(10);
    let connect =
        duration("connect_timeout", written.connect_timeout.as_deref(), seconds(10), least..=seconds(60))?;
    let command =
        duration("command_timeout", written.command_timeout.as_deref(), seconds(300), least..=seconds(600))?;
    let data =
        duration("data_timeout", written.data_timeout.as_deref(), seconds(600), least..=seconds(1800))?;
    // Two minutes for everything before the dot: a server that needs longer is in trouble, and the try is repeated.
    Ok(Patience { connect, command, data, attempt: data + seconds(120) })
}
