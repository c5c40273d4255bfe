//! A node: the real service, dispatcher, receipts and hooks over a faulty store and roads to the vendors.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use headlessly_communication::{
    dispatch::{
        Dispatcher, Settings,
        slots::{Slot, Slots},
    },
    hooks::{Hooks, Rules},
    metrics::Metrics,
    model::{Channel, ids::IdGenerator, limits, retry::Backoff},
    receipts::Receipts,
    service::{
        Deps, Limits, Service,
        providers::{Directory, Probe, ProviderStatus},
    },
    store::Store,
};
use tokio_util::sync::CancellationToken;

use crate::{
    faulty::Faulty,
    gate::Gate,
    vendor::{Road, VENDORS},
    world::{World, pause},
};

/// One life of one node.
pub(crate) struct Node {
    pub(crate) gate: Arc<Gate>,
    pub(crate) service: Service,
    pub(crate) receipts: Receipts,
    /// The vendors' names, as they are passed on.
    pub(crate) names: BTreeMap<&'static str, Arc<str>>,
    dispatcher: Dispatcher,
    stopping: CancellationToken,
    done: CancellationToken,
}

/// Everybody is served.
struct Everybody;

#[async_trait]
impl Directory for Everybody {
    fn list(&self) -> Vec<ProviderStatus> {
        Vec::new()
    }

    async fn probe(&self, _name: &str) -> Option<Probe> {
        None
    }

    fn serves(&self, _channel: Channel) -> bool {
        true
    }
}

fn settings() -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        lease: second * 20,
        sweep: second * 5,
        backoff: Backoff { first: second, max: second * 15, tries: 5 },
        hold: second * 60,
    }
}

fn limits() -> limits::Limits {
    limits::Limits { backoff: settings().backoff, ..limits::Limits::DEFAULT }
}

impl Node {
    /// Begins a life. The number of a node is in its ids.
    pub(crate) async fn start(world: &Arc<World>, number: u16, life: u64, several: bool) -> Arc<Self> {
        let gate = Arc::new(Gate::new(life));
        let store: Arc<dyn Store> = Arc::new(Faulty::new(world.clone(), gate.clone(), several));
        store.govern(limits());
        let clock = store.clock();
        let (ids, metrics) = (Arc::new(IdGenerator::new(number)), Arc::new(Metrics::default()));
        let slots = VENDORS.map(|vendor| {
            let road = Arc::new(Road::new(vendor, world.clone(), gate.clone()));
            Slot::new(vendor.name, road, vendor.terms(world))
        });
        let slots = Slots::new(slots.into_iter().collect());
        let dispatcher =
            Dispatcher::new(store.clone(), slots, settings(), clock.clone(), ids.clone(), metrics.clone());
        let receipts = Receipts::new(store.clone(), ids.clone(), clock.clone(), metrics.clone());
        let (stopping, done) = (CancellationToken::new(), CancellationToken::new());
        let service = Service::new(Deps {
            store: store.clone(),
            ids: ids.clone(),
            clock: clock.clone(),
            directory: Arc::new(Everybody),
            metrics,
            base_url: String::new(),
            limits: Limits::NONE,
            stopping: stopping.clone(),
        });
        while dispatcher.start().await.is_err() {
            pause(Duration::from_secs(1)).await;
        }
        tokio::spawn(receipts.clone().run(done.clone()));
        let rules = Rules { activities: true, tickets: true };
        tokio::spawn(Hooks::new(store, ids, clock, rules).run(done.clone()));
        let names = VENDORS.iter().map(|vendor| (vendor.name, vendor.name.into())).collect();
        Arc::new(Self { gate, service, receipts, names, dispatcher, stopping, done })
    }

    /// Ends at once: nothing of it has any effect from now on.
    pub(crate) async fn crash(&self) {
        self.gate.kill();
        self.stopping.cancel();
        self.done.cancel();
        // Only to end what would go on in vain. What it asks of the store in the end is not answered any more.
        let stop = self.dispatcher.stop(Duration::ZERO);
        tokio::time::timeout(Duration::from_millis(1), stop).await.ok();
    }

    /// Ends as on SIGTERM.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        // A message may end it meanwhile: then nothing it asks is answered any more.
        let stop = self.dispatcher.stop(Duration::from_secs(30));
        tokio::time::timeout(Duration::from_secs(120), stop).await.ok();
        self.done.cancel();
        self.gate.kill();
    }
}
