//! How much waits, in all and by tenant. The writer counts after each commit, so that whether there is room is asked of memory and not
//! of the database. What was admitted and is not committed yet is held here too: a burst cannot slip through between the two.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::model::ids::Tenant;

/// The shortest wait that a refusal names.
const SOONEST: Duration = Duration::from_millis(100);
/// The longest.
const LATEST: Duration = Duration::from_secs(60);
/// What it names when nothing has left the queue lately.
const UNKNOWN: Duration = Duration::from_secs(10);
/// How long departures are counted before the pace follows them.
const STRETCH: Duration = Duration::from_secs(1);

/// A number of messages and the bytes of their content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "two numbers, by name")]
pub struct Weight {
    pub messages: i64,
    pub bytes: i64,
}

impl Weight {
    /// Both added up.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// What is left without the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of everybody.
    pub all: Weight,
    /// Of one tenant.
    pub tenant: Weight,
    /// Bytes that may be in memory on their way to the disk; one tenant may have half of them.
    pub pending_bytes: i64,
}

/// Whose bound was met, and in what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of `Bounds`, by name")]
pub enum Bound {
    AllMessages,
    AllBytes,
    TenantMessages,
    TenantBytes,
    Pending,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Which bound.
    pub bound: Bound,
    /// How much of it is in use.
    pub used: i64,
    /// The bound itself.
    pub limit: i64,
    /// When there should be room, by the pace at which messages leave now.
    pub wait: Duration,
}

/// What waits. The store has one, and shares it.
#[derive(Debug, Default)]
pub struct Load {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: Share,
    /// Those that have something waiting or on its way.
    tenants: HashMap<Tenant, Share>,
}

/// What one of them has.
#[derive(Debug, Default)]
struct Share {
    /// In the queue, durably.
    waiting: Weight,
    /// Admitted, on its way there.
    pending: Weight,
    pace: Option<Pace>,
}

/// How fast messages leave.
#[derive(Debug)]
struct Pace {
    since: Instant,
    left: Weight,
    /// Messages and bytes a second.
    rate: (f64, f64),
}

/// Room that was given, until what it was given for is in the queue or refused.
#[derive(Debug)]
pub struct Room {
    load: Arc<Load>,
    tenant: Tenant,
    weight: Weight,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut inner = self.load.inner();
        inner.all.pending = inner.all.pending.minus(self.weight);
        inner.share(&self.tenant, |share| share.pending = share.pending.minus(self.weight));
    }
}

impl Load {
    /// What waits in all.
    pub fn all(&self) -> Weight {
        self.inner().all.waiting
    }

    /// What waits of one tenant.
    pub fn of(&self, tenant: &Tenant) -> Weight {
        self.inner().tenants.get(tenant).map_or_else(Weight::default, |share| share.waiting)
    }

    /// Gives room for so much, held until it is dropped.
    ///
    /// # Errors
    /// The first bound that stands in the way: the tenant's own before everybody's.
    pub fn admit(self: &Arc<Self>, tenant: &Tenant, weight: Weight, bounds: &Bounds) -> Result<Room, NoRoom> {
        let now = Instant::now();
        let mut inner = self.inner();
        let none = Share::default();
        let own = inner.tenants.get(tenant).unwrap_or(&none);
        own.fits(weight, bounds.tenant, (Bound::TenantMessages, Bound::TenantBytes), now)?;
        own.passes(weight, bounds.pending_bytes / 2)?;
        inner.all.fits(weight, bounds.all, (Bound::AllMessages, Bound::AllBytes), now)?;
        inner.all.passes(weight, bounds.pending_bytes)?;
        inner.all.pending = inner.all.pending.plus(weight);
        inner.share(tenant, |share| share.pending = share.pending.plus(weight));
        Ok(Room { load: self.clone(), tenant: tenant.clone(), weight })
    }

