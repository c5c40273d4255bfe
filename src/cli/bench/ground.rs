//! What a measurement stands on: the store, the vendors, the server.

use std::{
    cell::Cell,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::super::{
    Context, Exit, Failure, Host, Part, Started,
    client::{Client, Target},
    v1::FindMessagesRequest,
};
use super::{BenchArgs, sink::Sink, token::Tokens};
use crate::config::{self, Config, Synchronous};

/// Hand-offs at once to the vendor of the case `tenants`.
pub(super) const SLOW_PLACES: u64 = 8;

/// Connections at once to the relay.
const RELAY_PLACES: u32 = 20;

/// Connections of the load: one would be bound by its own task.
const CONNECTIONS: usize = 4;

/// Where and with what is measured.
pub(super) struct Ground<'a> {
    /// What was asked for.
    pub(super) args: &'a BenchArgs,
    /// The numbers of the messages.
    pub(super) tokens: Arc<Tokens>,
    host: &'a dyn Host,
    target: Target,
    folder: Folder,
    /// Serves SMS.
    gateway: Sink,
    /// Serves PUSH: few places, and each message takes its time.
    slow: Sink,
    /// Serves EMAIL.
    relay: Sink,
    stores: Cell<usize>,
}

/// A server under measurement, and the way to it.
pub(super) struct Server {
    /// For further clients.
    pub(super) target: Target,
    /// Connected.
    pub(super) clients: Vec<Client>,
    started: Option<Started>,
}

impl Server {
    /// Connects to a server that runs.
    pub(super) async fn at(target: Target, started: Option<Started>) -> Result<Self, Failure> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(Client::connect(&target).await?);
        }
        Ok(Self { target, clients, started })
    }

    /// Ends it, if it is ours: what is under way may end first.
    pub(super) async fn stop(self) {
        drop(self.clients);
        if let Some(started) = self.started {
            started.stop.await;
        }
    }
}

impl<'a> Ground<'a> {
    pub(super) async fn new(
        args: &'a BenchArgs,
        context: &Context,
        host: &'a dyn Host,
    ) -> Result<Self, Failure> {
        let tokens = Arc::new(Tokens::new());
        let vendor =
            |error: std::io::Error| Failure::new(Exit::System, format!("no port for a vendor: {error}"));
        let delay = Duration::from_millis(args.sink_delay_ms.unwrap_or(0));
        Ok(Self {
            args,
            host,
            target: context.target.clone(),
            folder: Folder::new(args.dir.as_deref())?,
            gateway: Sink::http(&tokens, delay).await.map_err(vendor)?,
            slow: Sink::http(&tokens, Duration::from_millis(args.slow_ms())).await.map_err(vendor)?,
            relay: Sink::smtp(&tokens, delay).await.map_err(vendor)?,
            tokens,
            stores: Cell::new(0),
        })
    }

