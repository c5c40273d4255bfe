//! The composition root: the only file that names everybody.
//!
//! [`App::start`] puts the parts together, in the order in which a message meets them; [`App::stop`] takes them apart so that
//! everything acknowledged is either done or found again.

use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc, time::Instant};

use async_trait::async_trait;
use headlessly_providers::{
    contract::{BuildContext, ChannelProvider},
    registry,
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        self, ApiConfig, Running, ServeError, Tls,
        http::edge::{self, EdgeConfig},
    },
    clock::Clock,
    config::{Ambiguous, Config, ProviderConfig, Synchronous},
    dispatch::{
        self, Dispatcher,
        slots::{Ambiguity, Slot, Slots},
    },
    hooks::{Hooks, Rules},
    metrics::Metrics,
    model::{Channel, ids::IdGenerator, retry::Backoff},
    receipts::{
        Receipts,
        webhook::{Call, Callee, Refused, Webhooks},
    },
    service::{
        Deps, Service,
        intake::{InboundHttp, Intake, IntakeAnswer},
        providers::{Directory, Probe, ProviderStatus},
    },
    store::{
        self, Store, StoreError,
        postgres::{self, Postgres},
        sqlite::{OpenError, Sqlite},
    },
};

/// How long requests are remembered for their repetitions.
const REQUESTS_KEPT: std::time::Duration = std::time::Duration::from_secs(72 * 3600);
/// How often forgotten requests are removed.
const PURGE: std::time::Duration = std::time::Duration::from_secs(600);

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
            queue_depth: i64::try_from(config.limits.queue_depth).unwrap_or(i64::MAX),
            metrics: metrics.clone(),
            stopping: stopping.clone(),
        });
        if config.dev.examples && config.providers.iter().any(|provider| provider.kind == "dev") {
            service.ensure_examples().await.ok();
        }
        // The listeners first: a port that is taken must not have started any hand-off.
        let render = metrics.clone();
        let api = api::serve(
            api_config(config)?,
            service.clone(),
            Arc::new(move || render.render()),
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
        loops.spawn(purge(store.clone(), clock, done.clone()));
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
            queue_depth: i64::MAX,
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
    Ok(Arc::new(Sqlite::open(&path, synchronous).await?))
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

fn slots(config: &Config, receipts: &Receipts) -> Result<Slots, StartError> {
    let slots: Result<Vec<Slot>, StartError> =
        config.providers.iter().map(|provider| slot(config, provider, receipts)).collect();
    slots.map(Slots::new)
}

fn slot(config: &Config, provider: &ProviderConfig, receipts: &Receipts) -> Result<Slot, StartError> {
    let bad = |error: headlessly_providers::contract::ConfigError| {
        let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        StartError::Provider(provider.name.clone(), error, hint)
    };
    let descriptor = registry::find(&provider.kind).ok_or_else(|| {
        bad(headlessly_providers::contract::ConfigError::new("kind", "names no plugin of this build"))
    })?;
    let context = BuildContext { name: provider.name.clone(), receipts: receipts.sink(&provider.name) };
    let instance = (descriptor.build)(&provider.settings, context).map_err(bad)?;
    let places = provider.max_in_flight.unwrap_or(instance.profile().max_in_flight);
    let mut slot = Slot::new(&provider.name, instance, Some(places.min(config.dispatch.max_in_flight)));
    slot.channels.clone_from(&provider.channels);
    slot.priority = i32::try_from(provider.priority).unwrap_or(i32::MAX);
    slot.ambiguity = provider.ambiguous.map(|ambiguous| match ambiguous {
        Ambiguous::Retry => Ambiguity::Retry,
        Ambiguous::Hold => Ambiguity::Hold,
    });
    let callback = |url: &String| format!("{url}/webhooks/{}", provider.name);
    slot.callback_url = config.edge.public_url.as_ref().map(callback);
    Ok(slot)
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

async fn purge(store: Arc<dyn Store>, clock: Clock, stop: CancellationToken) {
    loop {
        match store.purge_requests(clock().minus(REQUESTS_KEPT)).await {
            // A full helping: there is more.
            Ok(count) if count >= 5_000 => continue,
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "old requests cannot be removed"),
        }
        tokio::select! {
            () = tokio::time::sleep(PURGE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The dispatcher's providers, as the use cases see them.
struct Adapter(Slots, Clock);

#[async_trait]
impl Directory for Adapter {
    fn list(&self) -> Vec<ProviderStatus> {
        let now = (self.1)();
        self.0
            .iter()
            .map(|slot| {
                let (profile, health) = (slot.provider.profile(), slot.health());
                let (accepted, refused) = slot.counts();
                let paused_until = health.paused_until.filter(|until| *until > now);
                ProviderStatus {
                    name: slot.name.to_string(),
                    kind: profile.kind.to_owned(),
                    channels: slot.channels.clone(),
                    reporting: profile.reporting,
                    idempotent: profile.idempotent,
                    in_flight: slot.in_flight(),
                    max_in_flight: slot.max_in_flight,
                    paused_until,
                    paused_reason: health.paused_reason.filter(|_| paused_until.is_some()),
                    last_error: health.last_error.as_ref().map(|(_, error)| error.clone()),
                    last_error_at: health.last_error.map(|(at, _)| at),
                    accepted,
                    refused,
                }
            })
            .collect()
    }

    async fn probe(&self, name: &str) -> Option<Probe> {
        let slot = self.0.get(name)?;
        let begin = Instant::now();
        let result = slot.provider.probe().await;
        let detail = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        Some(Probe { ok: result.is_ok(), detail, took: begin.elapsed() })
    }

    fn serves(&self, channel: Channel) -> bool {
        self.0.serving(channel).next().is_some()
    }
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