    /// After a commit: so much more waits of these tenants, or less.
    pub fn moved(&self, changes: impl IntoIterator<Item = (Tenant, Weight)>) {
        let now = Instant::now();
        let mut inner = self.inner();
        for (tenant, change) in changes {
            inner.all.moved(change, now);
            inner.share(&tenant, |share| share.moved(change, now));
        }
    }

    /// What the database says waits: at a start, and now and then where others write to it too.
    pub fn replace(&self, waiting: impl IntoIterator<Item = (Tenant, Weight)>) {
        let mut inner = self.inner();
        inner.all.waiting = Weight::default();
        inner.tenants.values_mut().for_each(|share| share.waiting = Weight::default());
        for (tenant, weight) in waiting {
            inner.all.waiting = inner.all.waiting.plus(weight);
            inner.tenants.entry(tenant).or_default().waiting = weight;
        }
        inner.tenants.retain(|_, share| !share.is_empty());
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Changes a tenant's share; one that is empty afterwards is forgotten.
    fn share(&mut self, tenant: &Tenant, change: impl FnOnce(&mut Share)) {
        let share = match self.tenants.get_mut(tenant) {
            Some(share) => share,
            None => self.tenants.entry(tenant.clone()).or_default(),
        };
        change(share);
        if share.is_empty() {
            self.tenants.remove(tenant);
        }
    }
}

impl Share {
    fn is_empty(&self) -> bool {
        self.waiting == Weight::default() && self.pending == Weight::default()
    }

    fn fits(&self, more: Weight, most: Weight, names: (Bound, Bound), now: Instant) -> Result<(), NoRoom> {
        let used = self.waiting.plus(self.pending);
        let then = used.plus(more);
        let rate = self.pace.as_ref().map_or((0.0, 0.0), |pace| pace.rate_at(now));
        if more.messages > 0 && then.messages > most.messages {
            let wait = wait(then.messages - most.messages, rate.0);
            return Err(NoRoom { bound: names.0, used: used.messages, limit: most.messages, wait });
        }
        // One that is larger than the bound passes when nothing else waits: it could not pass otherwise.
        if more.bytes > 0 && used.bytes > 0 && then.bytes > most.bytes {
            let wait = wait(then.bytes - most.bytes, rate.1);
            return Err(NoRoom { bound: names.1, used: used.bytes, limit: most.bytes, wait });
        }
        Ok(())
    }

    fn passes(&self, more: Weight, most: i64) -> Result<(), NoRoom> {
        let used = self.pending.bytes;
        if used > 0 && used.saturating_add(more.bytes) > most {
            // A commit away.
            return Err(NoRoom { bound: Bound::Pending, used, limit: most, wait: SOONEST });
        }
        Ok(())
    }

    fn moved(&mut self, change: Weight, now: Instant) {
        self.waiting = self.waiting.plus(change);
        if change.messages < 0 {
            let fresh = || Pace { since: now, left: Weight::default(), rate: (0.0, 0.0) };
            self.pace.get_or_insert_with(fresh).count(change, now);
        }
    }
}

impl Pace {
    fn count(&mut self, change: Weight, now: Instant) {
        self.left = self.left.minus(change);
        if now.duration_since(self.since) >= STRETCH {
            *self = Self { since: now, left: Weight::default(), rate: self.rate_at(now) };
        }
    }

