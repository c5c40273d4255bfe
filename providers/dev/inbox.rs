//! What the simulator remembers, all of it bounded.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
};

use crate::contract::{Captured, Dispatch};

/// Most bytes of bodies and attachments that are kept.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Idempotency keys that are remembered.
const MAX_KEYS: usize = 100_000;
/// Messages whose tries are counted.
const MAX_COUNTED: usize = 10_000;

/// The first 16 bytes of the digest of an idempotency key.
pub(super) type Key = [u8; 16];

/// Messages, keys and counters.
#[derive(Default)]
pub(super) struct Inbox {
    keep: usize,
    messages: VecDeque<Captured>,
    bytes: usize,
    taken: HashSet<Key>,
    taken_order: VecDeque<Key>,
    tries: HashMap<String, u32>,
    tries_order: VecDeque<String>,
}

impl Inbox {
    pub(super) fn new(keep: usize) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Remembers the key; false when it was known.
    pub(super) fn take(&mut self, key: Key) -> bool {
        if !self.taken.insert(key) {
            return false;
        }
        self.taken_order.push_back(key);
        if let Some(oldest) = pop_beyond(&mut self.taken_order, MAX_KEYS) {
            self.taken.remove(&oldest);
        }
        true
    }

    /// Whether the key was taken.
    pub(super) fn has_taken(&self, key: &Key) -> bool {
        self.taken.contains(key)
    }

    /// Keeps a message, and drops the oldest beyond the limits.
    pub(super) fn keep(&mut self, captured: Captured) {
        self.bytes += weight(&captured.dispatch);
        self.messages.push_back(captured);
        while self.messages.len() > self.keep || self.bytes > MAX_BYTES {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= weight(&oldest.dispatch);
        }
    }

    /// Counts a try of this message, from 1.
    pub(super) fn count_try(&mut self, message_id: &str) -> u32 {
        if let Some(tries) = self.tries.get_mut(message_id) {
            *tries = tries.saturating_add(1);
            return *tries;
        }
        self.tries.insert(message_id.to_owned(), 1);
        self.tries_order.push_back(message_id.to_owned());
        if let Some(oldest) = pop_beyond(&mut self.tries_order, MAX_COUNTED) {
            self.tries.remove(&oldest);
        }
        1
    }

    /// The latest, newest first.
    pub(super) fn latest(&self, limit: usize) -> Vec<Captured> {
        self.messages.iter().rev().take(limit).cloned().collect()
    }
}

fn pop_beyond<T: Eq + Hash>(order: &mut VecDeque<T>, limit: usize) -> Option<T> {
    (order.len() > limit).then(|| order.pop_front()).flatten()
}

fn weight(dispatch: &Dispatch) -> usize {
    let files: usize = dispatch.attachments.iter().map(|file| file.content.len()).sum();
    dispatch.body.len() + dispatch.html_body.as_ref().map_or(0, String::len) + files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contract::{Attachment, Channel},
        dev::testing::dispatch,
    };

    fn captured(id: usize, bytes: usize) -> Captured {
        let mut dispatch = dispatch(Channel::Email, "ann@example.test");
        let content = vec![0; bytes].into();
        let (name, content_type) = ("a.bin".to_owned(), "application/octet-stream".to_owned());
        dispatch.attachments = vec![Attachment { name, content_type, content, content_id: None }];
        Captured { dispatch, provider_message_id: id.to_string() }
    }

    #[test]
    fn the_oldest_go_first() {
        let mut inbox = Inbox::new(3);
        for id in 0..5 {
            inbox.keep(captured(id, 1));
        }
        let ids: Vec<String> = inbox.latest(10).into_iter().map(|one| one.provider_message_id).collect();
        assert_eq!(ids, ["4", "3", "2"]);
        assert_eq!(inbox.latest(1).len(), 1);
    }

    #[test]
    fn large_messages_leave_fewer() {
        let mut inbox = Inbox::new(1000);
        for id in 0..10 {
            inbox.keep(captured(id, MAX_BYTES / 3));
        }
        assert_eq!(inbox.latest(10).len(), 2);
        assert!(inbox.bytes <= MAX_BYTES);
        inbox.keep(captured(11, MAX_BYTES + 1));
        assert_eq!((inbox.latest(10).len(), inbox.bytes), (0, 0));
    }

    #[test]
    fn keys_and_counters_are_bounded() {
        let mut inbox = Inbox::new(0);
        let key = |number: usize| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&number.to_le_bytes());
            key
        };
        for number in 0..=MAX_KEYS {
            assert!(inbox.take(key(number)));
        }
        assert!(!inbox.has_taken(&key(0)) && !inbox.take(key(1)));
        assert_eq!((inbox.taken.len(), inbox.taken_order.len()), (MAX_KEYS, MAX_KEYS));
        for number in 0..=MAX_COUNTED {
            assert_eq!(inbox.count_try(&number.to_string()), 1);
        }
        assert_eq!(inbox.count_try("1"), 2);
        assert_eq!((inbox.tries.len(), inbox.tries_order.len()), (MAX_COUNTED, MAX_COUNTED));
    }
}
