//! Vendors: what they make of a hand-off, and what they report of it, early, late, twice and out of order.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use headlessly_communication::{
    dispatch::slots::{Ambiguity, Rate, Terms},
    model::{
        Channel, Reporting,
        ids::MessageId,
        retry::mix,
        verbs::{Queued, Wait},
    },
};
use headlessly_providers::contract::{
    Accepted, Capture, ChannelProvider, Dispatch, Fault, Lookup, Profile, Receipt, ReceiptKind,
    ReceiptSource, Reconcile, SendError,
};

use crate::{
    gate::Gate,
    world::{Take, Told, World, pause},
};

/// A vendor, by what matters of it here.
#[derive(Clone, Copy)]
pub(crate) struct Vendor {
    pub(crate) name: &'static str,
    pub(crate) channel: Channel,
    /// A repetition is sent once.
    pub(crate) idempotent: bool,
    pub(crate) priority: i32,
}

/// E-mail is repeated when in doubt, an SMS is held, a chat message is repeated and taken once.
pub(crate) const VENDORS: [Vendor; 4] = [
    Vendor { name: "mail", channel: Channel::Email, idempotent: false, priority: 10 },
    Vendor { name: "post", channel: Channel::Email, idempotent: false, priority: 20 },
    Vendor { name: "text", channel: Channel::Sms, idempotent: false, priority: 10 },
    Vendor { name: "talk", channel: Channel::Chat, idempotent: true, priority: 10 },
];

impl Vendor {
    /// How a dispatcher treats it: some have a limit of speed, in all or for each sender, and some are asked what they know.
    pub(crate) fn terms(&self, world: &World) -> Terms {
        let rate = |count| Some(Rate { count, per: Duration::from_secs(1) });
        let terms = Terms { priority: self.priority, ..Terms::default() };
        match self.name {
            "talk" => Terms { sender_rate: rate(1), ..terms },
            "post" => Terms { rate: rate(2), ..terms },
            "text" if world.asks => Terms { ambiguity: Some(Ambiguity::Reconcile), ..terms },
            _ => terms,
        }
    }
}

/// A try is given up after this.
const DEADLINE: Duration = Duration::from_secs(10);

/// The road of one node to a vendor.
pub(crate) struct Road {
    vendor: Vendor,
    profile: Profile,
    world: Arc<World>,
    gate: Arc<Gate>,
}

/// How a hand-off ends.
#[derive(Clone, Copy)]
enum Fate {
    Accepted,
    Refused(Fault),
    Ambiguous { taken: bool },
    Hangs { taken: bool },
    Panics { taken: bool },
}

/// A hand-off that a vendor may still take.
struct UnderWay {
    id: MessageId,
    generation: i32,
    world: Arc<World>,
    gate: Arc<Gate>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut books = self.world.books();
        let mine = |(id, generation, gate): &(MessageId, i32, Arc<Gate>)| {
            (*id, *generation, gate.life) == (self.id, self.generation, self.gate.life)
        };
        if let Some(place) = books.under_way.iter().position(mine) {
            books.under_way.swap_remove(place);
        }
    }
}

impl std::fmt::Debug for Road {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.vendor.name)
    }
}

impl Road {
    pub(crate) fn new(vendor: Vendor, world: Arc<World>, gate: Arc<Gate>) -> Self {
        let profile = Profile {
            kind: "sim",
            channels: vec![vendor.channel],
            reporting: Reporting::DeliveryAndRead,
            idempotent: vendor.idempotent,
            max_in_flight: 3,
            attempt_deadline: DEADLINE,
            max_body_bytes: 1_000_000,
        };
        Self { vendor, profile, world, gate }
    }

    fn under_way(&self, id: MessageId, generation: i32) -> UnderWay {
        self.world.books().under_way.push((id, generation, self.gate.clone()));
        UnderWay { id, generation, world: self.world.clone(), gate: self.gate.clone() }
    }

    fn fate(&self) -> Fate {
        if !self.world.wrong(1_000) {
            return Fate::Accepted;
        }
        let taken = self.world.per_mille(500);
        match self.world.number(0..100) {
            0..=5 => Fate::Refused(Fault::Transient),
            6..=8 => Fate::Refused(Fault::Throttled),
            9..=14 => Fate::Ambiguous { taken },
            15..=17 => Fate::Hangs { taken },
            18..=19 => Fate::Panics { taken },
            20..=22 => Fate::Refused(Fault::Rejected),
            23 => Fate::Refused(Fault::BadRecipient),
            24 => Fate::Refused(Fault::Unauthorized),
            _ => Fate::Accepted,
        }
    }

