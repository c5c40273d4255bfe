//! Requests that may be repeated.

use serde::{Deserialize, Serialize};

use super::{Caller, Error, Service, Violations};
use crate::store::RequestKey;

/// The caller's name for a request, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// 1 to 128 printable ASCII characters.
    pub id: String,
    /// SHA-256 of the content of the request, without the id.
    pub hash: [u8; 32],
}

impl RequestId {
    /// Says what is wrong with the id.
    pub(super) fn check(request: Option<&Self>, violations: &mut Violations) {
        let printable = |id: &str| id.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if request.is_some_and(|request| !(1..=128).contains(&request.id.len()) || !printable(&request.id)) {
            violations.add("request_id", "must be 1 to 128 printable ASCII characters");
        }
    }
}

/// What a stored answer remembers.
#[derive(Serialize, Deserialize)]
pub(super) struct Remembered<T> {
    /// Usually an id.
    pub(super) id: T,
}

impl Service {
    /// The key under which a request and its answer are stored.
    pub(super) fn key<T: Serialize>(
        &self,
        caller: &Caller,
        method: &'static str,
        request: Option<RequestId>,
        answer: T,
    ) -> Result<Option<RequestKey>, Error> {
        let Some(request) = request else { return Ok(None) };
        let result = serde_json::to_string(&Remembered { id: answer }).map_err(|_| unreadable())?;
        Ok(Some(RequestKey {
            tenant: caller.tenant.clone(),
            method,
            request_id: request.id,
            hash: request.hash,
            result,
            now: self.now(),
        }))
    }
}

impl Service {
    /// What to do with a refused request that may be the repetition of one that was taken: what was right then may be wrong now (its
    /// time has passed, its contact is gone), and the first answer stands. `Ok` is that answer's id.
    pub(super) async fn or_replay(
        &self,
        caller: &Caller,
        method: &'static str,
        request: Option<&RequestId>,
        refusal: Error,
    ) -> Result<String, Error> {
        let Some(key) = self.key(caller, method, request.cloned(), ())? else { return Err(refusal) };
        match self.store().request(&key).await {
            Ok(Some(result)) => recall(&result),
            // Another request under this name, or no look at the store: what is wrong with this one is the better answer.
            Ok(None) | Err(_) => Err(refusal),
        }
    }
}

/// Reads a stored answer.
pub(super) fn recall<'a, T: Deserialize<'a>>(result: &'a str) -> Result<T, Error> {
    serde_json::from_str::<Remembered<T>>(result).map(|remembered| remembered.id).map_err(|_| unreadable())
}

fn unreadable() -> Error {
    Error::new(super::Kind::Internal, "CORRUPT", "the stored answer to this request cannot be read")
}
