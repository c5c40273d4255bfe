//! The one writer: takes what has arrived, puts it into one transaction, and answers after the commit.
//!
//! A caller that goes away changes nothing: its work is done here, and a message that was claimed at the door is handed over here.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{super::dialect, after::After, bulk::Conn, signals::Signals, transaction::fill};
use crate::{
    model::{Timestamp, ids::MessageId},
    store::{
        Accept, Ack, ApiKey, Applied, Change, Changed, Claim, Claimed, ContactWrite, DeviceWrite, Effects,
        NewReceipt, Record, RequestKey, Rewrite, StoreError, Swept, load::Load,
    },
};

/// Jobs in one transaction at most.
const GROUP: usize = 1_000;
/// Jobs waiting for the writer at most; more have to wait to be taken in.
const WAITING: usize = 4_096;
/// How long work waits to be taken in. Nothing of it is done when it is not.
const PATIENCE: Duration = Duration::from_secs(5);

/// One piece of work.
pub(in super::super) enum Work {
    Accept(Accept),
    Change(Box<Change>),
    Rewrite(Box<Rewrite>),
    Claim(Claim),
    Renew(Vec<(MessageId, i64)>, Timestamp),
    Sweep(Timestamp, bool),
    Release(Vec<(MessageId, i64)>, Timestamp),
    Probe(Timestamp),
    PutReceipts(Vec<NewReceipt>),
    ApplyReceipts(Timestamp, i64),
    Effects(Box<Effects>),
    Contact(Box<ContactWrite>),
    Device(Box<DeviceWrite>),
    Record(Box<Record>, Option<RequestKey>),
    Key(Box<ApiKey>),
    Purge(Timestamp),
}

/// What came of it.
pub(in super::super) enum Answer {
    Ack(Ack),
    Changed(Changed),
    Claimed(Vec<Claimed>),
    Swept(Swept),
    Applied(Applied),
    Count(u64),
}

/// Work with somebody who waits for what comes of it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) answer: Option<Result<Answer, StoreError>>,
    reply: Option<oneshot::Sender<Result<Answer, StoreError>>>,
}

/// What the rest of the store has of the writer.
#[derive(Clone)]
pub(in super::super) struct Writer {
    jobs: mpsc::Sender<Job>,
    pub(in super::super) signals: Arc<Signals>,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl Writer {
    /// Starts the writer on its own connection. It ends when the last handle is gone.
    pub(in super::super) fn start(link: dialect::Link, conn: Conn, load: Arc<Load>) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let signals = Arc::new(Signals::new(load, link.ending()));
        let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
        let (ends, end) = (closing.clone(), closed.clone().drop_guard());
        let running = write((link, conn), waiting, signals.clone(), ends);
        tokio::spawn(async move {
            running.await;
            drop(end);
        });
        Self { jobs, signals, closing, closed }
    }

    /// Finishes what was handed in and closes the connection.
    pub(in super::super) async fn close(&self) {
        self.closing.cancel();
        self.closed.cancelled().await;
    }

