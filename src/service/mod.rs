//! What can be asked of the service, whatever way the question came: no gRPC, no HTTP, no SQL.
//!
//! One file per group of calls. Every call takes the [`Caller`] first and sees that tenant's data only.

mod admission;
pub mod caller;
pub mod contacts;
pub mod crm;
pub mod devices;
pub mod error;
pub mod events;
mod explain;
pub mod intake;
pub mod keys;
pub mod providers;
pub mod query;
mod request;
pub mod send;
mod settle;
mod tail;
pub mod update;
pub mod validate;
mod verbs;
mod wait;
pub mod watch;

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

pub use crate::clock::Clock;
use crate::{
    metrics::{ByChannel, Metrics},
    model::{Channel, Timestamp, ids::IdGenerator},
    store::{Store, StoreError},
};

pub use admission::Limits;
pub use caller::{Caller, Scopes};
pub use error::{Error, Kind};
pub use explain::{Decision, DecisionKind, Explanation};
pub use request::RequestId;
pub use validate::{Given, Violation, Violations};
pub use verbs::{CancelOutcome, Report};
pub use wait::{Wait, WaitUntil};

/// How long nothing can be written before the service says that it is not ready: a commit that fails once says little.
const UNWELL: std::time::Duration = std::time::Duration::from_secs(3);

/// What the service works with.
pub struct Deps {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Makes ids.
    pub ids: Arc<IdGenerator>,
    /// Reads the time.
    pub clock: Clock,
    /// The configured providers.
    pub directory: Arc<dyn providers::Directory>,
    /// Counts what is accepted.
    pub metrics: Arc<Metrics>,
    /// What a tenant's `context` starts with: `https://headless.ly/`.
    pub base_url: String,
    /// How much may come in; beyond, new messages are refused for now.
    pub limits: Limits,
    /// Cancelled when the process stops: streams end, waits are cut short.
    pub stopping: CancellationToken,
}

/// The use cases. A clone is the same service.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    deps: Deps,
    tail: tail::Tail,
    keyring: keys::Keyring,
    paces: admission::Paces,
    /// Messages accepted, by channel in the order of the API. Found once: the way to a counter takes a lock.
    accepted: [Counter; 4],
}

impl Service {
    /// Over these parts. Starts nothing: the reader of the log runs while somebody watches.
    pub fn new(deps: Deps) -> Self {
        let tail = tail::Tail::new(deps.store.clone(), deps.stopping.clone());
        let keyring = keys::Keyring::new(deps.store.secret());
        let accepted = Channel::ALL.map(|channel| {
            let label = ByChannel { channel: channel.as_str() };
            deps.metrics.accepted.get_or_create(&label).clone()
        });
        Self(Arc::new(Inner { deps, tail, keyring, paces: admission::Paces::default(), accepted }))
    }

    /// The `context` of a tenant: `https://headless.ly/~default`.
    pub fn context(&self, caller: &Caller) -> String {
        format!("{}~{}", self.0.deps.base_url, caller.tenant)
    }

    /// Whether calls can be served now.
    ///
    /// # Errors
    /// What stands in the way: the process is stopping, or the store cannot be read, or not be written for some seconds.
    pub async fn ready(&self) -> Result<(), Error> {
        if self.0.deps.stopping.is_cancelled() {
            return Err(Error::stopping());
        }
        if self.store().trouble().is_some_and(|trouble| trouble >= UNWELL) {
            return Err(StoreError::Unavailable("nothing can be written".to_owned()).into());
        }
        self.store().last_event().await?;
        Ok(())
    }

    /// Counts a message that was accepted for sending.
    fn count(&self, channel: Option<Channel>) {
        let place = channel.and_then(|channel| Channel::ALL.iter().position(|one| *one == channel));
        if let Some(counter) = place.and_then(|place| self.0.accepted.get(place)) {
            counter.inc();
        }
    }

    fn store(&self) -> &dyn Store {
        &*self.0.deps.store
    }

    fn directory(&self) -> &dyn providers::Directory {
        &*self.0.deps.directory
    }

    fn now(&self) -> Timestamp {
        (self.0.deps.clock)()
    }

    /// A new id, and the time in it: what the id names is created at that time, so that order by time is order by id.
    fn next_id(&self) -> (i64, Timestamp) {
        let id = self.0.deps.ids.next(self.now());
        (id, crate::model::ids::time_of(id))
    }
}

/// Page sizes are taken into their bounds rather than refused: 0 is the default.
fn page_size(asked: i32, default: i64) -> i64 {
    if asked == 0 { default } else { i64::from(asked).clamp(1, 1_000) }
}

/// Whether a write met a version other than the one it was made from.
fn is_version_clash(error: &StoreError) -> bool {
    matches!(error, StoreError::Clash(crate::store::Clash::Version(_)))
}
