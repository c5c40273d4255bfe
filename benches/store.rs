//! The store alone: durable accepts, one by one from many callers and in batches, and whole lives on the chat channel.
//!
//! `cargo bench --bench store [-- <accept|batch|outcome>]`. Prints one line a case: messages, seconds, rate, and the time a
//! commit of one message takes with nobody else (which is mostly the disk's sync).

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use headlessly_communication::{
    clock::{self, Clock},
    model::{
        Channel,
        ids::{IdGenerator, MessageId, Tenant, time_of},
        limits::Limits,
        message::{Draft, Message},
        status::Fact,
        verbs::{Outcome, Step, Verdict, accepted},
    },
    store::{
        Accept, Change, Claim, NewAttempt, NewMessage, Writes,
        sqlite::{Sqlite, Synchronous},
    },
};
use headlessly_providers::contract::Reporting;

struct Bench {
    store: Arc<Sqlite>,
    ids: Arc<IdGenerator>,
    clock: Clock,
}

impl Bench {
    fn message(&self) -> NewMessage {
        let now = (self.clock)();
        let id = self.ids.next(now);
        let draft = Draft {
            channel: Some(Channel::Chat),
            sender: Some("contact_k7TmPvQx".to_owned()),
            recipient: Some("contact_fX9bL5nRd".to_owned()),
            subject: Some("Welcome".to_owned()),
            body: "x".repeat(1_000),
            ..Draft::default()
        };
        let mut message = Message::new(draft, MessageId(id), Tenant::default(), time_of(id), "user_bench");
        let (queued, events) =
            accepted(&mut message.state, time_of(id), "user_bench", None, &Limits::DEFAULT);
        NewMessage { message: Arc::new(message), queued: Some(queued), events }
    }
}

/// Runs `work` from this many callers at once until `total` messages are through.
async fn many<F>(callers: usize, total: usize, work: impl Fn() -> F + Clone + Send + 'static) -> Duration
where
    F: Future<Output = usize> + Send,
{
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while done < total / callers {
                    done += work().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    begin.elapsed()
}

fn report(case: &str, count: usize, took: Duration) {
    println!(
        "{case:<28} n={count} secs={:.2} rate={:.0}",
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64()
    );
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runs = |case: &str| wanted.is_empty() || wanted.iter().any(|word| word == case);
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&folder.path().join("hly.db"), Synchronous::Full).await.unwrap());
    let bench = Arc::new(Bench { store, ids: Arc::new(IdGenerator::new(0)), clock: clock::system() });
    if runs("accept") {
        for callers in [1, 64, 512] {
            let total = if callers == 1 { 5_000 } else { 100_000 };
            let one = bench.clone();
            let took = many(callers, total, move || {
                let bench = one.clone();
                async move {
                    let accept = Accept { messages: vec![bench.message()], request: None };
                    bench.store.accept(accept).await.unwrap();
                    1
                }
            });
            report(&format!("accept, {callers} callers"), total, took.await);
        }
    }
    if runs("batch") {
        let one = bench.clone();
        let took = many(4, 100_000, move || {
            let bench = one.clone();
            async move {
                let messages = (0..500).map(|_| bench.message()).collect();
                bench.store.accept(Accept { messages, request: None }).await.unwrap();
                500
            }
        });
        report("batches of 500, 4 callers", 100_000, took.await);
    }
    if runs("outcome") {
        let waiting = if runs("batch") { 0 } else { 100 };
        for _ in 0..waiting {
            let messages = (0..500).map(|_| bench.message()).collect();
            bench.store.accept(Accept { messages, request: None }).await.unwrap();
        }
        let one = bench.clone();
        let took = many(2, 50_000, move || lives(one.clone())).await;
        report("claim and outcome", 50_000, took);
    }
}

/// Claims some messages and records their delivery.
async fn lives(bench: Arc<Bench>) -> usize {
    let now = (bench.clock)();
    let claim =
        Claim { channel: Channel::Chat, limit: 256, now, lease_until: now.plus(Duration::from_secs(60)) };
    let claimed = bench.store.claim(claim).await.unwrap();
    let count = claimed.len();
    let changes = claimed.into_iter().map(|claimed| {
        let bench = bench.clone();
        async move {
            let facts = vec![Fact::Delivered(now)];
            let verdict =
                Verdict::Accepted { provider_message_id: None, reporting: Reporting::DeliveryAndRead, facts };
            let outcome = Outcome { epoch: claimed.queued.epoch, provider: Some("chat".to_owned()), verdict };
            let id = claimed.message.state.id;
            let mut change = Change::internal(id, Step::Outcome(outcome), "provider_chat".into(), now);
            change.attempt = Some(NewAttempt {
                id: bench.ids.next(now),
                provider: "chat".to_owned(),
                epoch: claimed.queued.epoch,
                started_at: now,
                outcome: "ACCEPTED",
                provider_message_id: None,
                code: None,
                detail: None,
                retry_at: None,
            });
            bench.store.change(change).await.unwrap();
        }
    });
    futures_util::future::join_all(changes).await;
    count
}
