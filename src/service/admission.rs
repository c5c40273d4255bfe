//! Whether there is room for more: a limit on the pace of each tenant, and on what waits. Asked of memory, before anything is looked up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Caller, Error, Kind, Service};
use crate::{
    model::ids::Tenant,
    store::{
        Accept, Ack,
        load::{Bound, Bounds, NoRoom, Room, Weight},
    },
};

/// Tenants whose pace is known at once at most.
const TENANTS: usize = 10_000;

/// How much may come in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What may wait.
    pub bounds: Bounds,
    /// Messages a second of one tenant; no limit when 0.
    pub rate: u32,
    /// How many of them may come at once; one second's when 0.
    pub burst: u32,
}

impl Limits {
    /// No limits, for tests and for tools.
    pub const NONE: Self = {
        let most = Weight { messages: i64::MAX, bytes: i64::MAX };
        Self { bounds: Bounds { all: most, tenant: most, pending_bytes: i64::MAX }, rate: 0, burst: 0 }
    };
}

/// The pace of each tenant: a bucket of tokens that fills at the rate, up to the burst.
#[derive(Debug, Default)]
pub(super) struct Paces {
    buckets: Mutex<HashMap<Tenant, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Paces {
    /// Takes so many tokens of a tenant. A request that is larger than the bucket passes when that is full, and is paid off later.
    fn take(&self, tenant: &Tenant, count: u32, limits: &Limits, now: Instant) -> Result<(), Duration> {
        let rate = f64::from(limits.rate);
        if limits.rate == 0 {
            return Ok(());
        }
        let most = if limits.burst == 0 { rate } else { f64::from(limits.burst) };
        let filled = |bucket: Bucket| {
            let since = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.tokens + since * rate).min(most)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= TENANTS && !buckets.contains_key(tenant) {
            // A full bucket is that of a tenant of whom nothing is known.
            buckets.retain(|_, bucket| filled(*bucket) < most);
            if buckets.len() >= TENANTS {
                return Err(Duration::from_secs(1));
            }
        }
        let tokens = buckets.get(tenant).map_or(most, |bucket| filled(*bucket));
        let needed = f64::from(count).min(most);
        if tokens < needed {
            let wait = (needed - tokens) / rate;
            return Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX));
        }
        buckets.insert(tenant.clone(), Bucket { tokens: tokens - f64::from(count), at: now });
        Ok(())
    }
}

impl Service {
    /// Lets so many messages of a caller pass, by the pace of the tenant.
    ///
    /// # Errors
    /// They come too fast: RESOURCE_EXHAUSTED, with the time until they may pass.
    pub(super) fn pace(&self, caller: &Caller, count: usize) -> Result<(), Error> {
        let limits = &self.0.deps.limits;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.0.paces.take(&caller.tenant, count, limits, Instant::now()).map_err(|wait| {
            let message = format!(
                "more than {} messages a second came from the tenant {} (limits.tenant_rate); send again later",
                limits.rate, caller.tenant
            );
            refusal(Error::new(Kind::ResourceExhausted, "RATE_LIMITED", message), caller, wait)
        })
    }

    /// Makes room for so many messages more; it is held until what is returned is dropped.
    ///
    /// # Errors
    /// There is none: RESOURCE_EXHAUSTED, with when to come back.
    pub(super) fn admit(&self, caller: &Caller, weight: Weight) -> Result<Room, Error> {
        let bounds = &self.0.deps.limits.bounds;
        let admitted = self.store().load().admit(&caller.tenant, weight, bounds);
        admitted.map_err(|full| refusal(no_room(&full, caller), caller, full.wait))
    }

    /// Stores messages for which there is room. A caller that goes away takes neither the messages nor their room with it: both are
    /// held until the writer has answered.
    pub(super) async fn accept(&self, accept: Accept, room: Room) -> Result<Ack, Error> {
        let store = self.0.deps.store.clone();
        let storing = tokio::spawn(async move {
            let done = store.accept(accept).await;
            drop(room);
            done
        });
        match storing.await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Error::stopping()),
        }
    }
}