    /// What must hold when the first byte of a hand-off leaves.
    fn begin(&self, id: MessageId) {
        let now = self.world.now();
        let row = self.world.shared.data().row(id);
        let Some(row) = row else {
            return self.world.violated(format!("{id} is handed off and was never stored"));
        };
        if row.state.scheduled_at.is_some_and(|at| at > now) {
            self.world.violated(format!("{id} is handed off before its time"));
        }
        if row.state.facts.cancelled.is_some() {
            self.world.violated(format!("{id} is handed off and was cancelled"));
        }
        let held = |queued: &Queued| queued.wait == Wait::Leased && queued.due_at > now;
        let generation = row.state.generation;
        let Some(queued) = row.queued.filter(held) else {
            return self.world.violated(format!("{id} is handed off without a lease"));
        };
        let mut books = self.world.books();
        let mine = books.claimed.get(&(id, queued.epoch)) == Some(&self.gate.life);
        let first = books.begun.insert((id, queued.epoch));
        drop(books);
        if !mine {
            self.world.violated(format!("{id} is handed off under the lease of another"));
        }
        let data = self.world.shared.data();
        let tries = data.attempts.values().rev().filter(|it| it.message == id && it.generation == generation);
        let unsure = tries
            .filter(|it| it.attempt.outcome == "AMBIGUOUS" && !it.orphan)
            .map(|it| it.attempt.provider.clone())
            .next();
        drop(data);
        if unsure.is_some_and(|provider| provider != self.vendor.name) {
            self.world.violated(format!("{id} goes to {} though another may have it", self.vendor.name));
        }
        if !first {
            self.world.violated(format!("{id} is handed off twice in epoch {}", queued.epoch));
        }
    }

    /// The vendor has it. Returns its id.
    fn take(&self, id: MessageId, dispatch: &Dispatch) -> String {
        let generation = generation_of(dispatch);
        let mut books = self.world.books();
        let takes = books.takes.entry((id, generation)).or_default();
        if let Some(before) = takes.iter().find(|_| self.vendor.idempotent) {
            return before.vendor_id.clone();
        }
        let vendor_id = format!("{}-{}-{generation}-{}", self.vendor.name, id.0, takes.len());
        takes.push(Take { provider: self.vendor.name, vendor_id: vendor_id.clone() });
        drop(books);
        self.world.note("taken", id.0, generation.into());
        report(&self.world, self.vendor.name, (id, generation), &vendor_id);
        vendor_id
    }
}

