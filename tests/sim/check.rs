//! What must hold once everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use headlessly_communication::model::{
    Channel,
    event::kind,
    ids::MessageId,
    message::Message,
    status::{Reason, Status},
};

use crate::{
    store::data::{Data, Settled},
    vendor::VENDORS,
    world::{Books, Told, World},
};

/// Whether there is nothing left to do.
pub(crate) fn at_rest(world: &World) -> bool {
    let data = world.shared.data();
    data.queue.is_empty() && !receipts_wait(&data) && data.consumer("builtin") == data.last_event().0
}

fn receipts_wait(data: &Data) -> bool {
    data.receipts.values().any(|one| one.settled == Settled::Waiting)
}

/// What is left to do, in words.
pub(crate) fn unrest(world: &World) -> String {
    let data = world.shared.data();
    let waits: Vec<String> = data.queue.iter().map(|(id, queued)| format!("{id}: {queued:?}")).collect();
    format!(
        "not at rest: {waits:?}, receipts to apply: {}, hooks at {} of {}",
        receipts_wait(&data),
        data.consumer("builtin"),
        data.last_event().0
    )
}

/// Notes what came about in a run.
pub(crate) fn met(world: &World) {
    let (data, books) = (world.shared.data(), world.books());
    for message in data.messages.values() {
        world.note(message.state.status().as_str(), message.state.id.0, message.state.generation.into());
        if let Some(failure) = &message.state.facts.failed {
            world.note(failure.reason.as_str(), message.state.id.0, 0);
        }
        if message.state.generation > 1 {
            world.note("generation", message.state.id.0, 0);
        }
    }
    for tried in data.attempts.values() {
        world.note(tried.attempt.outcome, tried.message.0, tried.attempt.epoch);
        if tried.orphan {
            world.note("orphan", tried.message.0, tried.attempt.epoch);
        }
    }
    for (id, _) in data.receipts.iter().filter(|(_, one)| one.settled == Settled::Parked) {
        world.note("parked", *id, 0);
    }
    for ((id, _), takes) in books.takes.iter().filter(|(_, takes)| takes.len() > 1) {
        world.note("copy", id.0, takes.len() as i64);
    }
}

/// Everything that does not hold.
pub(crate) fn all(world: &World) -> Vec<String> {
    let (data, mut books) = (world.shared.data(), world.books());
    let mut found = std::mem::take(&mut books.violations);
    for id in books.acknowledged.iter().filter(|id| !data.messages.contains_key(id)) {
        found.push(format!("{id} was acknowledged and is lost"));
    }
    for message in data.messages.values() {
        one(&data, &books, message, &mut found);
    }
    requests(&data, &books, &mut found);
    effects(&data, &mut found);
    events(&data, &mut found);
    attempts(&data, &mut found);
    found
}

fn one(data: &Data, books: &Books, message: &Message, found: &mut Vec<String>) {
    let state = &message.state;
    let (id, status) = (state.id, state.status());
    let takes = books.takes.get(&(id, state.generation)).map_or(&[][..], Vec::as_slice);
    let ever = (1..=state.generation).any(|generation| books.takes.contains_key(&(id, generation)));
    let generation = i64::from(state.generation);
    let reported = books.reported.contains(&id);
    // What names neither our id nor one that a recorded try knows is about nobody.
    let known = |vendor_id: &str| {
        data.attempts.values().any(|it| it.attempt.provider_message_id.as_deref() == Some(vendor_id))
    };
    let told = books.told.get(&id).map_or(&[][..], Vec::as_slice);
    let heard = |one: &&Told| one.ours || known(&one.vendor_id);
    let current = |what: &str| {
        let heard = told.iter().filter(heard);
        heard.filter(|one| one.generation == state.generation).any(|one| one.word == what)
    };
    // A report on a try whose end was lost with its process cannot be told from one on the try that runs.
    let unplaced =
        told.iter().any(|one| one.generation < state.generation && one.ours && !known(&one.vendor_id));
    let mut wrong = |what: &str| found.push(format!("{id} is {status} ({:?}): {what}", state.facts));
    if status.is_waiting() || data.queue.contains_key(&id) {
        wrong("nobody ended it");
    }
    if status == Status::Draft && books.acknowledged.contains(&id) {
        wrong("it was to be sent");
    }
    if !ever && !reported && matches!(status, Status::Sent | Status::Delivered | Status::Read) {
        wrong("no vendor has it");
    }
    if !takes.is_empty() && matches!(status, Status::Cancelled | Status::Expired | Status::Draft) {
        wrong("a vendor has it");
    }
    // What an earlier generation brought about is true all the same.
    let undone = status != Status::Cancelled && !reported && !ever;
    if books.cancelled.contains(&id) && (!takes.is_empty() || undone) {
        wrong("it was cancelled");
    }
    if current("READ") && status != Status::Read {
        wrong("a vendor told that it was read");
    }
    let bounced = state.channel == Some(Channel::Email) && state.facts.failed.is_some();
    if current("DELIVERED") && !bounced && !matches!(status, Status::Delivered | Status::Read) {
        wrong("a vendor told that it was delivered");
    }
    let claims = books.claimed.keys().filter(|(of, epoch)| *of == id && epoch >> 32 == generation - 1);
    let poison = state.facts.failed.as_ref().is_some_and(|failure| failure.reason == Reason::Poison);
    if poison && claims.count() < 3 {
        wrong("it was taken out before it was lost three times");
    }
    let undelivered =
        state.facts.failed.as_ref().is_some_and(|failure| failure.reason == Reason::Undelivered);
    if undelivered && takes.is_empty() && !unplaced {
        wrong("it failed by a report on another generation");
    }
    for generation in 1..=state.generation {
        copies(books, id, generation, found);
    }
}

