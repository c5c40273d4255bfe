//! `hly bench`: how fast this machine accepts and delivers.
//!
//! Runs a whole server on a store of its own in a temporary folder (or asks a running one with `--server`), over gRPC, with the
//! load beside it on the same cores. Every figure is durable: a call counts when its answer says that it is on the disk.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio_stream::StreamExt as _;

use super::{
    Context, Exit, Failure, Host, Part,
    client::Client,
    v1::{
        FindMessagesRequest, Message, SendMessageBatchRequest, SendMessageRequest, WatchEventsRequest,
        message::Channel, send_message_request::Target,
    },
};
use crate::config::{Config, Synchronous};

/// Calls of one batch.
const BATCH: usize = 500;

#[derive(Args)]
pub(super) struct BenchArgs {
    /// What to measure; everything when none is given
    cases: Vec<Case>,
    /// Messages of each case
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    count: u32,
    /// Bytes of a body
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    size: u32,
    /// Where the store is made; a temporary folder when not given. Its disk is what is measured
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Measure the server at --server, with its store and its providers
    #[arg(long)]
    remote: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Send, one call a message, 64 at once; scheduled for later, so that accepting is all there is to do
    Accept,
    /// SendBatch of 500, 4 at once; scheduled for later
    Batch,
    /// Send, one call a message, 64 at once, on the chat channel, handed off beside it
    Send,
    /// Accepted to delivered on the chat channel, with events and activities
    Chat,
    /// One Send at a time: how long it takes
    Latency,
}

const ALL: [Case; 5] = [Case::Latency, Case::Accept, Case::Batch, Case::Send, Case::Chat];

pub(super) async fn run(context: &mut Context, args: &BenchArgs, host: &dyn Host) -> Result<(), Failure> {
    let folder = Folder::new(args.dir.as_deref())?;
    let sync = disk_sync(&folder.0);
    let mut started = None;
    if !args.remote {
        let mut config = Config::default();
        config.store.url = format!("sqlite://{}", folder.0.join("bench.db").display());
        config.api.listen.set_port(0);
        config.edge.listen.set_port(0);
        config.limits.queue_depth = 10_000_000;
        config.limits.tenant_queue_depth = 10_000_000;
        let mode = if config.store.synchronous == Synchronous::Full { "full" } else { "normal" };
        let server = host.start(config, Part::Whole).await?;
        context.target.server = format!("http://{}", server.api);
        started = Some(server);
        say(context, "store", &json!({"kind": "sqlite", "synchronous": mode}))?;
    }
    say(context, "disk_sync", &json!({"p50_us": sync.0, "p99_us": sync.1}))?;
    let result = measure(context, args).await;
    if let Some(started) = started {
        started.stop.await;
    }
    result
}

async fn measure(context: &mut Context, args: &BenchArgs) -> Result<(), Failure> {
    // A few connections: one would be bound by its own task.
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(context.client().await?);
    }
    let load = Arc::new(Load { clients, body: "x".repeat(args.size as usize), later: later() });
    // Everything once, unmeasured: statements are prepared, memory is there.
    load.clone().sends(8, 200, false).await?;
    for case in if args.cases.is_empty() { &ALL[..] } else { &args.cases } {
        let count = args.count as usize;
        let (name, figures) = match case {
            Case::Latency => ("latency, 1 in flight", load.clone().sends(1, count.min(2_000), true).await?),
            Case::Accept => ("accept, unary, 64 in flight", load.clone().sends(64, count, true).await?),
            Case::Batch => ("accept, batches of 500", load.clone().batches(count, true).await?),
            Case::Send => ("send, unary, 64 in flight", load.clone().sends(64, count, false).await?),
            Case::Chat => ("chat, accepted to delivered", load.clone().lives(count).await?),
        };
        say(context, name, &figures.json())?;
    }
    Ok(())
}

/// One line of the report.
fn say(context: &mut Context, name: &str, figures: &serde_json::Value) -> Result<(), Failure> {
    if context.output.json {
        let mut line = figures.clone();
        line["case"] = name.into();
        return context.output.line_now(&line.to_string());
    }
    let words: Vec<String> = figures
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| match value {
            serde_json::Value::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        })
        .collect();
    context.output.line_now(&format!("{name:<30} {}", words.join("  ")))
}

/// What was measured.
struct Figures {
    count: usize,
    took: Duration,
    /// Of single calls, in microseconds.
    times: Vec<u64>,
}

impl Figures {
    fn json(mut self) -> serde_json::Value {
        self.times.sort_unstable();
        let at = |part: usize| {
            self.times.get(self.times.len().saturating_sub(1) * part / 100).copied().unwrap_or(0)
        };
        let rate = self.count as f64 / self.took.as_secs_f64();
        json!({
            "n": self.count,
            "secs": (self.took.as_secs_f64() * 100.0).round() / 100.0,
            "per_s": rate.round(),
            "p50_us": at(50),
            "p99_us": at(99),
        })
    }
}

/// What calls the server.
struct Load {
    clients: Vec<Client>,
    body: String,
    later: prost_types::Timestamp,
}

impl Load {
    fn message(&self, held: bool) -> Message {
        Message {
            channel: Channel::Chat.into(),
            sender: "bench-sender".to_owned(),
            recipient: "bench-recipient".to_owned(),
            body: self.body.clone(),
            scheduled_at: held.then_some(self.later),
            ..Message::default()
        }
    }