fn generation_of(dispatch: &Dispatch) -> i32 {
    dispatch.idempotency_key.rsplit('.').next().and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[async_trait]
impl Reconcile for Road {
    async fn lookup(&self, dispatch: &Dispatch) -> Result<Lookup, SendError> {
        let id: MessageId =
            dispatch.message_id.parse().map_err(|_| SendError::new(Fault::Rejected, "no id"))?;
        pause(self.world.millis(0..500)).await;
        self.gate.pass().await;
        if self.world.wrong(100) {
            return Err(SendError::new(Fault::Transient, "cannot be asked"));
        }
        let place = (id, generation_of(dispatch));
        let unsure = self.world.wrong(200);
        let known = {
            let books = self.world.books();
            let taken = books.takes.get(&place).and_then(|takes| takes.first()).cloned();
            let on_its_way = |(id, generation, gate): &(MessageId, i32, Arc<Gate>)| {
                (*id, *generation) == place && !gate.is_dead()
            };
            match taken {
                Some(take) => Lookup::Found(Accepted {
                    provider_message_id: Some(take.vendor_id),
                    receipts: Vec::new(),
                    note: None,
                }),
                None if unsure || books.under_way.iter().any(on_its_way) => Lookup::Unknown,
                None => Lookup::NotThere,
            }
        };
        let word = match known {
            Lookup::Found(_) => "found",
            Lookup::NotThere => "not there",
            Lookup::Unknown => "not known",
        };
        self.world.note(word, id.0, 0);
        pause(self.world.millis(0..500)).await;
        self.gate.pass().await;
        Ok(known)
    }
}

#[async_trait]
impl ChannelProvider for Road {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn send(&self, dispatch: &Dispatch) -> Result<Accepted, SendError> {
        let id: MessageId =
            dispatch.message_id.parse().map_err(|_| SendError::new(Fault::Rejected, "no id"))?;
        self.world.note(self.vendor.name, id.0, dispatch.attempt.into());
        self.begin(id);
        let under_way = self.under_way(id, generation_of(dispatch));
        // What makes its process end does so until it is taken out, or the trouble is over.
        if mix(id.0.unsigned_abs()).is_multiple_of(30) && self.world.wrong(900) {
            self.world.note("killer", id.0, 0);
            self.gate.kill();
        }
        let fate = self.fate();
        pause(self.world.millis(0..1_500)).await;
        self.gate.pass().await;
        let takes = match fate {
            Fate::Accepted => true,
            Fate::Refused(_) => false,
            Fate::Ambiguous { taken } | Fate::Hangs { taken } | Fate::Panics { taken } => taken,
        };
        let vendor_id = if takes { self.take(id, dispatch) } else { String::new() };
        drop(under_way);
        pause(self.world.millis(0..1_000)).await;
        self.gate.pass().await;
        match fate {
            Fate::Accepted => {
                Ok(Accepted { provider_message_id: Some(vendor_id), receipts: Vec::new(), note: None })
            }
            Fate::Refused(fault) => {
                let wait = self.world.per_mille(500).then(|| self.world.millis(500..20_000));
                Err(SendError::new(fault, "no").retry_after(wait))
            }
            Fate::Ambiguous { .. } => Err(SendError::new(Fault::Ambiguous, "the line went dead")),
            Fate::Hangs { .. } => std::future::pending().await,
            // Without the message that a panic prints: it is meant.
            Fate::Panics { .. } => std::panic::resume_unwind(Box::new("the plugin panics")),
        }
    }

    async fn probe(&self) -> Result<(), SendError> {
        Ok(())
    }

    fn reconcile(&self) -> Option<&dyn Reconcile> {
        Some(self)
    }

    fn receipts(&self) -> Option<&dyn ReceiptSource> {
        None
    }

    fn capture(&self) -> Option<&dyn Capture> {
        None
    }
}

/// Tells what became of a message: each word once or more, at any time, in any order.
fn report(world: &Arc<World>, provider: &'static str, about: (MessageId, i32), vendor_id: &str) {
    let failed = ReceiptKind::Failed { recipient_dead: false };
    let story = match world.number(0..100) {
        0..=14 => vec![failed],
        15..=19 => vec![ReceiptKind::Delivered, failed],
        20..=29 => vec![ReceiptKind::Sent],
        30..=59 => vec![ReceiptKind::Sent, ReceiptKind::Delivered],
        60..=79 => vec![ReceiptKind::Delivered, ReceiptKind::Read],
        80..=89 => vec![ReceiptKind::Delivered],
        90..=94 => vec![ReceiptKind::Unknown("word".to_owned())],
        _ => Vec::new(),
    };
    for kind in story {
        for _ in 0..world.number(1..4) {
            let mut receipt = Receipt::new(kind.clone(), vendor_id);
            receipt.at = world.per_mille(500).then(|| world.now());
            receipt.message_id = world.per_mille(400).then(|| about.0.to_string());
            let delay = world.millis(0..25_000);
            world.tasks.spawn(tell(world.clone(), provider, about, receipt, delay));
        }
    }
}

/// Repeats a report until some node has stored it.
async fn tell(
    world: Arc<World>,
    provider: &'static str,
    (id, generation): (MessageId, i32),
    receipt: Receipt,
    delay: Duration,
) {
    pause(delay).await;
    loop {
        if let Some(node) = world.some_node() {
            let put = node.receipts.put(&node.names[provider], vec![receipt.clone()]);
            if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(15), put).await {
                break;
            }
        }
        pause(world.millis(500..5_000)).await;
    }
    let word = match receipt.kind {
        ReceiptKind::Delivered => "DELIVERED",
        ReceiptKind::Read => "READ",
        ReceiptKind::Failed { .. } => "FAILED",
        ReceiptKind::Sent => "SENT",
        _ => "OTHER",
    };
    world.note(word, id.0, 0);
    let (vendor_id, ours) = (receipt.provider_message_id.unwrap_or_default(), receipt.message_id.is_some());
    world.books().told.entry(id).or_default().push(Told { word, vendor_id, generation, ours });
}
