//! The token that each body carries: which message it is, and when it was sent.
//!
//! `~i<10 digits>.t<16 digits>~`, the microseconds since 1970 or since the start of the measurement. Characters that no encoding
//! of a body changes, so that a vendor finds it in JSON, in a form and in a mail.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// A token with nothing in it, for whoever fills it in.
pub(super) const BLANK: &str = "~i##########.t################~";

/// What has not moved for this long does not move any more.
const STILL: Duration = Duration::from_secs(30);

/// Lots that are remembered at most: a late arrival belongs to a recent one.
const LOTS: usize = 64;

/// Numbers for messages, and what became of them.
pub(super) struct Tokens {
    base: Instant,
    next: AtomicU64,
    lots: RwLock<VecDeque<Arc<Lot>>>,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { base: Instant::now(), next: AtomicU64::new(0), lots: RwLock::default() }
    }

    /// Numbers for so many messages that belong together.
    pub(super) fn lot(&self, count: usize) -> Arc<Lot> {
        let first = self.next.fetch_add(count as u64, Ordering::Relaxed);
        let lot = Arc::new(Lot {
            first,
            count,
            state: Mutex::new(Arrivals { seen: vec![false; count], ..Arrivals::default() }),
            all: Notify::new(),
        });
        let mut lots = self.lots.write().unwrap_or_else(PoisonError::into_inner);
        if lots.len() == LOTS {
            lots.pop_back();
        }
        lots.push_front(lot.clone());
        lot
    }

    /// The token of a message that is sent now.
    pub(super) fn stamp(&self, number: u64) -> String {
        format!("~i{number:010}.t{:016}~", micros(self.base.elapsed()))
    }

    /// Something came to a vendor; counts it when it carries a token of ours.
    pub(super) fn arrived(&self, content: &[u8]) {
        let Some((number, sent)) = read(content) else { return };
        let now = micros(self.base.elapsed());
        let lots = self.lots.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lot) = lots.iter().find(|lot| lot.has(number)) {
            lot.note(number, now.saturating_sub(sent));
        }
    }
}

/// Messages that are counted together.
pub(super) struct Lot {
    first: u64,
    count: usize,
    state: Mutex<Arrivals>,
    all: Notify,
}

/// What came of a lot.
#[derive(Clone, Default)]
pub(super) struct Arrivals {
    seen: Vec<bool>,
    /// Different messages.
    pub(super) distinct: usize,
    /// Messages that had come before.
    pub(super) repeats: usize,
    /// From the call to the arrival, in microseconds, in the order of the arrivals.
    pub(super) times: Vec<u64>,
    /// When they came, in that order.
    pub(super) at: Vec<Instant>,
}

impl Lot {
    /// How many messages it is.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The number of the message at this place.
    pub(super) fn number(&self, index: usize) -> u64 {
        self.first + index as u64
    }

    /// What came so far.
    pub(super) fn arrivals(&self) -> Arrivals {
        self.state().clone()
    }

    /// How many different ones came so far.
    pub(super) fn distinct(&self) -> usize {
        self.state().distinct
    }

    /// Waits until every message came, or until nothing more comes.
    pub(super) async fn settle(&self) {
        let mut before = None;
        loop {
            let all = self.all.notified();
            let distinct = self.distinct();
            if distinct == self.count {
                return;
            }
            if tokio::time::timeout(STILL, all).await.is_err() && before.replace(distinct) == Some(distinct) {
                return;
            }
        }
    }

    fn has(&self, number: u64) -> bool {
        (self.first..self.first + self.count as u64).contains(&number)
    }

    fn note(&self, number: u64, took: u64) {
        let mut state = self.state();
        let place = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        let Some(seen) = state.seen.get_mut(place) else { return };
        if std::mem::replace(seen, true) {
            state.repeats += 1;
            return;
        }
        state.distinct += 1;
        state.times.push(took);
        state.at.push(Instant::now());
        if state.distinct == self.count {
            self.all.notify_one();
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Arrivals> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duration in whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The number and the time in the first token of a text.
fn read(content: &[u8]) -> Option<(u64, u64)> {
    let mut rest = content;
    while let Some(at) = rest.iter().position(|byte| *byte == b'~') {
        rest = &rest[at..];
        if let Some(found) = rest.get(..BLANK.len()).and_then(token) {
            return Some(found);
        }
        rest = &rest[1..];
    }
    None
}

fn token(text: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (number, time) = text.strip_prefix("~i")?.strip_suffix('~')?.split_once(".t")?;
    Some((number.parse().ok()?, time.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_wherever_it_stands() {
        let tokens = Tokens::new();
        let stamp = tokens.stamp(7);
        assert_eq!(stamp.len(), BLANK.len());
        for text in
            [stamp.clone(), format!("{{\"text\":\"~~i~{stamp}xxx\"}}"), format!("~i1.t2~\r\n{stamp}\r\n")]
        {
            assert_eq!(read(text.as_bytes()).map(|(number, _)| number), Some(7), "{text}");
        }
        for text in ["", "~", BLANK, "~i0000000007.t000000000000000", "no token"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    #[tokio::test]
    async fn lost_and_repeated_ones_are_seen() {
        let tokens = Tokens::new();
        let (before, lot) = (tokens.lot(10), tokens.lot(3));
        for index in [0, 2, 2, 1] {
            tokens.arrived(tokens.stamp(lot.number(index)).as_bytes());
        }
        tokens.arrived(tokens.stamp(999).as_bytes());
        tokens.arrived(b"a stranger");
        lot.settle().await;
        let arrivals = lot.arrivals();
        assert_eq!((arrivals.distinct, arrivals.repeats, arrivals.times.len()), (3, 1, 3));
        assert_eq!((lot.len(), before.distinct()), (3, 0));
    }
}
