//! Ten thousand slow lanes beside healthy senders, on one provider and one channel: how long healthy messages take from acceptance to
//! the provider, alone, beside lanes whose messages got their times when they were stored, and beside lanes whose messages were
//! scheduled for one moment and get their times there.
//!
//! `cargo bench --bench lanes [-- <alone|booked|scheduled>]`. Prints one line a case.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use headlessly_communication::{
    clock::{self, Clock},
    dispatch::{
        Dispatcher, Settings,
        slots::{Rate, Slot, Slots, Terms},
    },
    model::{
        Channel, Timestamp,
        ids::{IdGenerator, MessageId, Tenant, time_of},
        limits::Limits,
        message::{Draft, Message},
        verbs::accepted,
    },
    store::{
        Accept, NewMessage, Store, Writes,
        sqlite::{Sqlite, Synchronous},
    },
};
use headlessly_providers::contract::{
    Accepted, Capture, ChannelProvider, Dispatch, Profile, ReceiptSource, Reconcile, Reporting, SendError,
};

const LANES: usize = 10_000;
/// Messages of each slow lane that wait.
const WAITING: usize = 10;
/// Healthy messages of one case.
const HEALTHY: usize = 5_000;

/// Takes everything at once and notes when.
#[derive(Debug)]
struct Sink {
    profile: Profile,
    seen: Mutex<HashMap<String, Instant>>,
}

#[async_trait]
impl ChannelProvider for Sink {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError> {
        self.seen.lock().unwrap().insert(dispatch.message_id.clone(), Instant::now());
        Ok(Accepted::default())
    }

    async fn probe(&self) -> Result<(), SendError> {
        Ok(())
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        None
    }

    fn reconcile(&self) -> Option<&dyn Reconcile> {
        None
    }

    fn capture(&self) -> Option<&dyn Capture> {
        None
    }
}

struct Bench {
    store: Arc<Sqlite>,
    ids: Arc<IdGenerator>,
    clock: Clock,
    sink: Arc<Sink>,
    dispatcher: Dispatcher,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&folder.path().join("hly.db"), Synchronous::Full).await.unwrap());
        let profile = Profile {
            kind: "sink",
            channels: vec![Channel::Sms],
            reporting: Reporting::None,
            idempotent: true,
            max_in_flight: 32,
            attempt_deadline: Duration::from_secs(5),
            max_body_bytes: 1_600,
        };
        let sink = Arc::new(Sink { profile, seen: Mutex::default() });
        let sender_rate = Some(Rate { count: 1, per: Duration::from_secs(120) });
        let slot = Slot::new("sink", sink.clone(), Terms { sender_rate, ..Terms::default() });
        let (ids, clock) = (Arc::new(IdGenerator::new(0)), clock::system());
        let dispatcher = Dispatcher::new(
            store.clone(),
            Slots::new(vec![slot]),
            Settings::default(),
            clock.clone(),
            ids.clone(),
            Arc::default(),
        );
        dispatcher.start().await.unwrap();
        Self { store, ids, clock, sink, dispatcher, _folder: folder }
    }

    fn message(&self, sender: String, scheduled_at: Option<Timestamp>) -> NewMessage {
        let now = (self.clock)();
        let id = self.ids.next(now);
        let draft = Draft {
            channel: Some(Channel::Sms),
            sender: Some(sender),
            recipient: Some("+15005550010".to_owned()),
            body: "Your table is ready.".to_owned(),
            scheduled_at,
            ..Draft::default()
        };
        let mut message = Message::new(draft, MessageId(id), Tenant::default(), time_of(id), "user_bench");
        let (queued, events) =
            accepted(&mut message.state, time_of(id), "user_bench", None, &Limits::DEFAULT);
        NewMessage { message: Arc::new(message), queued: Some(queued), events }
    }

    /// Stores what waits in the slow lanes.
    async fn slow(&self, scheduled_at: Option<Timestamp>) {
        for _ in 0..WAITING {
            for lanes in (0..LANES).collect::<Vec<_>>().chunks(1_000) {
                let messages =
                    lanes.iter().map(|lane| self.message(format!("slow {lane}"), scheduled_at)).collect();
                self.store.accept(Accept { messages, request: None }).await.unwrap();
            }
        }
    }

    /// Healthy messages, each of a sender of its own, one after the other. Returns the times until the provider had them.
    async fn healthy(&self) -> Vec<Duration> {
        let mut sent = Vec::with_capacity(HEALTHY);
        for number in 0..HEALTHY {
            let new = self.message(format!("healthy {number}"), None);
            let (id, begin) = (new.message.state.id.to_string(), Instant::now());
            self.store.accept(Accept { messages: vec![new], request: None }).await.unwrap();
            sent.push((id, begin));
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let times = self.times(&sent);
            if times.len() == sent.len() || Instant::now() > deadline {
                return times;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the provider has so many.
    async fn handed_off(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while self.sink.seen.lock().unwrap().len() < count && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How long those took that the provider has.
    fn times(&self, sent: &[(String, Instant)]) -> Vec<Duration> {
        let seen = self.sink.seen.lock().unwrap();
        let took = |(id, begin): &(String, Instant)| Some(seen.get(id)?.saturating_duration_since(*begin));
        sent.iter().filter_map(took).collect()
    }

    async fn stop(self, case: &str, begin: Instant, mut times: Vec<Duration>) {
        times.sort_unstable();
        let part = |share: usize| times.get(times.len() * share / 1_000).copied().unwrap_or_default();
        let slow = self.sink.seen.lock().unwrap().len() - times.len();
        println!(
            "{case:<10} healthy={} secs={:.2} p50={:?} p99={:?} p999={:?} slow_handed_off={slow}",
            times.len(),
            begin.elapsed().as_secs_f64(),
            part(500),
            part(990),
            part(999),
        );
        self.dispatcher.stop(Duration::from_secs(10)).await;
        self.store.close().await;
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for case in ["alone", "booked", "scheduled"] {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == case) {
            continue;
        }
        let bench = Bench::start().await;
        match case {
            "booked" => {
                bench.slow(None).await;
                // The first of each lane go at once; then all of them wait for two minutes.
                bench.handed_off(LANES).await;
            }
            "scheduled" => {
                let soon = (bench.clock)().plus(Duration::from_secs(8));
                bench.slow(Some(soon)).await;
                // Begin when they come due.
                tokio::time::sleep(soon.since((bench.clock)())).await;
            }
            _ => {}
        }
        let begin = Instant::now();
        let times = bench.healthy().await;
        bench.stop(case, begin, times).await;
    }
}