/// How often vendors may have a message: twice only where a repetition was chosen over a loss.
fn copies(books: &Books, id: MessageId, generation: i32, found: &mut Vec<String>) {
    let Some(takes) = books.takes.get(&(id, generation)) else { return };
    let vendor = |name| VENDORS.iter().find(|vendor| vendor.name == name);
    let once = takes.iter().filter_map(|take| vendor(take.provider)).any(|it| it.channel != Channel::Email);
    if once && takes.len() > 1 {
        found.push(format!("{id} was taken {} times in generation {generation}", takes.len()));
    }
}

/// A request under an id makes one message, however often it was repeated.
fn requests(data: &Data, books: &Books, found: &mut Vec<String>) {
    let mut stored: BTreeMap<&str, usize> = BTreeMap::new();
    for message in data.messages.values() {
        *stored.entry(&message.content.body).or_default() += 1;
    }
    for (text, (keyed, acknowledged)) in &books.sent {
        let count = stored.get(text.as_str()).copied().unwrap_or(0);
        if *keyed && count > 1 {
            found.push(format!("{text} was stored {count} times under one request id"));
        }
        if *acknowledged && count == 0 {
            found.push(format!("{text} was acknowledged and is lost"));
        }
    }
}

/// Every sending has its activity and every failure its ticket, once.
fn effects(data: &Data, found: &mut Vec<String>) {
    let mut made: BTreeMap<i64, usize> = BTreeMap::new();
    let events =
        data.activities.values().map(|one| one.event).chain(data.tickets.values().map(|one| one.event));
    events.flatten().for_each(|event| *made.entry(event.0).or_default() += 1);
    for event in &data.events {
        let wanted = usize::from([kind::MESSAGE_SENT, kind::MESSAGE_FAILED].contains(&event.kind.as_str()));
        let count = made.get(&event.id.0).copied().unwrap_or(0);
        if count != wanted {
            found.push(format!("{} of {} has {count} effects instead of {wanted}", event.kind, event.target));
        }
    }
}

/// A fact has one event in a generation, and versions only grow.
fn events(data: &Data, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    let mut versions: BTreeMap<&str, i64> = BTreeMap::new();
    for event in data.events.iter().filter(|event| event.kind.starts_with("Message.")) {
        let version = versions.entry(&event.target).or_default();
        if event.version < *version {
            found.push(format!("{} of {} goes back to version {}", event.kind, event.target, event.version));
        }
        *version = event.version;
        let repeats = event.kind == kind::MESSAGE_RESCHEDULED || event.kind == kind::MESSAGE_SCHEDULED;
        let generation = event.data.generation.unwrap_or(1);
        if !repeats && !seen.insert((&event.target, &event.kind, generation)) {
            found.push(format!("{} of {} came twice in generation {generation}", event.kind, event.target));
        }
    }
}

/// One claim has one result, and one generation one acceptance.
fn attempts(data: &Data, found: &mut Vec<String>) {
    let (mut results, mut accepted) = (BTreeSet::new(), BTreeSet::new());
    for tried in data.attempts.values().filter(|tried| !tried.orphan) {
        let (id, epoch) = (tried.message, tried.attempt.epoch);
        if !results.insert((id, epoch)) {
            found.push(format!("{id} has two results of epoch {epoch}"));
        }
        if tried.attempt.outcome == "ACCEPTED" && !accepted.insert((id, tried.generation)) {
            found.push(format!("{id} was recorded as accepted twice in generation {}", tried.generation));
        }
    }
}
