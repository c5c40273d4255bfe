use std::{fmt, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::Instant};

use super::config::ServiceAccount;
use crate::{
    contract::{ConfigError, Fault, SendError, Timestamp},
    shared::{answer::Answer, http::Http, text::sentence},
};

/// An access token. Compared by identity: two tokens of the same text are two.
pub(super) type Token = Arc<SecretString>;

/// Sending messages and nothing else.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Google refuses assertions that live longer.
const LIFETIME: i64 = 3600;

/// How long before its end a token is replaced.
const EARLY: Duration = Duration::from_secs(300);

/// A token is not kept longer than this, whatever the answer says.
const LONGEST_USE: Duration = Duration::from_secs(24 * 3600);

const EXCHANGE: Duration = Duration::from_secs(10);

/// Trades signed assertions for access tokens and keeps the latest.
///
/// Source: <https://developers.google.com/identity/protocols/oauth2/service-account#httprest>, RFC 7523.
pub(super) struct TokenSource {
    http: Http,
    url: Url,
    account: ServiceAccount,
    key: EncodingKey,
    // Held while a new token is fetched, so that one request is under way and the others wait for its result.
    current: Mutex<Option<(Token, Instant)>>,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("account", &self.account).finish_non_exhaustive()
    }
}

impl TokenSource {
    pub(super) fn new(account: ServiceAccount, url: Url) -> Result<Self, ConfigError> {
        let key = signing_key(&account.private_key)?;
        Ok(Self { http: Http::new(&url)?, url, account, key, current: Mutex::new(None) })
    }

    /// A token that is good for five minutes at least.
    ///
    /// # Errors
    /// Never ambiguous: whatever happens here, no message has left.
    pub(super) async fn get(&self, now: Timestamp) -> Result<Token, SendError> {
        let mut current = self.current.lock().await;
        match &*current {
            Some((token, until)) if Instant::now() < *until => Ok(token.clone()),
            _ => {
                let (token, lifetime) = self.fetch(now).await?;
                let token = Arc::new(token);
                *current = Some((token.clone(), Instant::now() + lifetime.saturating_sub(EARLY)));
                Ok(token)
            }
        }
    }

    /// Forgets this token, unless another took its place already.
    pub(super) async fn discard(&self, refused: &Token) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|(token, _)| Arc::ptr_eq(token, refused)) {
            *current = None;
        }
    }

    async fn fetch(&self, now: Timestamp) -> Result<(SecretString, Duration), SendError> {
        let claims = Claims {
            iss: &self.account.client_email,
            scope: SCOPE,
            aud: &self.account.token_uri,
            iat: now.seconds(),
            exp: now.seconds().saturating_add(LIFETIME),
            sub: None,
        };
        let assertion = assertion(&claims, self.account.private_key_id.as_deref(), &self.key)?;
        let form = [("grant_type", GRANT), ("assertion", assertion.as_str())];
        let request = self.http.request(Method::POST, self.url.clone()).form(&form);
        let answer = self.http.exchange(request, EXCHANGE).await.map_err(|mut error| {
            error.fault = Fault::Transient;
            error.detail = format!("no access token: {}", error.detail);
            error
        })?;
        if !answer.status.is_success() {
            return Err(refusal(&answer, now));
        }
        let unreadable = || SendError::new(Fault::Transient, "no access token: the answer cannot be read");
        let granted: Granted = answer.json().ok_or_else(unreadable)?;
        let token = granted.access_token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unreadable());
        }
        Ok((granted.access_token, Duration::from_secs(granted.expires_in).min(LONGEST_USE)))
    }
}

/// The claims of an assertion, in the order of the vendor's libraries.
#[derive(Serialize)]
pub(super) struct Claims<'a> {
    pub(super) iss: &'a str,
    pub(super) scope: &'a str,
    pub(super) aud: &'a str,
    pub(super) exp: i64,
    pub(super) iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub: Option<&'a str>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    expires_in: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
}

/// Signs the claims with RS256.
pub(super) fn assertion(
    claims: &Claims<'_>,
    key_id: Option<&str>,
    key: &EncodingKey,
) -> Result<String, SendError> {
    let mut header = Header::new(Algorithm::RS256);
    header.kid = key_id.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key).map_err(|error| {
        SendError::new(Fault::Unauthorized, "the service account's key cannot sign").source(error)
    })
}

/// The key of a PEM text.
pub(super) fn signing_key(pem: &SecretString) -> Result<EncodingKey, ConfigError> {
    EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes()).map_err(|_| {
        ConfigError::new("service_account", "holds a private_key that is not an RSA key in PEM form")
            .hint("make a new key in the Firebase console")
    })
}

/// Source: RFC 6749 section 5.2. A refused grant is a wrong or withdrawn key, or a clock that is off by minutes.
fn refusal(answer: &Answer, now: Timestamp) -> SendError {
    let mut error = answer.refusal(now);
    error.fault = match error.fault {
        Fault::Throttled => Fault::Throttled,
        Fault::Transient | Fault::Ambiguous => Fault::Transient,
        _ => Fault::Unauthorized,
    };
    let refused: Refused = answer.json().unwrap_or_default();
    let words = refused.error_description.as_deref().or(refused.error.as_deref());
    error.detail = format!("no access token: {}", words.map_or_else(|| error.detail.clone(), sentence));
    match refused.error {
        Some(code) => error.code(sentence(&code)),
        None => error,
    }
}

/// The time of this machine, for checks that no dispatch gives a time to.
pub(super) fn clock() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}
