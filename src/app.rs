//! The composition root: the only file that names everybody.
//!
//! [`App::start`] puts the parts together, in the order in which a message meets them; [`App::stop`] takes them apart so that
//! everything acknowledged is either done or found again.

mod limits;
mod providers;
mod tables;
mod upkeep;

use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc};

use async_trait::async_trait;
use headlessly_providers::contract::ChannelProvider;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        self, ApiConfig, Running, ServeError, Tls,
        http::edge::{self, EdgeConfig},
    },
    config::{Config, Synchronous},
    dispatch::{self, Dispatcher, slots::Slots},
    hooks::{Hooks, Rules},
    metrics::Metrics,
    model::{ids::IdGenerator, limits::Limits as Governing, retry::Backoff},
    receipts::{
        Receipts,
        webhook::{Call, Callee, Refused, Webhooks},
    },
    service::{
        Deps, Limits, Service,
        intake::{InboundHttp, Intake, IntakeAnswer},
    },
    store::{
        self, Store, StoreError,
        postgres::{self, Postgres},
        space::Reserve,
        sqlite::{OpenError, Sqlite},
    },
};

use providers::{Adapter, slots};
pub use tables::{examine, schema};

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store's file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store's database.
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
    /// The store.
    #[error("the store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// A provider's settings.
    #[error("provider {0}: {1}{2}")]
    Provider(String, headlessly_providers::contract::ConfigError, String),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ServeError),
    /// A listener that anybody could read along.
    #[error(
        "api.listen = {0} is not a loopback address and has no TLS; set api.tls_cert and api.tls_key, or \
         api.allow_insecure = true when something in front of it does TLS"
    )]
    Insecure(SocketAddr),
    /// The certificate or its key.
    #[error("{0}: {1}")]
    Tls(String, std::io::Error),
}

/// A running service.
pub struct App {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the edge listens.
    pub edge: SocketAddr,
    /// The use cases, for callers in the same process.
    pub service: Service,
    listeners: Vec<Running>,
    store: Arc<dyn Store>,
    dispatcher: Dispatcher,
    loops: tokio_util::task::TaskTracker,
    /// Ends the listeners, then the loops.
    stopping: CancellationToken,
    done: CancellationToken,
    patience: std::time::Duration,
}

impl App {
    /// Opens the store, builds the providers, takes up what an earlier process left, and listens.
    ///
    /// # Errors
    /// What stands in the way, in a sentence. Nothing was sent then.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        secure(config)?;
        let store = open(config).await?;
        store.govern(governing(config));
        let (ids, clock) = (Arc::new(IdGenerator::new(store.node())), store.clock());
        let metrics = Arc::new(Metrics::default());
        let receipts = Receipts::new(store.clone(), ids.clone(), clock.clone(), metrics.clone());
        let slots = slots(config, &receipts)?;
        let webhooks = Webhooks::new(receipts.clone(), callees(config, &slots));
        let dispatcher = Dispatcher::new(
            store.clone(),
            slots,
            settings(config),
            clock.clone(),
            ids.clone(),
            metrics.clone(),
        );
        let (stopping, done) = (CancellationToken::new(), CancellationToken::new());
        let service = Service::new(Deps {
            store: store.clone(),
            ids: ids.clone(),
            clock: clock.clone(),
            directory: Arc::new(Adapter(dispatcher.slots().clone(), clock.clone())),
            base_url: config.tenant.base_url.clone(),
            limits: limits::of(config),
            metrics: metrics.clone(),
            stopping: stopping.clone(),
        });
        if config.dev.examples && config.providers.iter().any(|provider| provider.kind == "dev") {
            service.ensure_examples().await.ok();
        }
        // The listeners first: a port that is taken must not have started any hand-off.
        let (render, counted) = (metrics.clone(), store.clone());
        let api = api::serve(
            api_config(config)?,
            service.clone(),
            Arc::new(move || {
                let waiting = counted.load().all();
                render.queue_messages.set(waiting.messages);
                render.queue_bytes.set(waiting.bytes);
                render.quarantined.set(i64::try_from(counted.quarantined()).unwrap_or(i64::MAX));
                render.render()
            }),
            stopping.clone(),
        )
        .await?;
        let edge_config = EdgeConfig { listen: config.edge.listen, drain: config.dispatch.shutdown };
        let edge =
            edge::serve(edge_config, Arc::new(Adapted(webhooks)), clock.clone(), stopping.clone()).await?;
        dispatcher.start().await?;
        let loops = tokio_util::task::TaskTracker::new();
        let rules = Rules { activities: config.hooks.activities, tickets: config.hooks.tickets };
        loops.spawn(receipts.run(done.clone()));
        loops.spawn(Hooks::new(store.clone(), ids, clock.clone(), rules).run(done.clone()));
        loops.spawn(upkeep::purge(store.clone(), clock.clone(), done.clone()));
        loops.spawn(upkeep::probe(store.clone(), clock, done.clone()));
        loops.close();
        Ok(Self {
            api: api.addr,
            edge: edge.addr,
            service,
            listeners: vec![api, edge],
            store,
            dispatcher,
            loops,
            stopping,
            done,
            patience: config.dispatch.shutdown,
        })
    }

    /// Cancelled when the disk did not keep a write. The process has to end then, at once.
    pub fn broken(&self) -> CancellationToken {
        self.store.broken()
    }

    /// Takes no more calls, lets those under way and the hand-offs under way end (each for as long as configured), then closes the
    /// store: another may open it when this returns.
    pub async fn stop(self) {
        self.stopping.cancel();
        for listener in self.listeners {
            listener.stopped().await;
        }
        self.dispatcher.stop(self.patience).await;
        self.done.cancel();
        self.loops.wait().await;
        self.store.close().await;
    }
}