/// The room that messages need.
pub(super) fn weight_of<'m>(
    messages: impl IntoIterator<Item = &'m Arc<crate::model::message::Message>>,
) -> Weight {
    messages
        .into_iter()
        .fold(Weight::default(), |sum, message| sum.plus(Weight { messages: 1, bytes: message.bytes() }))
}

/// Names the tenant and the time to come back.
fn refusal(error: Error, caller: &Caller, wait: Duration) -> Error {
    error.about("Tenant", caller.tenant.as_str()).after(wait)
}

fn no_room(full: &NoRoom, caller: &Caller) -> Error {
    let NoRoom { bound, used, limit, .. } = full;
    let tenant = &caller.tenant;
    match bound {
        Bound::AllMessages => {
            let message =
                format!("{used} messages wait, and limits.queue_depth is {limit}; send again later");
            Error::new(Kind::ResourceExhausted, "QUEUE_FULL", message)
        }
        Bound::AllBytes => {
            let message = format!("{used} bytes wait, and limits.queue_bytes is {limit}; send again later");
            Error::new(Kind::ResourceExhausted, "QUEUE_FULL", message)
        }
        Bound::TenantMessages => {
            let message = format!(
                "{used} messages of the tenant {tenant} wait, and limits.tenant_queue_depth is {limit}; send again later"
            );
            Error::new(Kind::ResourceExhausted, "TENANT_QUEUE_FULL", message)
        }
        Bound::TenantBytes => {
            let message = format!(
                "{used} bytes of the tenant {tenant} wait, and limits.tenant_queue_bytes is {limit}; send again later"
            );
            Error::new(Kind::ResourceExhausted, "TENANT_QUEUE_FULL", message)
        }
        Bound::Pending => {
            let message = "more comes in than the disk takes (limits.pending_bytes); send again";
            Error::new(Kind::ResourceExhausted, "OVERLOADED", message)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rate: 10, burst: 20, ..Limits::NONE };

    #[test]
    fn a_bucket_empties_by_the_burst_and_fills_by_the_rate() {
        let (paces, tenant, now) = (Paces::default(), Tenant::default(), Instant::now());
        let take =
            |count, seconds: f64| paces.take(&tenant, count, &LIMITS, now + Duration::from_secs_f64(seconds));
        assert_eq!(take(20, 0.0), Ok(()));
        let wait = take(1, 0.0).unwrap_err();
        assert!((wait.as_secs_f64() - 0.1).abs() < 1e-6, "{wait:?}: the time until there is a token");
        assert!(take(1, 0.05).is_err());
        assert_eq!(take(1, 0.11), Ok(()));
        let other = Tenant::new("other").unwrap();
        assert_eq!(paces.take(&other, 20, &LIMITS, now), Ok(()), "each has a bucket of its own");
    }

    #[test]
    fn a_batch_larger_than_the_bucket_passes_and_is_paid_off() {
        let (paces, tenant, now) = (Paces::default(), Tenant::default(), Instant::now());
        assert_eq!(paces.take(&tenant, 100, &LIMITS, now), Ok(()));
        let wait = paces.take(&tenant, 1, &LIMITS, now).unwrap_err();
        assert!((wait.as_secs_f64() - 8.1).abs() < 1e-6, "{wait:?}");
    }

    #[test]
    fn the_paces_of_ten_thousand_tenants_are_known_and_no_more() {
        let (paces, now) = (Paces::default(), Instant::now());
        for number in 0..TENANTS {
            let tenant = Tenant::new(&format!("t{number}")).unwrap();
            assert_eq!(paces.take(&tenant, 1, &LIMITS, now), Ok(()));
        }
        assert!(paces.take(&Tenant::default(), 1, &LIMITS, now).is_err());
        assert_eq!(paces.take(&Tenant::default(), 1, &LIMITS, now + Duration::from_secs(1)), Ok(()));
        assert_eq!(paces.buckets.lock().unwrap().len(), 1);
    }
}
