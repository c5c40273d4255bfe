//! API keys: made, listed, revoked, and recognised.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use aws_lc_rs::{digest, hmac};

use super::{Caller, Error, Given, Kind, Scopes, Service, Violations, crm::bad_id, validate};
use crate::{
    model::{
        Timestamp,
        ids::{ApiKeyId, Tenant},
    },
    store::ApiKey,
};

/// What every key starts with.
pub const PREFIX: &str = "hly_sk_";
/// Characters of the random part: 32 bytes in base 62.
const SECRET: usize = 43;
/// Characters of the checksum: what is mistyped is refused without a look into the store.
const CHECKSUM: usize = 6;
/// Characters of a key that are kept, to recognise it by.
const SHOWN: usize = PREFIX.len() + 6;
/// A key that was seen is believed this long: a revocation by another process counts after it.
const BELIEVED: Duration = Duration::from_secs(5);
/// Keys remembered at most.
const REMEMBERED: usize = 10_000;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a caller asks for in a new key.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// For people, at most 128 bytes.
    pub name: String,
    /// The caller's tenant when empty; another's only on the server's own machine.
    pub tenant: String,
    /// SEND and READ when `None`.
    pub scopes: Option<Scopes>,
    /// Never when `None`.
    pub expires_at: Option<Timestamp>,
}

/// Recognises keys without asking the store each time.
pub(super) struct Keyring {
    hmac: hmac::Key,
    seen: RwLock<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Grows with every change of a key in this process: what was read from the store before one is not remembered after it.
    changes: u64,
    keys: HashMap<Vec<u8>, Known>,
}

#[derive(Clone)]
struct Known {
    caller: Arc<Caller>,
    expires_at: Option<Timestamp>,
    since: Instant,
}

impl Keyring {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self { hmac: hmac::Key::new(hmac::HMAC_SHA256, secret), seen: RwLock::default() }
    }

    fn hash(&self, key: &str) -> Vec<u8> {
        hmac::sign(&self.hmac, key.as_bytes()).as_ref().to_vec()
    }

    fn forget(&self) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        seen.changes += 1;
        seen.keys.clear();
    }

    /// What is remembered of a key, and the count of changes to give back to [`Self::remember`].
    fn recall(&self, hash: &[u8], now: Instant) -> (Option<Known>, u64) {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        (
            seen.keys.get(hash).filter(|known| now.duration_since(known.since) < BELIEVED).cloned(),
            seen.changes,
        )
    }

    fn remember(&self, hash: Vec<u8>, known: Known, changes: u64) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.changes != changes {
            return;
        }
        if seen.keys.len() >= REMEMBERED {
            seen.keys.clear();
        }
        seen.keys.insert(hash, known);
    }
}

impl Service {
    /// Who it is that shows this key.
    ///
    /// # Errors
    /// The same words whether the key is unknown, malformed, revoked or expired.
    pub async fn authenticate(&self, key: &str) -> Result<Arc<Caller>, Error> {
        if !is_well_formed(key) {
            return Err(unauthenticated());
        }
        let keyring = &self.0.keyring;
        let hash = keyring.hash(key);
        let (known, changes) = keyring.recall(&hash, Instant::now());
        let known = match known {
            Some(known) => known,
            None => {
                let stored = self.store().key_by_hash(&hash).await?;
                let stored =
                    stored.filter(|stored| stored.revoked_at.is_none()).ok_or_else(unauthenticated)?;
                let caller = Caller {
                    actor: stored.id.to_string().into(),
                    tenant: stored.tenant,
                    scopes: Scopes(stored.scopes),
                    local: false,
                };
                let known =
                    Known { caller: Arc::new(caller), expires_at: stored.expires_at, since: Instant::now() };
                keyring.remember(hash, known.clone(), changes);
                known
            }
        };
        if known.expires_at.is_some_and(|expires_at| expires_at <= self.now()) {
            return Err(unauthenticated());
        }
        Ok(known.caller)
    }

    /// Makes a key. The key itself is returned this once and kept nowhere.
    ///
    /// # Errors
    /// Something in the request is wrong; the tenant is another one and the caller is not on the server's own machine.
    pub async fn create_key(&self, caller: &Caller, new: Given<NewKey>) -> Result<(ApiKey, String), Error> {
        let Given { value: new, mut violations } = new;
        validate::line(&mut violations, "name", Some(&new.name), 128);
        let tenant =
            if new.tenant.is_empty() { Some(caller.tenant.clone()) } else { Tenant::new(&new.tenant) };
        if tenant.is_none() {
            violations.add("tenant", "must be 1 to 64 lower-case letters, digits and `-`");
        }
        if new.expires_at.is_some_and(|expires_at| expires_at <= self.now()) {
            violations.add("expires_at", "must lie in the future");
        }
        violations.done()?;
        let tenant = tenant.unwrap_or_default();
        if tenant != caller.tenant && !caller.local {
            let message = "keys of another tenant are made on the server's own machine only";
            return Err(Error::new(Kind::PermissionDenied, "OTHER_TENANT", message));
        }
        let secret = generate()?;
        let (id, now) = self.next_id();
        let key = ApiKey {
            id: ApiKeyId(id),
            tenant,
            name: new.name,
            hash: self.0.keyring.hash(&secret),
            prefix: secret[..SHOWN].to_owned(),
            scopes: new.scopes.unwrap_or(Scopes::SEND.with(Scopes::READ)).0,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        self.store().put_key(key.clone()).await?;
        self.0.keyring.forget();
        Ok((key, secret))
    }

    /// The keys of the caller's tenant, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn keys(&self, caller: &Caller) -> Result<Vec<ApiKey>, Error> {
        Ok(self.store().keys(&caller.tenant).await?)
    }

