//! Restarts under load: nothing is lost, nothing is sent twice, and a client meets nothing that a repetition does not settle.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use headlessly_communication::pb::message::{Channel, Status};
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tokio::sync::watch;
use tonic::Code;

use crate::harness::{
    Clients, Gateway, Received, TestProcess, on_sqlite, reason, send_new, to,
    vendors::{http, sink, taken},
    within,
};

const CLIENTS: usize = 4;
const EACH: usize = 250;
/// Hand-offs after which the process is asked to end.
const RESTARTS: [usize; 3] = [150, 400, 700];

/// Sends each message, under its id, until it is acknowledged, to whoever serves at that moment.
async fn feed(client: usize, serving: watch::Receiver<Clients>, acknowledged: Arc<Mutex<Vec<String>>>) {
    for number in 0..EACH {
        let id = loop {
            let api = serving.borrow().clone();
            let mut request = send_new(to(Channel::Email, &format!("c{client}-{number}@example.test")));
            request.request_id = format!("{client}-{number}");
            match api.messages().send(request).await {
                Ok(message) => break message.into_inner().id,
                Err(status) => {
                    let transport =
                        std::error::Error::source(&status).is_some() || reason(&status).is_empty();
                    let retriable = status.code() == Code::Unavailable || transport;
                    assert!(retriable, "no repetition settles {status:?}");
                }
            }
            tokio::task::yield_now().await;
        };
        acknowledged.lock().unwrap().push(id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing_and_doubles_nothing() {
    let sink = sink().await;
    let (folder, toml) = (tempfile::tempdir().unwrap(), http("sink", sink.url(), "max_in_flight = 16"));
    let mut process = TestProcess::start(folder.path(), &toml).await;
    let (serve, serving) = watch::channel(process.api.clone());
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let feeders: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(feed(client, serving.clone(), acknowledged.clone())))
        .collect();
    for restart in RESTARTS {
        sink.wait_for(restart).await;
        assert!(process.terminate().await.success(), "asked to end it ends well");
        process = TestProcess::start(folder.path(), &toml).await;
        serve.send(process.api.clone()).unwrap();
    }
    for feeder in feeders {
        within("the end of a client", feeder).await.unwrap();
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert_eq!(acknowledged.len(), CLIENTS * EACH);
    for id in &acknowledged {
        process.api.reach(id, Status::Sent).await;
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    sink.seen().iter().for_each(|request| *counts.entry(request.text("/id")).or_default() += 1);
    assert_eq!(counts.len(), acknowledged.len(), "nothing else was sent");
    assert!(acknowledged.iter().all(|id| counts.get(id) == Some(&1)), "each was sent once");
}

#[tokio::test]
async fn what_does_not_end_in_time_is_given_back_as_what_may_have_been_sent() {
    // It looks into the file.
    if !on_sqlite() {
        return;
    }
    let answers = Arc::new(AtomicBool::new(false));
    let answering = answers.clone();
    let gateway =
        Gateway::start(move |request: Received| {
            let answers = answering.load(Ordering::SeqCst);
            async move {
                if answers { taken(request).await } else { std::future::pending::<(u16, Value)>().await }
            }
        })
        .await;
    let folder = tempfile::tempdir().unwrap();
    let toml = format!("[dispatch]\nshutdown = \"1s\"\n{}", http("gateway", gateway.url(), ""));
    let process = TestProcess::start(folder.path(), &toml).await;
    let email = process.api.send(to(Channel::Email, "ann@example.test")).await.id;
    gateway.wait_for(1).await;
    assert!(process.terminate().await.success());

    let options = SqliteConnectOptions::new().filename(folder.path().join("hly.db"));
    let mut database = options.connect().await.unwrap();
    let place: (i64, i64) =
        sqlx::query_as("SELECT state, ambiguous FROM queue").fetch_one(&mut database).await.unwrap();
    database.close().await.unwrap();
    assert_eq!(place, (0, 1), "ready again, and marked");
    answers.store(true, Ordering::SeqCst);
    let process = TestProcess::start(folder.path(), &toml).await;
    process.api.reach(&email, Status::Sent).await;
    assert_eq!(gateway.seen().len(), 2);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let gateway = Gateway::start(|_: Received| std::future::pending::<(u16, Value)>()).await;
    let (folder, toml) = (tempfile::tempdir().unwrap(), http("gateway", gateway.url(), ""));
    let process = TestProcess::start(folder.path(), &toml).await;
    process.api.send(to(Channel::Email, "ann@example.test")).await;
    gateway.wait_for(1).await;
    process.signal("TERM");
    let again = process.api.clone();
    within("the first signal", async {
        while again.messages().send(send_new(to(Channel::Email, "ann@example.test"))).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(143));
}