    /// Half what was, half what is; what is counts once there is a stretch of it.
    fn rate_at(&self, now: Instant) -> (f64, f64) {
        let seconds = now.duration_since(self.since).as_secs_f64();
        if seconds < STRETCH.as_secs_f64() && self.rate.0 > 0.0 {
            return self.rate;
        }
        let is = (self.left.messages as f64 / seconds.max(0.05), self.left.bytes as f64 / seconds.max(0.05));
        if self.rate.0 <= 0.0 {
            return is;
        }
        ((self.rate.0 + is.0) / 2.0, (self.rate.1 + is.1) / 2.0)
    }
}

fn wait(excess: i64, rate: f64) -> Duration {
    if rate < 0.001 {
        return UNKNOWN;
    }
    Duration::try_from_secs_f64(excess as f64 / rate).unwrap_or(LATEST).clamp(SOONEST, LATEST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    const fn of(messages: i64, bytes: i64) -> Weight {
        Weight { messages, bytes }
    }

    const BOUNDS: Bounds = Bounds { all: of(10, 1_000), tenant: of(4, 400), pending_bytes: 600 };

    #[test]
    fn the_tenants_own_bound_comes_first_and_holds_up_nobody_else() {
        let load = Arc::new(Load::default());
        let held = load.admit(&tenant("loud"), of(4, 40), &BOUNDS).unwrap();
        let refused = load.admit(&tenant("loud"), of(1, 10), &BOUNDS).unwrap_err();
        assert_eq!((refused.bound, refused.used, refused.limit), (Bound::TenantMessages, 4, 4));
        assert!(load.admit(&tenant("quiet"), of(1, 10), &BOUNDS).is_ok());
        drop(held);
        assert!(load.admit(&tenant("loud"), of(1, 10), &BOUNDS).is_ok());
        assert!(load.inner().tenants.is_empty(), "who has nothing is forgotten");
    }

    #[test]
    fn what_is_on_its_way_and_what_waits_count_together() {
        let load = Arc::new(Load::default());
        load.moved([(tenant("a"), of(3, 30)), (tenant("b"), of(4, 40))]);
        assert_eq!((load.all(), load.of(&tenant("a"))), (of(7, 70), of(3, 30)));
        let _held = load.admit(&tenant("c"), of(3, 30), &BOUNDS).unwrap();
        assert_eq!(load.admit(&tenant("d"), of(1, 1), &BOUNDS).unwrap_err().bound, Bound::AllMessages);
        load.moved([(tenant("b"), of(-4, -40))]);
        assert!(load.admit(&tenant("d"), of(1, 1), &BOUNDS).is_ok());
        load.replace([(tenant("a"), of(1, 10))]);
        assert_eq!((load.all(), load.of(&tenant("b"))), (of(1, 10), of(0, 0)));
    }

    #[test]
    fn bytes_are_bounded_and_a_large_one_passes_alone() {
        let load = Arc::new(Load::default());
        let large = load.admit(&tenant("a"), of(1, 5_000), &BOUNDS).unwrap();
        assert_eq!(load.admit(&tenant("a"), of(1, 1), &BOUNDS).unwrap_err().bound, Bound::TenantBytes);
        assert_eq!(load.admit(&tenant("b"), of(1, 1), &BOUNDS).unwrap_err().bound, Bound::AllBytes);
        drop(large);
        let _half = load.admit(&tenant("a"), of(1, 300), &BOUNDS).unwrap();
        assert_eq!(load.admit(&tenant("a"), of(1, 50), &BOUNDS).unwrap_err().bound, Bound::Pending);
    }

    #[test]
    fn the_wait_follows_the_pace_of_those_that_leave() {
        let now = Instant::now();
        let mut share = Share::default();
        share.moved(of(1_000, 1_000), now);
        assert_eq!(
            share
                .fits(of(1, 1), of(1_000, 9_999), (Bound::AllMessages, Bound::AllBytes), now)
                .unwrap_err()
                .wait,
            UNKNOWN
        );
        let second = Duration::from_secs(1);
        share.moved(of(0, 0), now);
        share.pace = Some(Pace { since: now, left: of(0, 0), rate: (0.0, 0.0) });
        share.moved(of(-50, -50), now + second);
        let refused = |more| {
            share.fits(of(more, 1), of(950, 9_999), (Bound::AllMessages, Bound::AllBytes), now + second)
        };
        assert_eq!(refused(100).unwrap_err().wait, second * 2);
        assert_eq!(refused(1).unwrap_err().wait, SOONEST);
        assert_eq!(refused(50_000).unwrap_err().wait, LATEST);
    }
}