    /// Hands work in and waits until it is durable.
    pub(in super::super) async fn submit(&self, work: Work) -> Result<Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Unavailable("the writer has stopped".to_owned());
        let job = Job { work, answer: None, reply: Some(reply) };
        let taken = tokio::time::timeout(PATIENCE, self.jobs.send(job)).await;
        taken.map_err(|_| StoreError::Unavailable("the writer is behind".to_owned()))?.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn write(
    (link, conn): (dialect::Link, Conn),
    mut waiting: mpsc::Receiver<Job>,
    signals: Arc<Signals>,
    closing: CancellationToken,
) {
    let mut jobs = Vec::with_capacity(GROUP);
    let (mut held, mut transactions) = (Some(conn), 0u32);
    loop {
        let count = tokio::select! {
            biased;
            count = waiting.recv_many(&mut jobs, GROUP) => count,
            () = closing.cancelled() => 0,
        };
        if count == 0 {
            break;
        }
        let conn = match &mut held {
            Some(conn) => conn,
            None => match link.connect().await {
                Ok(conn) => held.insert(conn),
                Err(error) => {
                    refuse(&mut jobs, &signals.failed(error));
                    continue;
                }
            },
        };
        transactions = transactions.wrapping_add(1);
        let mut done = group(conn, &mut jobs, &signals).await;
        if done.is_ok()
            && let Err(error) = dialect::tend(conn, transactions).await
        {
            match signals.failed(error) {
                broken @ StoreError::Broken(_) => done = Err(broken),
                error => tracing::error!(%error, "what was written cannot be brought into the database yet"),
            }
        }
        match done {
            Ok(()) => {}
            Err(broken @ StoreError::Broken(_)) => {
                // No more is written, and nothing is closed, for that would sync the file once more: the system has reported the
                // loss and would report success now.
                tracing::error!(error = %broken, "the disk did not keep a write; only a new start can tell what holds");
                signals.broken.cancel();
                jobs.iter_mut().for_each(|job| answer(job, Err(StoreError::Broken(broken.to_string()))));
                std::mem::forget(held);
                return;
            }
            Err(lost) => {
                // It may have been committed, or not: whoever repeats the request, under its id, learns which.
                tracing::error!(error = %lost, jobs = jobs.len(), "the connection to the database is lost");
                refuse(&mut jobs, &lost);
                held = None;
            }
        }
    }
    if let Some(conn) = held {
        conn.close().await.ok();
    }
}

/// Writes a group of jobs and answers them. An error is for those that are left: the connection is lost, or the disk is broken.
async fn group(conn: &mut Conn, jobs: &mut Vec<Job>, signals: &Signals) -> Result<(), StoreError> {
    let trouble = match transact(conn, jobs, signals).await {
        Ok(after) => {
            finish(jobs, after, signals);
            return Ok(());
        }
        Err(error) => signals.failed(error),
    };
    if matches!(trouble, StoreError::Broken(_)) || !dialect::recovered(conn, signals.ending).await {
        return Err(trouble);
    }
    if jobs.len() == 1 {
        answer(&mut jobs.swap_remove(0), Err(trouble));
        return Ok(());
    }
    one_by_one(conn, jobs, signals, &trouble).await
}

/// After a group failed: one of its jobs may have spoilt it, so each gets a transaction of its own. On a full disk new work is refused
/// at once, so that what is left of it goes to the results of what had begun.
async fn one_by_one(
    conn: &mut Conn,
    jobs: &mut Vec<Job>,
    signals: &Signals,
    trouble: &StoreError,
) -> Result<(), StoreError> {
    tracing::warn!(error = %trouble, jobs = jobs.len(), "a group of writes failed; trying them one by one");
    let full = matches!(trouble, StoreError::Full);
    let mut rest = std::mem::take(jobs).into_iter();
    while let Some(mut job) = rest.next() {
        if full && matches!(job.work, Work::Accept(_)) {
            answer(&mut job, Err(StoreError::Full));
            continue;
        }
        let done = transact(conn, std::slice::from_mut(&mut job), signals).await;
        match done.map_err(|error| signals.failed(error)) {
            Ok(after) => finish(&mut vec![job], after, signals),
            Err(error) => {
                if matches!(error, StoreError::Broken(_)) || !dialect::recovered(conn, signals.ending).await {
                    jobs.push(job);
                    jobs.extend(rest);
                    return Err(error);
                }
                answer(&mut job, Err(error));
            }
        }
    }
    Ok(())
}

/// Nothing can be written now: everybody who waits is told so.
fn refuse(jobs: &mut Vec<Job>, error: &StoreError) {
    for mut job in jobs.drain(..) {
        answer(&mut job, Err(StoreError::Unavailable(error.to_string())));
    }
}

fn answer(job: &mut Job, with: Result<Answer, StoreError>) {
    if let Some(reply) = job.reply.take() {
        // Nobody waiting is no trouble: what was done stays done.
        reply.send(with).ok();
    }
}

fn finish(jobs: &mut Vec<Job>, after: After, signals: &Signals) {
    if after.log || after.probed {
        signals.wrote();
    }
    signals.load.moved(after.load);
    signals.quarantined.fetch_add(after.quarantined, Ordering::Relaxed);
    signals.parked.store(after.parked, Ordering::Relaxed);
    for (slot, claimed) in after.slots {
        slot(claimed);
    }
    if after.contacts {
        signals.contacts.send_modify(|count| *count += 1);
    }
    for mut job in jobs.drain(..) {
        if let Some(done) = job.answer.take() {
            answer(&mut job, done);
        }
    }
    if after.log {
        signals.log.send_modify(|count| *count += 1);
    }
    if after.receipts {
        signals.receipts.send_modify(|count| *count += 1);
    }
    if dialect::SHARED {
        signals.said.log.fetch_or(after.log, Ordering::Relaxed);
        signals.said.receipts.fetch_or(after.receipts, Ordering::Relaxed);
        let wakes = after.wakes.iter().fold(0, |bits, channel| bits | (1 << *channel as u8));
        signals.said.wakes.fetch_or(wakes, Ordering::Relaxed);
    }
    for channel in after.wakes {
        signals.wake(channel);
    }
}

async fn transact(conn: &mut Conn, jobs: &mut [Job], signals: &Signals) -> Result<After, StoreError> {
    // What an undone transaction answered is not true.
    jobs.iter_mut().for_each(|job| job.answer = None);
    let limits = signals.limits.get().copied().unwrap_or_default();
    // Where there are other nodes, they may have parked some.
    let parked = dialect::SHARED || signals.parked.load(Ordering::Relaxed);
    let mut after = After { parked, limits, ..After::default() };
    match tokio::time::timeout(dialect::PATIENCE, fill(conn, jobs, signals, &mut after)).await {
        Ok(done) => done.map(|()| after),
        Err(_) => Err(StoreError::Unavailable("the database does not answer".to_owned())),
    }
}
