//! What was acknowledged survives SIGKILL: all of it is sent, hardly any of it twice, and nothing else is.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use headlessly_communication::pb::{
    self, SendMessageBatchRequest,
    activity_service_client::ActivityServiceClient,
    event_service_client::EventServiceClient,
    message::{Channel, Status},
    send_message_batch_response::result::Result as One,
};
use serde_json::json;

use crate::harness::{
    Clients, Gateway, TestProcess, json as filter, send_new, to,
    vendors::{http, sink},
};

const BATCHES: usize = 36;
const BATCH: usize = 250;
const SINGLE: usize = 1_000;
const ALL: usize = BATCHES * BATCH + SINGLE;
const IN_FLIGHT: usize = 48;
/// Hand-offs after which the process is killed.
const KILLS: [usize; 3] = [600, 3_000, 6_000];

/// A request that is repeated, under its id, until it is answered.
#[derive(Clone)]
enum Work {
    Batch(usize),
    Single(usize),
}

/// What is still to be asked for, and what was acknowledged.
#[derive(Clone, Default)]
struct Ledger {
    open: Arc<Mutex<VecDeque<Work>>>,
    acknowledged: Arc<Mutex<Vec<String>>>,
}

impl Ledger {
    fn new() -> Self {
        let singles = (0..SINGLE).map(Work::Single);
        let (mut open, mut batches) = (VecDeque::new(), (0..BATCHES).map(Work::Batch));
        for (number, single) in singles.enumerate() {
            // One after the other, so that each process gets some of both.
            if number % (SINGLE / BATCHES) == 0 {
                open.extend(batches.next());
            }
            open.push_back(single);
        }
        open.extend(batches);
        Self { open: Arc::new(Mutex::new(open)), acknowledged: Arc::default() }
    }

    /// Asks one after the other until nothing is open or the process is gone.
    async fn feed(self, api: Clients) {
        loop {
            let Some(work) = self.open.lock().unwrap().pop_front() else { return };
            match ask(&api, &work).await {
                Ok(ids) => self.acknowledged.lock().unwrap().extend(ids),
                Err(_) => {
                    self.open.lock().unwrap().push_front(work);
                    return;
                }
            }
        }
    }
}

async fn ask(api: &Clients, work: &Work) -> Result<Vec<String>, tonic::Status> {
    let mut messages = api.messages();
    match work {
        Work::Single(number) => {
            let mut request = send_new(to(Channel::Email, &format!("single-{number}@example.test")));
            request.request_id = format!("single-{number}");
            Ok(vec![messages.send(request).await?.into_inner().id])
        }
        Work::Batch(number) => {
            let request = SendMessageBatchRequest {
                messages: vec![to(Channel::Email, &format!("batch-{number}@example.test")); BATCH],
                request_id: format!("batch-{number}"),
                ..Default::default()
            };
            let results = messages.send_batch(request).await?.into_inner().results;
            Ok(results
                .into_iter()
                .map(|result| match result.result {
                    Some(One::Message(message)) => message.id,
                    other => panic!("refused: {other:?}"),
                })
                .collect())
        }
    }
}

/// How often the vendor got each message.
fn counts(sink: &Gateway) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for request in sink.seen() {
        *counts.entry(request.text("/id")).or_default() += 1;
    }
    counts
}

/// Waits until so many entities have an event of this type; fails when one has it twice.
async fn every_one_has(api: &Clients, kind: &str, count: usize) -> HashSet<String> {
    let (mut targets, mut cursor) = (HashSet::new(), "0".to_owned());
    let request =
        pb::WatchEventsRequest { cursor: cursor.clone(), types: vec![kind.to_owned()], ..Default::default() };
    let mut stream = EventServiceClient::new(api.channel()).watch(request).await.unwrap().into_inner();
    while targets.len() < count {
        let what = format!("{kind} number {} of {count}", targets.len() + 1);
        let event = crate::harness::within(&what, stream.message()).await.unwrap().unwrap();
        assert_ne!(event.cursor, cursor);
        cursor = event.cursor;
        assert!(targets.insert(event.target.clone()), "{kind} twice: {}", event.target);
    }
    targets
}

/// The messages that the activities are about, one for each activity.
async fn activities(api: &Clients) -> Vec<String> {
    let (mut about, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::FindActivitiesRequest {
            filter: filter(&json!({ "type": "EMAIL" })),
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let page = ActivityServiceClient::new(api.channel()).find(request).await.unwrap().into_inner();
        about.extend(page.activities.into_iter().map(|activity| activity.message));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return about;
        }
    }
}

/// Every message that the service has, with its status.
async fn messages(api: &Clients) -> HashMap<String, Status> {
    let (mut found, mut page_token) = (HashMap::new(), String::new());
    loop {
        let request = pb::FindMessagesRequest {
            filter: filter(&json!({ "channel": "EMAIL" })),
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let page = api.messages().find(request).await.unwrap().into_inner();
        found.extend(page.messages.into_iter().map(|message| (message.id.clone(), message.status())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let sink = sink().await;
    let toml = http("sink", sink.url(), &format!("max_in_flight = {IN_FLIGHT}"));
    let (folder, ledger) = (tempfile::tempdir().unwrap(), Ledger::new());
    for kill in KILLS {
        let process = TestProcess::start(folder.path(), &toml).await;
        let feeders: Vec<_> =
            (0..4).map(|_| tokio::spawn(ledger.clone().feed(process.api.clone()))).collect();
        sink.wait_for(kill).await;
        process.kill();
        for feeder in feeders {
            feeder.await.unwrap();
        }
    }
    let process = TestProcess::start(folder.path(), &toml).await;
    let feeders: Vec<_> = (0..4).map(|_| tokio::spawn(ledger.clone().feed(process.api.clone()))).collect();
    for feeder in feeders {
        feeder.await.unwrap();
    }
    assert!(ledger.open.lock().unwrap().is_empty(), "the last process answers everything");
    let acknowledged: HashSet<String> = ledger.acknowledged.lock().unwrap().drain(..).collect();
    assert_eq!(acknowledged.len(), ALL);

    let sent = every_one_has(&process.api, "Message.Sent", ALL).await;
    assert_eq!(sent, acknowledged, "what was acknowledged is sent, and nothing else is");
    let found = messages(&process.api).await;
    assert_eq!(found.len(), ALL, "an unanswered request that was repeated is there once");
    assert!(found.values().all(|status| *status == Status::Sent));
    let counts = counts(&sink);
    assert!(acknowledged.iter().all(|id| counts.contains_key(id)) && counts.len() == ALL);
    let twice = counts.values().sum::<usize>() - ALL;
    assert!(twice <= KILLS.len() * IN_FLIGHT, "{twice} hand-offs were repeated");

    every_one_has(&process.api, "Activity.Created", ALL).await;
    process.api.rules_caught_up().await;
    let activities = activities(&process.api).await;
    let about: HashSet<String> = activities.iter().cloned().collect();
    assert_eq!((activities.len(), about), (ALL, acknowledged), "each has exactly one activity");
    assert!(process.terminate().await.success());
}