/// The store and the API on a free loopback port, for a command while no server runs. Nothing is handed off.
pub struct Desk {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Messages that waited in the store when it was opened.
    pub waiting: i64,
    listener: Running,
    store: Arc<dyn Store>,
    stopping: CancellationToken,
}

impl Desk {
    /// Opens the store of a configuration.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let store = open(config).await?;
        let clock = store.clock();
        let stopping = CancellationToken::new();
        let service = Service::new(Deps {
            ids: Arc::new(IdGenerator::new(store.node())),
            store: store.clone(),
            clock: clock.clone(),
            directory: Arc::new(Adapter(Slots::new(Vec::new()), clock)),
            metrics: Arc::default(),
            base_url: config.tenant.base_url.clone(),
            limits: Limits::NONE,
            stopping: stopping.clone(),
        });
        let listen = ([127, 0, 0, 1], 0).into();
        let api_config = ApiConfig { listen, tls: None, open: true, drain: config.dispatch.shutdown };
        let listener = api::serve(api_config, service, Arc::new(String::new), stopping.clone()).await?;
        Ok(Self { api: listener.addr, waiting: store.queued(), listener, store, stopping })
    }

    /// Stops it: another may open the store when this returns.
    pub async fn close(self) {
        self.stopping.cancel();
        self.listener.stopped().await;
        self.store.close().await;
    }
}

fn secure(config: &Config) -> Result<(), StartError> {
    let loopback = config.api.listen.ip().to_canonical().is_loopback();
    if loopback || config.api.allow_insecure || config.api.tls().is_some() {
        return Ok(());
    }
    Err(StartError::Insecure(config.api.listen))
}

/// Opens the store of a configuration. Also for commands that work on the store while no server does.
///
/// # Errors
/// When another process has it, or it cannot be used.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let Some(path) = config.store.path() else {
        let settings =
            store::postgres::Settings { readers: config.store.connections, pooler: config.store.pooler };
        return Ok(Arc::new(Postgres::open(&config.store.url, settings).await?));
    };
    let synchronous = match config.store.synchronous {
        Synchronous::Full => store::sqlite::Synchronous::Full,
        Synchronous::Normal => store::sqlite::Synchronous::Normal,
    };
    let reserve = Reserve { bytes: config.store.min_free, percent: config.store.min_free_percent };
    Ok(Arc::new(Sqlite::open(&path, synchronous).await?.keep_free(&path, reserve)))
}

/// What holds for the way of every message.
fn governing(config: &Config) -> Governing {
    let dispatch = &config.dispatch;
    Governing {
        max_lifetime: dispatch.max_lifetime,
        max_lateness: dispatch.max_lateness,
        poison_after: i32::try_from(dispatch.poison_after).unwrap_or(i32::MAX),
        backoff: settings(config).backoff,
    }
}

fn settings(config: &Config) -> dispatch::Settings {
    let dispatch = &config.dispatch;
    dispatch::Settings {
        lease: dispatch.lease,
        sweep: dispatch.sweep,
        backoff: Backoff {
            first: dispatch.retry_first,
            max: dispatch.retry_max,
            tries: i32::try_from(dispatch.max_attempts).unwrap_or(i32::MAX),
        },
        hold: dispatch.hold,
    }
}

fn callees(config: &Config, slots: &Slots) -> HashMap<Arc<str>, Callee> {
    let public_url =
        config.edge.public_url.clone().unwrap_or_else(|| format!("http://{}", config.edge.listen));
    let callee = |provider: &Arc<dyn ChannelProvider>| Callee {
        provider: provider.clone(),
        public_url: public_url.clone(),
    };
    slots.iter().map(|slot| (slot.name.clone(), callee(&slot.provider))).collect()
}

fn api_config(config: &Config) -> Result<ApiConfig, StartError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| StartError::Tls(path.display().to_string(), error));
    let tls = match config.api.tls() {
        Some((cert, key)) => Some(Tls { cert: read(cert)?, key: read(key)? }),
        None => None,
    };
    Ok(ApiConfig {
        listen: config.api.listen,
        tls,
        open: !config.api.keys_required(),
        drain: config.dispatch.shutdown,
    })
}

/// The webhooks, as the edge sees them.
struct Adapted(Webhooks);

#[async_trait]
impl Intake for Adapted {
    async fn receive(&self, provider: &str, request: InboundHttp) -> IntakeAnswer {
        let call = Call {
            method: &request.method,
            path_and_query: &request.path_and_query,
            headers: &request.headers,
            body: &request.body,
            now: request.now,
        };
        match self.0.take(provider, call).await {
            Ok(reply) => IntakeAnswer::Stored { reply },
            Err(Refused::Unknown) => IntakeAnswer::UnknownProvider,
            Err(Refused::Unverified) => IntakeAnswer::Unverified,
            Err(Refused::Malformed(problem)) => IntakeAnswer::Malformed(problem),
            Err(Refused::Unavailable) => IntakeAnswer::Unavailable,
        }
    }
}
