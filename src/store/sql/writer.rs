//! The one writer: takes what has arrived, puts it into one transaction, and answers after the commit.
//!
//! A caller that goes away changes nothing: its work is done here, and a message that was claimed at the door is handed over here.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering},
    },
};

use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    super::dialect,
    bulk::{Conn, Script},
    change::{self, After},
    entities,
    insert::{self, Place},
    queue::{self, Turns},
    receipts, rewrite,
};
use crate::{
    model::{Channel, Timestamp, event::NewEvent, ids::MessageId, verbs::Wait},
    store::{
        Accept, Ack, ApiKey, Applied, Change, Changed, Claim, Claimed, ContactWrite, DeviceWrite, Effects,
        NewMessage, NewReceipt, Record, RequestKey, Rewrite, StoreError, Swept, Taker,
    },
};

/// Jobs in one transaction at most.
const GROUP: usize = 1_000;
/// Jobs waiting for the writer at most; more have to wait to be taken in.
const WAITING: usize = 4_096;

/// One piece of work.
pub(in super::super) enum Work {
    Accept(Accept),
    Change(Box<Change>),
    Rewrite(Box<Rewrite>),
    Claim(Claim),
    Renew(Vec<(MessageId, i64)>, Timestamp),
    Sweep(Timestamp, bool),
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

struct Job {
    work: Work,
    answer: Option<Result<Answer, StoreError>>,
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

/// What the writer tells after a commit.
pub(in super::super) struct Signals {
    pub(in super::super) log: watch::Sender<u64>,
    pub(in super::super) receipts: watch::Sender<u64>,
    pub(in super::super) contacts: watch::Sender<u64>,
    pub(in super::super) taker: OnceLock<Arc<dyn Taker>>,
    /// Messages in the queue.
    pub(in super::super) depth: AtomicI64,
    /// Receipts may be parked.
    pub(in super::super) parked: AtomicBool,
    /// Whose turn it is.
    turns: Mutex<Turns>,
    /// What other nodes are told.
    pub(in super::super) said: Said,
}

/// What happened since other nodes were told last.
#[derive(Default)]
pub(in super::super) struct Said {
    pub(in super::super) log: AtomicBool,
    pub(in super::super) receipts: AtomicBool,
    /// A bit for each channel on which something became ready.
    pub(in super::super) wakes: AtomicU8,
}

impl Signals {
    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A channel has something that may be due.
    pub(in super::super) fn wake(&self, channel: Channel) {
        if let Some(taker) = self.taker.get() {
            taker.wake(channel);
        }
    }
}

impl Writer {
    /// Starts the writer on its own connection. It ends when the last handle is gone.
    pub(in super::super) fn start(link: dialect::Link, conn: Conn, depth: i64) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let signals = Arc::new(Signals {
            log: watch::Sender::new(0),
            receipts: watch::Sender::new(0),
            contacts: watch::Sender::new(0),
            taker: OnceLock::new(),
            depth: AtomicI64::new(depth),
            parked: AtomicBool::new(true),
            turns: Mutex::default(),
            said: Said::default(),
        });
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
        self.jobs.send(job).await.map_err(|_| gone())?;
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
    let mut held = Some(conn);
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
                    refuse(&mut jobs, &error);
                    continue;
                }
            },
        };
        if !group(conn, &mut jobs, &signals).await {
            held = None;
        }
    }
    if let Some(conn) = held {
        conn.close().await.ok();
    }
}

