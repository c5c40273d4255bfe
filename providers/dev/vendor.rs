//! The vendor's side: reports what became of a message, later, from a task of its own.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use crate::contract::{Receipt, ReceiptSink, Timestamp};

/// Most receipts in one push.
const BATCH: usize = 500;
/// Most reports that wait between the senders and the task; then senders wait.
const QUEUE: usize = 4096;
/// Most reports that wait for their time; then none are taken from the queue.
const MAX_PENDING: usize = 262_144;
/// Waits between pushes that fail: doubling from the first to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A receipt that is to be reported at a time.
pub(super) struct Due {
    pub(super) when: Instant,
    pub(super) receipt: Receipt,
    /// When the hand-off began, by both clocks: the receipt's time is reckoned from it, so that nothing here reads the calendar.
    pub(super) began: (Instant, Timestamp),
}

/// A report in the order of time, and of arrival where the times are equal.
struct Waiting {
    when: Instant,
    number: u64,
    due: Due,
}

impl Ord for Waiting {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.when, other.number).cmp(&(self.when, self.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

/// The way to the task, which begins with the first report and ends when this is dropped: reports whose time has not come by
/// then are never made.
pub(super) struct Vendor {
    sink: Arc<dyn ReceiptSink>,
    queue: OnceLock<mpsc::Sender<Vec<Due>>>,
}

impl Vendor {
    pub(super) fn new(sink: Arc<dyn ReceiptSink>) -> Self {
        Self { sink, queue: OnceLock::new() }
    }

    /// Room for the reports on one message: taken before the message is, so that no message is taken whose reports are lost.
    /// Waits while the queue is full. `None` when the task is gone because its runtime ended.
    pub(super) async fn reserve(&self) -> Option<mpsc::Permit<'_, Vec<Due>>> {
        let queue = self.queue.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            tokio::spawn(report(receiver, Arc::clone(&self.sink)));
            sender
        });
        queue.reserve().await.ok()
    }
}

async fn report(mut queue: mpsc::Receiver<Vec<Due>>, sink: Arc<dyn ReceiptSink>) {
    let mut waiting: BinaryHeap<Waiting> = BinaryHeap::new();
    let mut ready: VecDeque<Due> = VecDeque::new();
    let mut arrived: Vec<Vec<Due>> = Vec::new();
    let mut number = 0;
    let mut open = true;
    while open || !ready.is_empty() {
        let next = waiting.peek().map(|first| first.when);
        if ready.is_empty() {
            tokio::select! {
                count = queue.recv_many(&mut arrived, BATCH), if open && waiting.len() < MAX_PENDING => {
                    open = count > 0;
                }
                () = until(next), if next.is_some() => {}
            }
        } else if open && waiting.len() < MAX_PENDING {
            // What piled up during the last push goes along with what is left.
            while arrived.len() < BATCH
                && let Ok(dues) = queue.try_recv()
            {
                arrived.push(dues);
            }
        }
        let now = Instant::now();
        for due in arrived.drain(..).flatten() {
            if due.when <= now {
                ready.push_back(due);
            } else {
                number += 1;
                waiting.push(Waiting { when: due.when, number, due });
            }
        }
        while waiting.peek().is_some_and(|first| first.when <= now)
            && let Some(first) = waiting.pop()
        {
            ready.push_back(first.due);
        }
        let batch: Vec<Receipt> = ready.drain(..ready.len().min(BATCH)).map(stamped).collect();
        if !batch.is_empty() {
            push(sink.as_ref(), batch, &queue).await;
        }
    }
}

async fn until(when: Option<Instant>) {
    if let Some(when) = when {
        tokio::time::sleep_until(when).await;
    }
}

/// The receipt with its time, unless it has one.
fn stamped(due: Due) -> Receipt {
    let (instant, time) = due.began;
    let mut receipt = due.receipt;
    receipt.at.get_or_insert_with(|| time.plus(instant.elapsed()));
    receipt
}

/// Pushes until it is stored: a vendor that gets no 2xx repeats its callback. Gives up when the provider is gone.
async fn push(sink: &dyn ReceiptSink, batch: Vec<Receipt>, queue: &mpsc::Receiver<Vec<Due>>) {
    let mut wait = BACK_OFF.0;
    while sink.push(batch.clone()).await.is_err() && !queue.is_closed() {
        tracing::debug!(
            receipts = batch.len(),
            "the receipts could not be stored; the simulator repeats them"
        );
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACK_OFF.1);
    }
}
