//! The load: calls over gRPC, as any client makes them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::super::{
    Exit, Failure,
    client::Client,
    v1::{
        Message, SendMessageBatchRequest, SendMessageRequest,
        message::{Channel, Priority},
        send_message_batch_response::result::Result as One,
        send_message_request::Target,
    },
};
use super::{
    ground::{Ground, Server},
    token::{BLANK, Lot, Tokens, micros},
};

/// Messages of one batch.
pub(super) const BATCH: usize = 500;

/// Batches at once.
const BATCHES: usize = 4;

/// Paced calls that may be under way at once.
const PACED: usize = 256;

/// Messages of one kind, and who sends them.
pub(super) struct Load {
    clients: Vec<Client>,
    tokens: Arc<Tokens>,
    /// The messages, each by its number.
    pub(super) lot: Arc<Lot>,
    channel: Channel,
    priority: Priority,
    /// What follows the token in a body.
    rest: String,
    at: Option<prost_types::Timestamp>,
}

/// What the calls told.
#[derive(Default)]
pub(super) struct Calls {
    /// Messages that were accepted.
    pub(super) count: usize,
    /// From the first call to the last answer.
    pub(super) took: Duration,
    /// Of single calls, in microseconds.
    pub(super) times: Vec<u64>,
    /// Of the messages.
    pub(super) ids: Vec<String>,
    /// How late paced calls were, in microseconds.
    pub(super) late: Vec<u64>,
}

impl Load {
    /// So many messages on a channel, for now.
    pub(super) fn new(ground: &Ground<'_>, server: &Server, channel: Channel, count: usize) -> Self {
        Self {
            clients: server.clients.clone(),
            tokens: ground.tokens.clone(),
            lot: ground.tokens.lot(count),
            channel,
            priority: Priority::Normal,
            rest: "x".repeat((ground.args.size as usize).saturating_sub(BLANK.len())),
            at: None,
        }
    }

    /// Not to be handed off before this time.
    #[must_use]
    pub(super) fn at(self, at: SystemTime) -> Self {
        Self { at: Some(at.into()), ..self }
    }

    /// In this lane.
    #[must_use]
    pub(super) fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// As another tenant.
    #[must_use]
    pub(super) fn by(self, clients: Vec<Client>) -> Self {
        Self { clients, ..self }
    }

    fn message(&self, index: usize) -> Message {
        let body = self.tokens.stamp(self.lot.number(index)) + &self.rest;
        Message {
            recipient: recipient(self.channel).to_owned(),
            sender: if self.channel == Channel::Chat { "bench-sender".to_owned() } else { String::new() },
            subject: if self.channel == Channel::Email { "Measured".to_owned() } else { String::new() },
            channel: self.channel.into(),
            priority: self.priority.into(),
            scheduled_at: self.at,
            body,
            ..Message::default()
        }
    }

    /// Sends one by one, this many at once.
    pub(super) async fn sends(self: &Arc<Self>, at_once: usize) -> Result<Calls, Failure> {
        let next = Arc::new(AtomicUsize::new(0));
        self.spread(at_once, |load, client| {
            let next = next.clone();
            async move {
                let mut calls = Calls::default();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= load.lot.len() {
                        return Ok(calls);
                    }
                    load.send(&client, index, &mut calls).await?;
                }
            }
        })
        .await
    }

    /// Sends one by one, this many a second, whether or not those before were answered.
    pub(super) async fn paced(self: &Arc<Self>, rate: f64) -> Result<Calls, Failure> {
        let next = Arc::new(AtomicUsize::new(0));
        let begin = tokio::time::Instant::now();
        self.spread(PACED.min(self.lot.len()), |load, client| {
            let next = next.clone();
            async move {
                let mut calls = Calls::default();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= load.lot.len() {
                        return Ok(calls);
                    }
                    let due = begin + Duration::from_secs_f64(index as f64 / rate);
                    tokio::time::sleep_until(due).await;
                    calls.late.push(micros(due.elapsed()));
                    load.send(&client, index, &mut calls).await?;
                }
            }
        })
        .await
    }

    /// Sends in batches.
    pub(super) async fn batches(self: &Arc<Self>) -> Result<Calls, Failure> {
        let next = Arc::new(AtomicUsize::new(0));
        self.spread(BATCHES, |load, client| {
            let next = next.clone();
            async move {
                let mut calls = Calls::default();
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    let end = load.lot.len().min(first + BATCH);
                    if first >= end {
                        return Ok(calls);
                    }
                    let request = SendMessageBatchRequest {
                        messages: (first..end).map(|index| load.message(index)).collect(),
                        ..SendMessageBatchRequest::default()
                    };
                    let begin = Instant::now();
                    let answer = client.messages().send_batch(client.request(request)).await?.into_inner();
                    calls.times.push(micros(begin.elapsed()));
                    for result in answer.results {
                        calls.ids.push(accepted(result.result)?);
                    }
                }
            }
        })
        .await
    }

    async fn send(&self, client: &Client, index: usize, calls: &mut Calls) -> Result<(), Failure> {
        let request = SendMessageRequest {
            target: Some(Target::Message(Box::new(self.message(index)))),
            ..SendMessageRequest::default()
        };
        let begin = Instant::now();
        let message = client.messages().send(client.request(request)).await?.into_inner();
        calls.times.push(micros(begin.elapsed()));
        calls.ids.push(message.id);
        Ok(())
    }

    /// Runs so many tasks and puts together what they tell.
    async fn spread<F>(
        self: &Arc<Self>,
        tasks: usize,
        work: impl Fn(Arc<Self>, Client) -> F,
    ) -> Result<Calls, Failure>
    where
        F: Future<Output = Result<Calls, Failure>> + Send + 'static,
    {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|number| {
                let client = self.clients[number % self.clients.len()].clone();
                tokio::spawn(work(self.clone(), client))
            })
            .collect();
        let mut all = Calls::default();
        for task in tasks {
            let calls = task.await.map_err(|error| Failure::new(Exit::Internal, error.to_string()))??;
            all.times.extend(calls.times);
            all.ids.extend(calls.ids);
            all.late.extend(calls.late);
        }
        all.count = self.lot.len();
        all.took = begin.elapsed();
        all.late.sort_unstable();
        Ok(all)
    }
}

/// An address of the channel that stands for nobody.
pub(super) fn recipient(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "bench@example.test",
        Channel::Sms => "+15005550006",
        Channel::Push => "bench-device",
        Channel::Chat | Channel::Unspecified => "bench-recipient",
    }
}

fn accepted(result: Option<One>) -> Result<String, Failure> {
    match result {
        Some(One::Message(message)) => Ok(message.id),
        Some(One::Status(status)) => {
            Err(Failure::new(Exit::NotOk, format!("a message was refused: {}", status.message)))
        }
        None => Err(Failure::new(Exit::Internal, "the answer to a batch is not complete")),
    }
}

/// The time of this machine.
pub(super) fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "scheduled by the clock of the machine that measures")]
    SystemTime::now()
}

/// So far ahead that it does not come while anything is measured.
pub(super) fn later() -> SystemTime {
    now() + Duration::from_secs(24 * 3_600)
}
