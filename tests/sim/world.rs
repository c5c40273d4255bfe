//! What outlives every node: the store, the vendors' books, the clock, chance, and the notes that are taken of a run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use headlessly_communication::model::{Timestamp, ids::MessageId};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{chance::Chance, gate::Gate, node::Node, store::Shared};

/// When every run begins.
const BEGIN: Timestamp = Timestamp(1_800_000_000_000_000);

/// A message that a vendor took over.
#[derive(Clone, Debug)]
pub(crate) struct Take {
    pub(crate) provider: &'static str,
    pub(crate) vendor_id: String,
}

/// A word of a vendor on a message that it took over.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) word: &'static str,
    pub(crate) vendor_id: String,
    pub(crate) generation: i32,
    /// Our id came with it.
    pub(crate) ours: bool,
}

/// What the vendors know, and what callers were told. The truth, against which the store is held in the end.
#[derive(Default)]
pub(crate) struct Books {
    /// Who claimed: by message and epoch, the life of a node.
    pub(crate) claimed: HashMap<(MessageId, i64), u64>,
    /// Hand-offs that were begun, by message and epoch.
    pub(crate) begun: BTreeSet<(MessageId, i64)>,
    /// Hand-offs under way, by message and generation, with the life of their node.
    pub(crate) under_way: Vec<(MessageId, i32, Arc<Gate>)>,
    /// By message and generation.
    pub(crate) takes: BTreeMap<(MessageId, i32), Vec<Take>>,
    /// What the vendors told of a message and were heard.
    pub(crate) told: BTreeMap<MessageId, Vec<Told>>,
    /// Messages on which callers reported.
    pub(crate) reported: BTreeSet<MessageId>,
    pub(crate) cancelled: BTreeSet<MessageId>,
    pub(crate) acknowledged: BTreeSet<MessageId>,
    /// By the text of a message: under a request id, and acknowledged.
    pub(crate) sent: BTreeMap<String, (bool, bool)>,
    pub(crate) violations: Vec<String>,
}

/// A hash over all notes, and how many there are of each kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notes {
    hash: u64,
    pub(crate) kinds: BTreeMap<&'static str, u64>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    chance: Mutex<Chance>,
    books: Mutex<Books>,
    nodes: Mutex<Vec<Arc<Node>>>,
    /// Whether things go wrong.
    pub(crate) trouble: AtomicBool,
    start: Instant,
    notes: Mutex<Notes>,
    tell: bool,
    /// Vendors of SMS can be asked what they know.
    pub(crate) asks: bool,
    /// Callers and vendors: what is not part of a node.
    pub(crate) tasks: TaskTracker,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, on the paused clock.
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep_until(Instant::now() + duration).await;
}

impl World {
    pub(crate) fn new(seed: u64, tell: bool) -> Arc<Self> {
        let mut chance = Chance::of(seed);
        let asks = chance.per_mille(500);
        Arc::new(Self {
            shared: Shared::new(),
            asks,
            chance: Mutex::new(chance),
            books: Mutex::default(),
            nodes: Mutex::default(),
            trouble: AtomicBool::new(true),
            start: Instant::now(),
            notes: Mutex::new(Notes { hash: 0xcbf2_9ce4_8422_2325, kinds: BTreeMap::new() }),
            tell,
            tasks: TaskTracker::new(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        BEGIN.plus(self.start.elapsed())
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    pub(crate) fn number(&self, range: Range<u64>) -> u64 {
        lock(&self.chance).number(range)
    }

    pub(crate) fn per_mille(&self, share: u64) -> bool {
        lock(&self.chance).per_mille(share)
    }

    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        lock(&self.chance).millis(range)
    }

    /// Something goes wrong, this many times in a thousand while there is trouble at all.
    pub(crate) fn wrong(&self, share: u64) -> bool {
        self.trouble.load(Ordering::Relaxed) && self.per_mille(share)
    }

    /// Takes a note: what a run is, is the list of its notes.
    pub(crate) fn note(&self, what: &'static str, number: i64, detail: i64) {
        let now = self.now();
        if self.tell {
            eprintln!("{:>12.6} {what} {number} {detail}", now.since(BEGIN).as_secs_f64());
        }
        let mut notes = lock(&self.notes);
        let numbers = [now.0, number, detail].into_iter().flat_map(i64::to_le_bytes);
        for byte in what.bytes().chain(numbers) {
            notes.hash = (notes.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        *notes.kinds.entry(what).or_default() += 1;
    }

    pub(crate) fn notes(&self) -> Notes {
        lock(&self.notes).clone()
    }

    /// Something that must never be.
    pub(crate) fn violated(&self, what: String) {
        self.note("violation", 0, 0);
        self.books().violations.push(format!("at {}: {what}", self.now()));
    }

    /// A node begins a life: the earlier one of its number is forgotten.
    pub(crate) fn join(&self, node: Arc<Node>) {
        let mut nodes = lock(&self.nodes);
        nodes.retain(|one| !one.gate.is_dead());
        nodes.push(node);
    }

    /// A node that lives, if there is one.
    pub(crate) fn some_node(&self) -> Option<Arc<Node>> {
        let nodes: Vec<Arc<Node>> =
            lock(&self.nodes).iter().filter(|node| !node.gate.is_dead()).cloned().collect();
        if nodes.is_empty() {
            return None;
        }
        let index = self.number(0..nodes.len() as u64) as usize;
        nodes.get(index).cloned()
    }
}
