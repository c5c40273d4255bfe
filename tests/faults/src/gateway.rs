//! A vendor with an HTTP API that misbehaves at given rates.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::{
    book::{Book, Reply},
    problem::Run,
    process::LIFE,
    receipts::Reporter,
    wire::{Answer, Request, Server},
    work::REFUSED,
};

/// A way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Accepts, then resets the connection instead of answering.
    ResetAfter,
    /// Accepts, then says 500.
    ErrorAfter,
    /// Accepts, then says nothing.
    SilenceAfter,
    /// Accepts, then sends half of the answer.
    CutAfter,
    /// Resets the connection without having accepted.
    ResetBefore,
    /// Says 503 without having accepted.
    Unavailable,
    /// Says 429 without having accepted, and when to come back.
    TooFast,
    /// Says 400.
    Refusal,
}

/// A fault, and in how many of 1,000 requests.
pub(crate) type Rate = (Fault, u32);

/// How the vendor treats a repeated idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Does not look at it.
    Ignored,
    /// Accepts once.
    Honoured,
}

/// How a gateway behaves.
pub(crate) struct Manners {
    /// Its name in the configuration, without anything that TOML would quote.
    pub(crate) name: &'static str,
    /// Its channels.
    pub(crate) channels: &'static [&'static str],
    /// What it does with keys.
    pub(crate) keys: Keys,
    /// What goes wrong, and how often.
    pub(crate) faults: Vec<Rate>,
    /// Who reports on what was accepted.
    pub(crate) reporter: Option<Arc<Reporter>>,
}

/// The vendor.
pub(crate) struct Gateway {
    name: &'static str,
    channels: &'static [&'static str],
    keys: Keys,
    reporter: Option<Arc<Reporter>>,
    server: Server,
    state: Arc<State>,
}

struct State {
    book: Arc<Book>,
    manners: Manners,
    rng: Mutex<Rng>,
    seen: Mutex<HashSet<String>>,
    faults: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gateway {
    /// A vendor that writes to this book.
    pub(crate) async fn start(seed: u64, book: Arc<Book>, manners: Manners) -> Run<Self> {
        let (name, channels, keys) = (manners.name, manners.channels, manners.keys);
        let reporter = manners.reporter.clone();
        let state = Arc::new(State {
            book,
            manners,
            rng: Mutex::new(Rng::with_seed(seed)),
            seen: Mutex::default(),
            faults: Mutex::default(),
        });
        let serving = state.clone();
        let server = Server::start(move |request| {
            let state = serving.clone();
            async move { state.answer(&request).await }
        })
        .await?;
        Ok(Self { name, channels, keys, reporter, server, state })
    }

    /// The section of the configuration that makes the service use it.
    pub(crate) fn toml(&self, in_flight: usize) -> String {
        let (key, idempotent) = match self.keys {
            Keys::Honoured => (r#", key = "{{ idempotency_key }}""#, "idempotent = true\n"),
            Keys::Ignored => ("", ""),
        };
        let reports = self.reporter.as_ref().map(|reporter| reporter.toml()).unwrap_or_default();
        format!(
            r#"
[[provider]]
name = "{}"
kind = "http"
channels = {:?}
url = "{}/send"
max_in_flight = {in_flight}
timeout_seconds = 2
json = {{ id = "{{{{ message.id }}}}", text = "{{{{ body }}}}", life = "{LIFE}"{key} }}
id = "/id"
{idempotent}{reports}"#,
            self.name, self.channels, self.server.url
        )
    }

    /// How many requests were answered badly.
    pub(crate) fn faults(&self) -> u64 {
        *lock(&self.state.faults)
    }
}

impl State {
    fn fault(&self) -> Option<Fault> {
        let mut roll = lock(&self.rng).u32(0..1_000);
        for (fault, rate) in &self.manners.faults {
            if roll < *rate {
                *lock(&self.faults) += 1;
                return Some(*fault);
            }
            roll -= rate;
        }
        None
    }

    async fn answer(&self, request: &Request) -> Answer {
        let sent: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |name: &str| sent.get(name).and_then(Value::as_str).unwrap_or_default();
        let (id, fault) = (text("id"), self.fault());
        match fault {
            Some(Fault::ResetBefore) => return Answer::Reset,
            Some(Fault::Unavailable) => return Answer::Whole(503, "", "{}".to_owned()),
            Some(Fault::TooFast) => return Answer::Whole(429, "retry-after: 1\r\n", "{}".to_owned()),
            Some(Fault::Refusal) => return Answer::Whole(400, "", "{}".to_owned()),
            _ => {}
        }
        let reply = if fault.is_some() { Reply::Lost } else { Reply::Given };
        let first = self.manners.keys == Keys::Ignored || lock(&self.seen).insert(text("key").to_owned());
        if first {
            // What had to be refused names nobody.
            let named = if text("text").starts_with(REFUSED) { "" } else { id };
            self.book.accept(named, self.manners.name, text("life").parse().ok(), reply);
            if let Some(reporter) = &self.manners.reporter {
                reporter.accepted(id).await;
            }
        }
        let body = json!({ "id": format!("v-{id}") }).to_string();
        match fault {
            Some(Fault::ResetAfter) => Answer::Reset,
            Some(Fault::ErrorAfter) => Answer::Whole(500, "", "{}".to_owned()),
            Some(Fault::SilenceAfter) => Answer::Silence,
            Some(Fault::CutAfter) => Answer::Cut(body),
            _ => Answer::Whole(200, "", body),
        }
    }
}
