//! The providers together, and who goes first.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

pub(super) use super::slot::Seat;
pub use super::{
    breaker::BreakerState,
    pace::Rate,
    slot::{Ambiguity, Condition, Slot, Terms},
};
use crate::{
    model::{Channel, Timestamp, retry::mix},
    store::Turn,
};

/// All providers, those that go first in front.
#[derive(Clone, Debug)]
pub struct Slots {
    list: Arc<[Arc<Slot>]>,
    serving: Arc<HashMap<Channel, Vec<Arc<Slot>>>>,
    freed: Arc<Notify>,
    draws: Arc<AtomicU64>,
}

impl Slots {
    /// These providers.
    pub fn new(mut list: Vec<Slot>) -> Self {
        list.sort_by_key(|slot| slot.terms.priority);
        let list: Arc<[Arc<Slot>]> = list.into_iter().map(Arc::new).collect();
        let serving =
            |channel: Channel| list.iter().filter(|slot| slot.channels.contains(&channel)).cloned().collect();
        let serving = Channel::ALL.into_iter().map(|channel| (channel, serving(channel))).collect();
        Self { list, serving: Arc::new(serving), freed: Arc::new(Notify::new()), draws: Arc::default() }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.list.iter()
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Slot>> {
        self.list.iter().find(|slot| &*slot.name == name)
    }

    /// Those that serve a channel.
    pub fn serving(&self, channel: Channel) -> &[Arc<Slot>] {
        self.serving.get(&channel).map(Vec::as_slice).unwrap_or_default()
    }

    /// Among how many nodes the rates are shared: each keeps to its part.
    pub fn share_rates(&self, nodes: u32) {
        self.iter().for_each(|slot| slot.share_rates(nodes));
    }

    pub(super) fn freed(&self) -> Arc<Notify> {
        self.freed.clone()
    }

    /// A place for one message of a channel, at a provider that is not among these names: the lowest priority that has one, and
    /// there by weight.
    pub(super) fn seat(&self, channel: Channel, not: &[&str], now: Timestamp) -> Option<Seat> {
        let mut groups = self.serving(channel).chunk_by(|a, b| a.terms.priority == b.terms.priority);
        groups.find_map(|group| match group {
            [only] => (!not.contains(&&*only.name)).then(|| only.seat(now, &self.freed)).flatten(),
            several => {
                let mut left: Vec<&Arc<Slot>> =
                    several.iter().filter(|slot| !not.contains(&&*slot.name)).collect();
                std::iter::from_fn(|| self.draw(&mut left)).find_map(|slot| slot.seat(now, &self.freed))
            }
        })
    }

    /// Takes one out, each as likely as its weight.
    fn draw<'a>(&self, left: &mut Vec<&'a Arc<Slot>>) -> Option<&'a Arc<Slot>> {
        let weight = |slot: &Arc<Slot>| u64::from(slot.terms.weight.max(1));
        let all: u64 = left.iter().map(|slot| weight(slot)).sum();
        let mut point = mix(self.draws.fetch_add(1, Ordering::Relaxed)).checked_rem(all)?;
        let index = left.iter().position(|slot| {
            let hit = point < weight(slot);
            point = point.saturating_sub(weight(slot));
            hit
        })?;
        Some(left.remove(index))
    }

    /// A place at this provider, if it is well and has one.
    pub(super) fn seat_at(&self, name: &str, now: Timestamp) -> Option<Seat> {
        self.get(name)?.seat(now, &self.freed)
    }

    /// The turn of a message of this sender, by the provider that is asked first.
    pub(super) fn book(&self, channel: Channel, sender: Option<&str>, now: Timestamp) -> Turn {
        let mut serving = self.serving(channel).iter();
        let first = serving.find(|slot| !slot.counts_senders() || slot.shut_until(now).is_none());
        first.map_or(Turn::Free, |slot| slot.book(sender, now))
    }

    /// When the first of the providers of a channel may be asked that may not be asked now.
    pub(super) fn next_free(&self, channel: Channel, now: Timestamp) -> Option<Timestamp> {
        self.serving(channel).iter().filter_map(|slot| slot.free_at(now)).min()
    }

    /// Whether a provider of the channel may be asked now that is not among these names.
    pub(super) fn another(&self, channel: Channel, not: &[&str], now: Timestamp) -> bool {
        let may = |slot: &&Arc<Slot>| !not.contains(&&*slot.name) && slot.shut_until(now).is_none();
        self.serving(channel).iter().any(|slot| may(&slot))
    }
}