    /// Revokes a key: in force on every call that begins after this returned. Revoking again changes nothing.
    ///
    /// # Errors
    /// There is no such key in the caller's tenant.
    pub async fn revoke_key(&self, caller: &Caller, id: &str) -> Result<ApiKey, Error> {
        let key: ApiKeyId = id.parse().map_err(|bad| bad_id(id, bad))?;
        let found = self.store().key(&caller.tenant, key).await?;
        let mut key = found.ok_or_else(|| Error::not_found("ApiKey", id))?;
        if key.revoked_at.is_none() {
            key.revoked_at = Some(self.now());
            self.store().put_key(key.clone()).await?;
        }
        self.0.keyring.forget();
        Ok(key)
    }
}

/// What a caller hears whose key does not open anything: never why.
pub fn unauthenticated() -> Error {
    let message =
        "a valid API key is required: `authorization: Bearer hly_sk_...`; `hly keys create` makes one";
    Error::new(Kind::Unauthenticated, "UNAUTHENTICATED", message)
}

/// The scope that a call needs and the caller's key does not have.
pub fn permission_denied(needed: Scopes) -> Error {
    let message = format!("the API key does not have the scope {}, which this call needs", needed.names());
    let mut violations = Violations::default();
    violations.add("authorization", format!("needs scope {}", needed.names()));
    let error = Error::new(Kind::PermissionDenied, "SCOPE_MISSING", message);
    Error { violations: violations.0, ..error }
}

fn generate() -> Result<String, Error> {
    let mut random = [0; 32];
    let failed = |_| Error::new(Kind::Internal, "NO_RANDOMNESS", "the system gives no random numbers");
    aws_lc_rs::rand::fill(&mut random).map_err(failed)?;
    let body = base62(&random, SECRET);
    Ok(format!("{PREFIX}{body}{}", checksum(&body)))
}

fn checksum(body: &str) -> String {
    let hash = digest::digest(&digest::SHA256, body.as_bytes());
    base62(&hash.as_ref()[..4], CHECKSUM)
}

fn is_well_formed(key: &str) -> bool {
    let Some(rest) =
        key.strip_prefix(PREFIX).filter(|rest| rest.len() == SECRET + CHECKSUM && rest.is_ascii())
    else {
        return false;
    };
    let (body, sum) = rest.split_at(SECRET);
    checksum(body) == sum
}

/// A big-endian number in base 62, filled up with zeros to this length.
fn base62(bytes: &[u8], length: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![DIGITS[0]; length];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = DIGITS[usize::try_from(rest).unwrap_or(0)];
    }
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_base_62() {
        assert_eq!(base62(&[0], 2), "00");
        assert_eq!(base62(&[61], 2), "0z");
        assert_eq!(base62(&[1, 0], 3), "048");
        assert_eq!(base62(&[255; 32], SECRET).len(), SECRET);
    }

    #[test]
    fn keys_are_well_formed_and_differ() {
        let (Ok(one), Ok(two)) = (generate(), generate()) else { panic!("no randomness") };
        assert_ne!(one, two);
        assert!(is_well_formed(&one) && is_well_formed(&two));
        let mut typo = one.clone();
        typo.replace_range(10..11, if &one[10..11] == "a" { "b" } else { "a" });
        for bad in ["", "hly_sk_", "Bearer x", &typo, &one[1..], &format!("{one}x"), "hly_sk_ä"] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn what_was_seen_is_believed_for_a_short_time_and_not_after_a_change() {
        let keyring = Keyring::new(&[7; 32]);
        let now = Instant::now();
        let known = || Known { caller: Arc::new(Caller::local()), expires_at: None, since: now };
        let hash = keyring.hash("k");
        let (none, changes) = keyring.recall(&hash, now);
        assert!(none.is_none());
        keyring.remember(hash.clone(), known(), changes);
        assert!(keyring.recall(&hash, now).0.is_some());
        assert!(keyring.recall(&hash, now + BELIEVED).0.is_none());
        keyring.forget();
        keyring.remember(hash.clone(), known(), changes);
        assert!(keyring.recall(&hash, now).0.is_none());
    }
}