    /// What is to be known beside the figures.
    pub(super) async fn facts(&self) -> Result<Vec<(&'static str, Vec<(&'static str, Value)>)>, Failure> {
        if self.args.remote {
            return Ok(Vec::new());
        }
        let config = self.config(&self.store())?;
        let mut store = match (config.store.path(), config.store.synchronous) {
            (Some(_), Synchronous::Full) => {
                vec![("kind", json!("sqlite")), ("durability", json!("synchronous=FULL"))]
            }
            (Some(_), Synchronous::Normal) => {
                vec![("kind", json!("sqlite")), ("durability", json!("synchronous=NORMAL"))]
            }
            (None, _) => vec![("kind", json!("postgres")), ("durability", json!("synchronous_commit=on"))],
        };
        let fresh = if self.args.store.is_some() { "no: one for all cases" } else { "for each case" };
        store.push(("fresh", json!(fresh)));
        let mut facts = Vec::new();
        if self.args.store.is_some() {
            store.push(("url", json!(config.store.shown())));
            store.push(("empty", json!(self.look(config.clone()).await?)));
        }
        facts.push(("store", store));
        if let Some(path) = config.store.path() {
            let folder = path.parent().filter(|folder| folder.is_dir()).unwrap_or(Path::new("."));
            let (p50, p99) = disk_sync(folder);
            facts.push(("disk_sync", vec![("p50_us", json!(p50)), ("p99_us", json!(p99))]));
        }
        Ok(facts)
    }

    /// A server on a store of its own: a new one, unless one is given.
    pub(super) async fn start(&self) -> Result<Server, Failure> {
        if self.args.remote {
            return Server::at(self.target.clone(), None).await;
        }
        let started = self.host.start(self.config(&self.store())?, Part::Whole).await?;
        Server::at(self.target_at(&format!("http://{}", started.api)), Some(started)).await
    }

    /// The way to a server of ours.
    pub(super) fn target_at(&self, server: &str) -> Target {
        Target { server: server.to_owned(), api_key: None, timeout: self.target.timeout }
    }

    /// The URL of a store: the given one, or a new one.
    pub(super) fn store(&self) -> String {
        if let Some(url) = &self.args.store {
            return url.clone();
        }
        let number = self.stores.replace(self.stores.get() + 1);
        format!("sqlite://{}", self.folder.0.join(format!("bench-{number}.db")).display())
    }

    /// The configuration over this store, in a file. Variables do not count: what is measured is the same everywhere.
    pub(super) fn file(&self, store: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.0.join("hly.toml");
        std::fs::write(&path, self.text(store))
            .map_err(|error| Failure::new(Exit::System, format!("{}: {error}", path.display())))?;
        Ok(path)
    }

    fn config(&self, store: &str) -> Result<Config, Failure> {
        Ok(config::load(Some(&self.file(store)?), &[])?.config)
    }

    fn text(&self, store: &str) -> String {
        let store = toml::Value::from(store);
        let request = "json = { to = \"{{ recipient.address }}\", text = \"{{ body }}\", reference = \"{{ message.id }}\" }";
        let (gateway, slow, relay) = (self.gateway.addr, self.slow.addr, self.relay.addr.port());
        let places = self.args.places;
        format!(
            r#"
[api]
listen = "127.0.0.1:0"

[edge]
listen = "127.0.0.1:0"

[store]
url = {store}

[log]
filter = "warn"

[limits]
queue_depth = 10000000
tenant_queue_depth = 10000000
queue_bytes = "64GiB"
tenant_queue_bytes = "64GiB"

[[provider]]
name = "dev"
kind = "dev"
channels = ["CHAT"]

[[provider]]
name = "gateway"
kind = "http"
channels = ["SMS"]
max_in_flight = {places}
url = "http://{gateway}/messages"
{request}
id = "/id"

[[provider]]
name = "slow"
kind = "http"
channels = ["PUSH"]
max_in_flight = {SLOW_PLACES}
url = "http://{slow}/messages"
{request}
id = "/id"

[[provider]]
name = "relay"
kind = "smtp"
channels = ["EMAIL"]
max_in_flight = {RELAY_PLACES}
host = "127.0.0.1"
port = {relay}
tls = "none"
from = "bench@example.test"
"#
        )
    }

    /// Whether a given store is empty. One that is somebody's is refused: what waits in it would go to our vendors.
    async fn look(&self, config: Config) -> Result<bool, Failure> {
        let shown = config.store.shown();
        let desk = self.host.start(config, Part::Desk).await?;
        let found = async {
            let client = Client::connect(&self.target_at(&format!("http://{}", desk.api))).await?;
            let request =
                FindMessagesRequest { page_size: 1, include_deleted: true, ..FindMessagesRequest::default() };
            Ok::<_, Failure>(client.messages().find(client.request(request)).await?.into_inner().messages)
        };
        let found = found.await;
        let waiting = desk.waiting.unwrap_or(0);
        desk.stop.await;
        if waiting > 0 {
            let text = format!(
                "{waiting} messages wait in {shown}: they would go to the vendors of the measurement"
            );
            return Err(Failure::new(Exit::Usage, text).line("give an empty database"));
        }
        let empty = found?.is_empty();
        if !empty {
            super::super::note("the store is not empty: what lies in it is in every figure");
        }
        Ok(empty)
    }
}

impl BenchArgs {
    /// How long the vendor of the case `tenants` takes, in milliseconds.
    pub(super) fn slow_ms(&self) -> u64 {
        self.sink_delay_ms.unwrap_or(5)
    }
}

/// How long a sync of this disk takes, in microseconds: the median and the 99th of 100 of 200 tries with 4 KiB each.
fn disk_sync(folder: &Path) -> (u64, u64) {
    let path = folder.join(format!("hly-sync-{}", std::process::id()));
    let times = || -> std::io::Result<Vec<u64>> {
        let mut file = std::fs::File::create(&path)?;
        let mut times = Vec::with_capacity(200);
        for _ in 0..200 {
            file.write_all(&[0; 4_096])?;
            let begin = Instant::now();
            file.sync_data()?;
            times.push(super::token::micros(begin.elapsed()));
        }
        times.sort_unstable();
        Ok(times)
    };
    let times = times().unwrap_or_default();
    std::fs::remove_file(&path).ok();
    (super::figures::percentile(&times, 50), super::figures::percentile(&times, 99))
}

/// A folder that goes away with the measurement.
struct Folder(PathBuf);

impl Folder {
    fn new(parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let folder = parent.join(format!("hly-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .and_then(|()| folder.canonicalize())
            .map(Self)
            .map_err(|error| Failure::new(Exit::System, format!("{}: {error}", folder.display())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