/// Writes a group of jobs and answers them. False when the connection is lost.
async fn group(conn: &mut Conn, jobs: &mut Vec<Job>, signals: &Signals) -> bool {
    let trouble = match transact(conn, jobs, signals).await {
        Ok(after) => {
            finish(jobs, after, signals);
            return true;
        }
        Err(error) => error,
    };
    if !dialect::recovered(conn).await {
        // It may have been committed, or not: whoever repeats the request, under its id, learns which.
        tracing::error!(error = %trouble, jobs = jobs.len(), "the connection to the database is lost");
        refuse(jobs, &trouble);
        return false;
    }
    if jobs.len() == 1 {
        answer(&mut jobs.swap_remove(0), Err(trouble));
        return true;
    }
    // One of them spoils the group: each gets a transaction of its own.
    tracing::warn!(error = %trouble, jobs = jobs.len(), "a group of writes failed; trying them one by one");
    let mut rest = std::mem::take(jobs).into_iter();
    while let Some(mut job) = rest.next() {
        match transact(conn, std::slice::from_mut(&mut job), signals).await {
            Ok(after) => finish(&mut vec![job], after, signals),
            Err(error) => {
                answer(&mut job, Err(error));
                if !dialect::recovered(conn).await {
                    let lost = StoreError::Unavailable("the connection to the database is lost".to_owned());
                    refuse(&mut rest.collect(), &lost);
                    return false;
                }
            }
        }
    }
    true
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
    signals.depth.fetch_add(after.depth, Ordering::Relaxed);
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
    let mut after = After { parked: signals.parked.load(Ordering::Relaxed), ..After::default() };
    match tokio::time::timeout(dialect::PATIENCE, fill(conn, jobs, signals, &mut after)).await {
        Ok(done) => done.map(|()| after),
        Err(_) => Err(StoreError::Unavailable("the database does not answer".to_owned())),
    }
}

/// The transaction itself. Its ends travel with what is between them: a transaction that only accepts a few messages is one way to
/// the database.
async fn fill(
    conn: &mut Conn,
    jobs: &mut [Job],
    signals: &Signals,
    after: &mut After,
) -> Result<(), StoreError> {
    let mut script = Script::default();
    script.say(conn, dialect::BEGIN).await?;
    accepts(conn, &mut script, jobs, signals, after).await?;
    changes(conn, &mut script, jobs, after).await?;
    for job in jobs.iter_mut().filter(|job| job.answer.is_none()) {
        script.flush(conn).await?;
        job.answer = Some(other(conn, &job.work, signals, after).await?);
    }
    script.say(conn, "COMMIT").await?;
    script.flush(conn).await
}

async fn accepts(
    conn: &mut Conn,
    script: &mut Script,
    jobs: &mut [Job],
    signals: &Signals,
    after: &mut After,
) -> Result<(), StoreError> {
    let accepts: Vec<&Accept> = jobs
        .iter()
        .filter_map(|job| if let Work::Accept(accept) = &job.work { Some(accept) } else { None })
        .collect();
    if accepts.is_empty() {
        return Ok(());
    }
    let keys: Vec<&RequestKey> = accepts.iter().filter_map(|accept| accept.request.as_ref()).collect();
    if !keys.is_empty() {
        script.flush(conn).await?;
    }
    let mut acks = insert::requests(conn, &keys).await?.into_iter();
    let (mut answers, mut new): (Vec<Result<Ack, StoreError>>, Vec<&NewMessage>) = (Vec::new(), Vec::new());
    for accept in &accepts {
        let ack = accept.request.as_ref().and_then(|_| acks.next()).unwrap_or(Ok(Ack::Done));
        if matches!(ack, Ok(Ack::Done)) {
            new.extend(&accept.messages);
        }
        answers.push(ack);
    }
    insert::messages(conn, script, &new).await?;
    let (places, events) = arrange(&new, signals, after);
    insert::places(conn, script, &places).await?;
    insert::events(conn, script, &events).await?;
    after.log |= !events.is_empty();
    let waiting = jobs.iter_mut().filter(|job| matches!(job.work, Work::Accept(_)));
    for (job, ack) in waiting.zip(answers) {
        job.answer = Some(ack.map(Answer::Ack));
    }
    Ok(())
}