    /// Sends one by one, this many at once.
    async fn sends(self: Arc<Self>, at_once: usize, count: usize, held: bool) -> Result<Figures, Failure> {
        let next = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        let tasks: Vec<_> = (0..at_once)
            .map(|number| {
                let (load, next) = (self.clone(), next.clone());
                tokio::spawn(async move {
                    let client = &load.clients[number % load.clients.len()];
                    let (mut messages, mut times) = (client.messages(), Vec::new());
                    while next.fetch_add(1, Ordering::Relaxed) < count {
                        let request = SendMessageRequest {
                            target: Some(Target::Message(Box::new(load.message(held)))),
                            ..SendMessageRequest::default()
                        };
                        let begin = Instant::now();
                        messages.send(client.request(request)).await?;
                        times.push(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
                    }
                    Ok::<_, Failure>(times)
                })
            })
            .collect();
        collect(tasks, count, begin).await
    }

    /// Sends in batches, four at once.
    async fn batches(self: Arc<Self>, count: usize, held: bool) -> Result<Figures, Failure> {
        let batches = count.div_ceil(BATCH);
        let next = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        let tasks: Vec<_> = (0..4)
            .map(|number| {
                let (load, next) = (self.clone(), next.clone());
                tokio::spawn(async move {
                    let client = &load.clients[number % load.clients.len()];
                    let (mut messages, mut times) = (client.messages(), Vec::new());
                    while next.fetch_add(1, Ordering::Relaxed) < batches {
                        let request = SendMessageBatchRequest {
                            messages: (0..BATCH).map(|_| load.message(held)).collect(),
                            ..SendMessageBatchRequest::default()
                        };
                        let begin = Instant::now();
                        messages.send_batch(client.request(request)).await?;
                        times.push(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
                    }
                    Ok::<_, Failure>(times)
                })
            })
            .collect();
        collect(tasks, batches * BATCH, begin).await
    }

    /// Sends in batches and follows the log until every message is delivered and has its activity.
    async fn lives(self: Arc<Self>, count: usize) -> Result<Figures, Failure> {
        let wanted = count.div_ceil(BATCH) * BATCH;
        let types = vec!["Message.Delivered".to_owned(), "Activity.Created".to_owned()];
        let client = &self.clients[0];
        let request = WatchEventsRequest { types, ..WatchEventsRequest::default() };
        // A stream outlives any single call's deadline.
        let mut events = client.events().watch(request).await?.into_inner();
        let begin = Instant::now();
        let sending = tokio::spawn(self.clone().batches(wanted, false));
        let (mut delivered, mut activities) = (0, 0);
        while delivered < wanted || activities < wanted {
            let patience = tokio::time::timeout(Duration::from_secs(60), events.next());
            let event = patience
                .await
                .map_err(|_| {
                    Failure::new(Exit::NotOk, format!("nothing happened for 60 s; {delivered} delivered"))
                })?
                .ok_or_else(|| Failure::new(Exit::Unavailable, "the server ended the stream"))??;
            match event.r#type.as_str() {
                "Message.Delivered" => delivered += 1,
                _ => activities += 1,
            }
        }
        let took = begin.elapsed();
        let accepted = sending.await.map_err(|error| Failure::new(Exit::Internal, error.to_string()))??;
        // The log says so; the list has to agree.
        let page = FindMessagesRequest { page_size: 1, ..FindMessagesRequest::default() };
        client.messages().find(client.request(page)).await?;
        Ok(Figures { count: wanted, took, times: accepted.times })
    }
}

type Calls = tokio::task::JoinHandle<Result<Vec<u64>, Failure>>;

async fn collect(tasks: Vec<Calls>, count: usize, begin: Instant) -> Result<Figures, Failure> {
    let mut times = Vec::with_capacity(count);
    for task in tasks {
        times.extend(task.await.map_err(|error| Failure::new(Exit::Internal, error.to_string()))??);
    }
    Ok(Figures { count, took: begin.elapsed(), times })
}

/// An hour ahead.
fn later() -> prost_types::Timestamp {
    #[expect(clippy::disallowed_methods, reason = "scheduled by the clock of the machine that measures")]
    let now = std::time::SystemTime::now();
    (now + Duration::from_secs(3_600)).into()
}

/// How long a sync of this disk takes, in microseconds: the median and the 99th of 100 of 200 tries with 4 KiB each.
fn disk_sync(folder: &Path) -> (u128, u128) {
    let path = folder.join("sync");
    let times = || -> std::io::Result<Vec<u128>> {
        let mut file = std::fs::File::create(&path)?;
        let mut times = Vec::with_capacity(200);
        for _ in 0..200 {
            file.write_all(&[0; 4_096])?;
            let begin = Instant::now();
            file.sync_data()?;
            times.push(begin.elapsed().as_micros());
        }
        times.sort_unstable();
        Ok(times)
    };
    let times = times().unwrap_or_default();
    std::fs::remove_file(&path).ok();
    (times.get(100).copied().unwrap_or(0), times.get(198).copied().unwrap_or(0))
}

/// A folder that goes away with the measurement.
struct Folder(PathBuf);

impl Folder {
    fn new(parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let folder = parent.join(format!("hly-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::new(Exit::System, format!("{}: {error}", folder.display())))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
