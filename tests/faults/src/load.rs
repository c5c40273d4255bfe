//! The clients: they ask, and repeat what was not answered under the id of its request until it is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use headlessly_communication::{
    model::ids::MessageId,
    pb::{
        self, CancelMessageRequest, cancel_message_response::Outcome,
        message_service_client::MessageServiceClient, send_message_batch_response::result::Result as One,
    },
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tonic::{Code, Status, transport::Channel as Wire};

use crate::{
    ledger::{Class, Ledger},
    problem::Run,
    work::{Batch, Single, Work, Works},
};

/// A call is unknown after this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before asking again whoever did not answer.
const AGAIN: Duration = Duration::from_millis(50);
/// Once in so many calls, one that was answered is repeated: the answer must be the same.
const REPLAY: u64 = 10;

/// The nodes that can be asked now.
pub(crate) type Nodes = watch::Receiver<Vec<Wire>>;

/// The clients of a run.
pub(crate) struct Load {
    works: Mutex<Works>,
    nodes: Nodes,
    /// Messages that may be asked for now.
    allowed: Semaphore,
    ledger: Arc<Ledger>,
}

impl Load {
    /// Clients that ask for nothing yet.
    pub(crate) fn new(works: Works, nodes: Nodes, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { works: Mutex::new(works), nodes, allowed: Semaphore::new(0), ledger })
    }

    /// Lets them ask for so many messages more.
    pub(crate) fn allow(&self, messages: usize) {
        let room = Semaphore::MAX_PERMITS - self.allowed.available_permits();
        self.allowed.add_permits(messages.min(room));
    }

    /// Starts so many clients; they end when everything is asked for and answered.
    pub(crate) fn start(self: &Arc<Self>, clients: u64) -> JoinSet<Run<()>> {
        let mut set = JoinSet::new();
        for number in 0..clients {
            set.spawn(self.clone().client(number));
        }
        set
    }

    async fn client(self: Arc<Self>, number: u64) -> Run<()> {
        let mut rng = fastrand::Rng::with_seed(number);
        loop {
            let size = self.works.lock().unwrap_or_else(PoisonError::into_inner).next_size();
            // One that another client takes meanwhile may be smaller: the rest of the allowance is then spent early, no harm done.
            match self.allowed.acquire_many(u32::try_from(size.max(1)).unwrap_or(1)).await {
                Ok(permit) => permit.forget(),
                Err(_) => return Ok(()),
            }
            let Some(work) = self.works.lock().unwrap_or_else(PoisonError::into_inner).take() else {
                // The others need no allowance to find out that nothing is left.
                self.allow(1_000_000);
                return Ok(());
            };
            match work {
                Work::Batch(batch) => self.batch(&batch, &mut rng).await,
                Work::Single(single) => self.single(&single, &mut rng).await,
            }
        }
    }

    async fn batch(&self, batch: &Batch, rng: &mut fastrand::Rng) {
        let ask = |wire: Wire| {
            let request = batch.request.clone();
            async move { Ok(MessageServiceClient::new(wire).send_batch(request).await?.into_inner().results) }
        };
        let request_id = &batch.request.request_id;
        let Some(results) = self.settle(request_id, ask, rng).await else { return };
        let ids = numbers(results);
        for (id, due) in ids.iter().zip(&batch.due) {
            match id {
                Some(id) => self.ledger.acknowledge(*id, batch.channel, *due),
                None => self.ledger.answer(request_id, Class::Refused, "one of a batch"),
            }
        }
        if rng.u64(0..REPLAY) == 0
            && let Some(again) = self.settle(request_id, ask, rng).await
            && numbers(again) != ids
        {
            self.ledger.replay_mismatch(request_id);
        }
    }

    async fn single(&self, single: &Single, rng: &mut fastrand::Rng) {
        let ask = |wire: Wire| {
            let request = single.request.clone();
            async move { Ok(MessageServiceClient::new(wire).send(request).await?.into_inner().id) }
        };
        let request_id = &single.request.request_id;
        let Some(id) = self.settle(request_id, ask, rng).await else { return };
        let Some(key) = number(&id) else { return };
        self.ledger.acknowledge(key, single.channel, single.due);
        if single.withdraw {
            let request = CancelMessageRequest { id: id.clone(), request_id: format!("{request_id}-cancel") };
            let cancel = |wire: Wire| {
                let request = request.clone();
                async move { Ok(MessageServiceClient::new(wire).cancel(request).await?.into_inner().outcome()) }
            };
            let outcome = self.settle(&request.request_id, cancel, rng).await;
            if matches!(outcome, Some(Outcome::Cancelled | Outcome::AlreadyCancelled)) {
                self.ledger.withdraw(key);
            }
        }
        if rng.u64(0..REPLAY) == 0
            && let Some(again) = self.settle(request_id, ask, rng).await
            && again != id
        {
            self.ledger.replay_mismatch(request_id);
        }
    }

    /// Asks until the answer is known. `None` when it was refused.
    async fn settle<T, F>(
        &self,
        request_id: &str,
        ask: impl Fn(Wire) -> F,
        rng: &mut fastrand::Rng,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut nodes = self.nodes.clone();
        loop {
            let wire = rng.choice(nodes.borrow_and_update().iter()).cloned();
            let Some(wire) = wire else {
                // Nobody who could be asked lives.
                nodes.changed().await.ok()?;
                continue;
            };
            self.ledger.call(request_id);
            let status = match tokio::time::timeout(PATIENCE, ask(wire)).await {
                Ok(Ok(answer)) => {
                    self.ledger.answer(request_id, Class::Ok, "");
                    return Some(answer);
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer"),
            };
            match status.code() {
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Unauthenticated => {
                    self.ledger.answer(request_id, Class::Refused, status.message());
                    return None;
                }
                _ => self.ledger.answer(request_id, Class::Unknown, status.message()),
            }
            // Until somebody comes or goes, or for a moment.
            tokio::time::timeout(AGAIN, nodes.changed()).await.ok();
        }
    }
}

/// The numbers of the messages of a batch, without one where it was refused.
fn numbers(results: Vec<pb::send_message_batch_response::Result>) -> Vec<Option<i64>> {
    let one = |result: pb::send_message_batch_response::Result| match result.result {
        Some(One::Message(message)) => number(&message.id),
        _ => None,
    };
    results.into_iter().map(one).collect()
}

/// The number inside the id of a message.
pub(crate) fn number(id: &str) -> Option<i64> {
    id.parse::<MessageId>().ok().map(|id| id.0)
}