/// The places of new messages: claimed at the door where there is room, ready otherwise.
fn arrange(new: &[&NewMessage], signals: &Signals, after: &mut After) -> (Vec<Place>, Vec<NewEvent>) {
    let mut places = Vec::with_capacity(new.len());
    let mut events = Vec::with_capacity(new.len() * 2);
    let mut full = HashSet::new();
    for new in new {
        events.extend(new.events.iter().cloned());
        let state = &new.message.state;
        let (Some(queued), Some(channel)) = (&new.queued, state.channel) else { continue };
        let mut queued = queued.clone();
        let due = state.facts.queued.is_some();
        let slot = signals.taker.get().filter(|_| due && !full.contains(&(channel, state.priority)));
        match slot.map(|taker| taker.reserve(channel, state.priority)) {
            Some(Some((slot, lease))) => {
                queued.wait = Wait::Leased;
                queued.epoch += 1;
                queued.due_at = queued.due_at.plus(lease);
                after.slots.push((slot, Claimed { message: new.message.clone(), queued: queued.clone() }));
            }
            Some(None) => {
                full.insert((channel, state.priority));
                after.wake(channel);
            }
            None => after.wake(channel),
        }
        places.push(change::place(state, channel, &queued));
    }
    after.depth += places.len() as i64;
    (places, events)
}

async fn changes(
    conn: &mut Conn,
    script: &mut Script,
    jobs: &mut [Job],
    after: &mut After,
) -> Result<(), StoreError> {
    let changes: Vec<&Change> = jobs
        .iter()
        .filter_map(|job| if let Work::Change(change) = &job.work { Some(&**change) } else { None })
        .collect();
    if changes.is_empty() {
        return Ok(());
    }
    let results = change::changes(conn, script, &changes, after).await?;
    let waiting = jobs.iter_mut().filter(|job| matches!(job.work, Work::Change(_)));
    for (job, result) in waiting.zip(results) {
        job.answer = Some(result.map(Answer::Changed));
    }
    Ok(())
}

async fn other(
    conn: &mut Conn,
    work: &Work,
    signals: &Signals,
    after: &mut After,
) -> Result<Result<Answer, StoreError>, StoreError> {
    let unit = Answer::Count(0);
    Ok(match work {
        Work::Accept(_) | Work::Change(_) => Ok(unit),
        Work::Rewrite(work) => rewrite::rewrite(conn, work, after).await?.map(Answer::Changed),
        Work::Claim(work) => {
            let mut turns = std::mem::take(&mut *signals.turns());
            let claimed = queue::claim(conn, work, &mut turns, after).await;
            *signals.turns() = turns;
            Ok(Answer::Claimed(claimed?))
        }
        Work::Renew(leases, until) => queue::renew(conn, leases, *until).await.map(|()| unit),
        Work::Sweep(now, all) => Ok(Answer::Swept(queue::sweep(conn, *now, *all, after).await?)),
        Work::PutReceipts(new) => match receipts::take(conn, new, after).await {
            // Whatever is wrong with a stored row, what the vendor said is kept.
            Err(StoreError::Corrupt(problem)) => {
                tracing::error!(problem, "receipts cannot be applied yet");
                receipts::keep(conn, new, after).await.map(|()| unit)
            }
            taken => taken.map(|()| unit),
        },
        Work::ApplyReceipts(now, limit) => {
            Ok(Answer::Applied(receipts::apply(conn, *now, *limit, after).await?))
        }
        Work::Effects(work) => entities::effects(conn, work, after).await?.map(|()| unit),
        Work::Contact(work) => entities::contact(conn, work, after).await?.map(Answer::Ack),
        Work::Device(work) => entities::device(conn, work, after).await?.map(Answer::Ack),
        Work::Record(work, request) => {
            entities::record(conn, work, request.as_ref(), after).await?.map(Answer::Ack)
        }
        Work::Key(key) => entities::key(conn, key).await.map(|()| unit),
        Work::Purge(before) => Ok(Answer::Count(entities::purge(conn, before.0).await?)),
    })
}
