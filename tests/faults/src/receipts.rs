//! A vendor's reports: posted before its answer or long after, in any order, one to five times each, in calls of many, and again and
//! again until they are taken.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use fastrand::Rng;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{check::Reported, load::number, problem::Run, time::pass};

/// Reports in one call.
const CALL: usize = 100;
const SECRET: &[u8] = b"hush";

/// How the vendor names the message in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// By our id.
    Ours,
    /// By its own, which we know only from its answer.
    Theirs,
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Delivered,
    Read,
    Failed,
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }
}

struct Desk {
    rng: Rng,
    /// What is yet to be said, in no order.
    waiting: Vec<(String, Word)>,
    said: HashMap<i64, Reported>,
    posted: u64,
}

/// Makes reports about what was accepted, and posts them.
pub(crate) struct Reporter {
    provider: &'static str,
    names: Names,
    /// Repetitions of a report at most.
    repeats: usize,
    edge: watch::Receiver<Option<SocketAddr>>,
    desk: Mutex<Desk>,
    closing: watch::Sender<bool>,
}

impl Reporter {
    /// For the provider of this name, at the edge that is there.
    pub(crate) fn new(
        seed: u64,
        provider: &'static str,
        names: Names,
        repeats: usize,
        edge: watch::Receiver<Option<SocketAddr>>,
    ) -> Arc<Self> {
        let desk = Desk { rng: Rng::with_seed(seed), waiting: Vec::new(), said: HashMap::new(), posted: 0 };
        Arc::new(Self {
            provider,
            names,
            repeats,
            edge,
            desk: Mutex::new(desk),
            closing: watch::Sender::new(false),
        })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What makes the service take the reports.
    pub(crate) fn toml(&self) -> String {
        let pointer = match self.names {
            Names::Ours => r#"message_id = "/m""#,
            Names::Theirs => r#"id = "/m""#,
        };
        format!(
            r#"webhook = {{ secret = "hush", signature_header = "x-signature", items = "/reports", {pointer}, status = "/s", statuses = {{ delivered = "delivered", read = "read", failed = "failed" }} }}
"#
        )
    }

    /// Decides what to report about a message, and says a part of it at once: before the send is answered.
    pub(crate) async fn accepted(&self, id: &str) {
        let Some(key) = number(id) else { return };
        let name = match self.names {
            Names::Ours => id.to_owned(),
            Names::Theirs => format!("v-{id}"),
        };
        let mut early = Vec::new();
        {
            let desk = &mut *self.desk();
            let said = desk.said.entry(key).or_default();
            for word in [Word::Delivered, Word::Read, Word::Failed] {
                let (likely, known) = match word {
                    Word::Delivered => (80, &mut said.delivered),
                    Word::Read => (40, &mut said.read),
                    Word::Failed => (15, &mut said.failed),
                };
                if desk.rng.u32(0..100) >= likely {
                    continue;
                }
                *known = true;
                for _ in 0..desk.rng.usize(1..=self.repeats) {
                    if desk.rng.u32(0..20) == 0 {
                        early.push((name.clone(), word));
                    } else {
                        desk.waiting.push((name.clone(), word));
                    }
                }
            }
        }
        if !early.is_empty() && !self.post(&early).await {
            self.desk().waiting.extend(early);
        }
    }

    /// Posts what waits, at random, until it is closed and nothing waits any more. A part is kept back until then.
    pub(crate) async fn run(self: Arc<Self>, posters: usize) -> Run<()> {
        let mut set = JoinSet::new();
        for _ in 0..posters {
            set.spawn(self.clone().poster());
        }
        while let Some(end) = set.join_next().await {
            end?;
        }
        Ok(())
    }

    async fn poster(self: Arc<Self>) {
        loop {
            let closing = *self.closing.borrow();
            let call = {
                let desk = &mut *self.desk();
                let keep = if closing { 0 } else { 5_000 };
                let count = CALL.min(desk.waiting.len().saturating_sub(keep));
                let mut call = Vec::with_capacity(count);
                for _ in 0..count {
                    let place = desk.rng.usize(0..desk.waiting.len());
                    call.push(desk.waiting.swap_remove(place));
                }
                call
            };
            if call.is_empty() {
                if closing {
                    return;
                }
                pass(Duration::from_millis(20)).await;
            } else if !self.post(&call).await {
                self.desk().waiting.extend(call);
                pass(Duration::from_millis(20)).await;
            }
        }
    }

    /// Nothing more will be accepted: what waits is posted, and [`Reporter::run`] ends.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Posts reports in one call; whether the service says that it has them.
    async fn post(&self, reports: &[(String, Word)]) -> bool {
        let Some(edge) = *self.edge.borrow() else { return false };
        let reports: Vec<_> =
            reports.iter().map(|(name, word)| json!({ "m": name, "s": word.as_str() })).collect();
        let count = reports.len() as u64;
        let body = json!({ "reports": reports }).to_string();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), body.as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = format!(
            "POST /webhooks/{} HTTP/1.1\r\nhost: {edge}\r\nconnection: close\r\ncontent-type: application/json\r\nx-signature: {tag}\r\ncontent-length: {}\r\n\r\n{body}",
            self.provider,
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(edge).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let taken = matches!(timeout(Duration::from_secs(20), exchange).await, Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 2"));
        if taken {
            self.desk().posted += count;
        }
        taken
    }

    /// What was said about each message, and how many reports were taken.
    pub(crate) fn said(&self) -> (HashMap<i64, Reported>, u64) {
        let desk = self.desk();
        (desk.said.clone(), desk.posted)
    }
}
