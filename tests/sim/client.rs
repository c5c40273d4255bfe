//! Callers: they send, repeat what was not answered, withdraw, move, retry, report.

use std::{sync::Arc, time::Duration};

use headlessly_communication::{
    model::{
        Channel, Priority,
        ids::{MessageId, Tenant},
        message::{Draft, Message},
        status::Reason,
    },
    service::{
        Caller, CancelOutcome, Error, Given, Kind, Report, RequestId, Scopes, Service, Wait, WaitUntil,
    },
};

use crate::world::{World, pause};

/// No answer within this time is no answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Somebody with one message.
pub(crate) struct Client {
    world: Arc<World>,
    number: u64,
    caller: Caller,
    /// Under a request id: repeated until it is answered.
    keyed: bool,
}

impl Client {
    pub(crate) fn new(world: Arc<World>, number: u64) -> Self {
        let tenant = Tenant::new(["acme", "globex"][(number % 2) as usize]).unwrap();
        let caller = Caller { tenant, actor: "user_sim".into(), scopes: Scopes::ALL, local: true };
        let keyed = world.per_mille(700);
        Self { world, number, caller, keyed }
    }

    pub(crate) async fn run(self) {
        pause(self.world.millis(0..60_000)).await;
        let Some(id) = self.send().await else { return };
        for _ in 0..self.world.number(0..4) {
            pause(self.world.millis(0..20_000)).await;
            self.meddle(id).await;
        }
    }

    fn text(&self) -> String {
        format!("text {}", self.number)
    }

    fn draft(&self) -> Draft {
        let world = &self.world;
        let (channel, address) = match world.number(0..3) {
            0 => (Channel::Email, "ann@example.test"),
            1 => (Channel::Sms, "+15005550010"),
            _ => (Channel::Chat, "ann"),
        };
        let recipient = if world.per_mille(300) { "contact_ann" } else { address };
        let priorities = [Priority::Transactional, Priority::Normal, Priority::Bulk];
        let ahead =
            |share, longest| world.per_mille(share).then(|| world.now().plus(world.millis(1..longest)));
        let scheduled_at = ahead(250, 40_000);
        let expires_at = ahead(150, 60_000).filter(|at| scheduled_at.is_none_or(|begin| begin < *at));
        Draft {
            channel: Some(channel),
            recipient: Some(recipient.to_owned()),
            body: self.text(),
            priority: priorities[world.number(0..3) as usize],
            scheduled_at,
            expires_at,
            ..Draft::default()
        }
    }

    fn request(&self, what: &str) -> Option<RequestId> {
        let id = format!("{what} {}", self.number);
        self.keyed.then_some(RequestId { id, hash: [1; 32] })
    }

    /// Asks some node until there is an answer; `None` when it stays unknown what became of it.
    async fn ask<T, F>(&self, what: &str, call: impl Fn(Service) -> F) -> Option<Result<T, Error>>
    where
        F: Future<Output = Result<T, Error>>,
    {
        for _ in 0..200 {
            let Some(node) = self.world.some_node() else {
                pause(Duration::from_secs(1)).await;
                continue;
            };
            let answer = tokio::time::timeout(PATIENCE, call(node.service.clone())).await;
            match answer {
                Ok(Err(error)) if error.kind == Kind::Unavailable => {}
                Ok(answer) => return Some(answer),
                Err(_) => {}
            }
            if !self.keyed && self.world.per_mille(500) {
                return None;
            }
            pause(self.world.millis(200..3_000)).await;
        }
        self.world.violated(format!("{what} of client {} was never answered", self.number));
        None
    }

    async fn send(&self) -> Option<MessageId> {
        let draft = self.draft();
        self.world.books().sent.insert(self.text(), (self.keyed, false));
        let wait = if self.world.per_mille(200) {
            Wait { until: WaitUntil::Delivered, at_most: Duration::from_secs(8) }
        } else {
            Wait::default()
        };
        let two_steps = self.world.per_mille(200);
        let answer = if two_steps {
            let create = |service: Service| {
                let draft = draft.clone();
                async move { service.create(&self.caller, Given::new(draft), self.request("create")).await }
            };
            let message = match self.ask("Create", create).await? {
                Ok(message) => message,
                Err(error) => return self.refused("Create", &draft, &error),
            };
            let id = message.state.id.to_string();
            let send = |service: Service| {
                let id = id.clone();
                async move {
                    service.send_draft(&self.caller, &id, Given::new(None), wait, self.request("send")).await
                }
            };
            self.ask("Send", send).await?
        } else {
            let send = |service: Service| {
                let draft = draft.clone();
                async move { service.send(&self.caller, Given::new(draft), wait, self.request("send")).await }
            };
            self.ask("Send", send).await?
        };
        let message: Arc<Message> = match answer {
            Ok(message) => message,
            Err(error) => return self.refused("Send", &draft, &error),
        };
        let id = message.state.id;
        self.world.note("acknowledged", id.0, 0);
        let mut books = self.world.books();
        books.acknowledged.insert(id);
        books.sent.insert(self.text(), (self.keyed, true));
        Some(id)
    }

    /// A message may be refused for its times, when they passed before it was heard; a draft that was sent by an unheard call is
    /// no draft any more.
    fn refused(&self, what: &str, draft: &Draft, error: &Error) -> Option<MessageId> {
        let late = error.kind == Kind::InvalidArgument && draft.expires_at.is_some();
        let unheard = error.reason == "WRONG_STATUS" && !self.keyed;
        if !late && !unheard {
            self.world.violated(format!("{what} of client {} was refused: {error}", self.number));
        }
        None
    }

    async fn meddle(&self, id: MessageId) {
        let text = id.to_string();
        let text = text.as_str();
        let caller = &self.caller;
        match self.world.number(0..10) {
            0..=2 => {
                let cancel = |service: Service| async move { service.cancel(caller, text, None).await };
                if let Some(Ok((CancelOutcome::Cancelled, _))) = self.ask("Cancel", cancel).await {
                    self.world.note("cancelled", id.0, 0);
                    self.world.books().cancelled.insert(id);
                }
            }
            3 => {
                let at = Some(self.world.now().plus(self.world.millis(1..30_000)));
                let move_it = |service: Service| async move {
                    service.reschedule(caller, text, Given::new(at), None).await
                };
                self.ask("Reschedule", move_it).await;
            }
            4..=6 => {
                let retry = |service: Service| async move { service.retry(caller, text, None).await };
                self.ask("Retry", retry).await;
            }
            7 => {
                let delete = |service: Service| async move { service.delete(caller, text, None).await };
                self.ask("Delete", delete).await;
            }
            _ => self.report(id).await,
        }
    }

    async fn report(&self, id: MessageId) {
        let text = id.to_string();
        let report = match self.world.number(0..3) {
            0 => Report::Delivered,
            1 => Report::Read,
            _ => Report::Failed { reason: Reason::Reported, code: None, detail: None },
        };
        self.world.books().reported.insert(id);
        let tell = |service: Service| {
            let (report, text) = (report.clone(), text.clone());
            async move { service.report(&self.caller, &text, Given::new(report), None, None).await }
        };
        self.ask("Report", tell).await;
    }
}
