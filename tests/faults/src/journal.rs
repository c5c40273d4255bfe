//! The journal of what a process did to the files of its store, and the files as a power cut would leave them.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use fastrand::Rng;

use crate::problem::{Run, problem};

/// What a disk knows of a sector.
const SECTOR: usize = 512;
const HEADER: usize = 48;
/// Changes that a disk which lies about syncs still has in its memory.
const LIE: usize = 300;

/// Whether the disk keeps what it says it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// What was synced is there.
    Honest,
    /// Syncs mean nothing: for a run that must show loss.
    Lying,
}

#[derive(Clone, Debug)]
enum Act {
    Write(usize, Vec<u8>),
    Truncate(usize),
    Remove,
    /// Everything of the file that was journaled before this place is on the disk.
    Sync(usize),
    Open(String),
}

/// One record.
#[derive(Clone, Debug)]
struct Entry {
    place: usize,
    file: i64,
    act: Act,
    /// When, in microseconds since 1970.
    at: i64,
}

/// A journal.
pub(crate) struct Journal {
    entries: Vec<Entry>,
}

impl Journal {
    /// Reads what the shim wrote. What follows the last whole record is left out.
    pub(crate) fn read(path: &Path) -> Run<Self> {
        let bytes = std::fs::read(path)?;
        let (mut entries, mut place) = (Vec::new(), 0);
        while let Some(header) = bytes.get(place..place + HEADER) {
            let number = |index: usize| {
                let mut eight = [0; 8];
                eight.copy_from_slice(&header[index * 8..index * 8 + 8]);
                i64::from_le_bytes(eight)
            };
            let size = |index: usize| usize::try_from(number(index)).unwrap_or(0);
            let Some(data) = bytes.get(place + HEADER..place + HEADER + size(3)) else { break };
            let act = match number(0) {
                1 => Act::Write(size(2), data.to_vec()),
                2 => Act::Truncate(size(2)),
                3 => Act::Sync(size(2)),
                4 => Act::Remove,
                6 => Act::Open(String::from_utf8_lossy(data).into_owned()),
                other => return problem(format!("the journal has a record of kind {other}")),
            };
            entries.push(Entry { place, file: number(1), act, at: number(4) });
            place += HEADER + data.len();
        }
        Ok(Self { entries })
    }

    /// How many records it has.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the record at this place was made: a cut before it is a cut at this time.
    pub(crate) fn time(&self, place: usize) -> i64 {
        self.entries.get(place).map_or(i64::MAX, |entry| entry.at)
    }

    /// Places for so many cuts, in order: half at random, half right before or right after a sync.
    pub(crate) fn cuts(&self, rng: &mut Rng, count: usize, from: usize) -> Vec<usize> {
        let syncs: Vec<usize> =
            (from..self.len()).filter(|place| matches!(self.entries[*place].act, Act::Sync(_))).collect();
        let mut cuts: Vec<usize> = (0..count)
            .map(|number| match rng.choice(&syncs) {
                Some(sync) if number % 2 == 0 => sync + rng.usize(0..2),
                _ => rng.usize(from..=self.len()),
            })
            .collect();
        cuts.sort_unstable();
        cuts
    }
}

/// The files as they are on the way through a journal.
pub(crate) struct Replay<'a> {
    journal: &'a Journal,
    disk: Disk,
    next: usize,
    names: BTreeMap<i64, String>,
    /// What is on the disk for good; absent when the file is not.
    durable: HashMap<i64, Vec<u8>>,
    /// What is not, in order.
    pending: Vec<Entry>,
}

impl<'a> Replay<'a> {
    /// At the beginning, with no files.
    pub(crate) fn new(journal: &'a Journal, disk: Disk) -> Self {
        Self { journal, disk, next: 0, names: BTreeMap::new(), durable: HashMap::new(), pending: Vec::new() }
    }

    /// Goes on until right before this place.
    pub(crate) fn advance(&mut self, place: usize) {
        while self.next < place.min(self.journal.len()) {
            let entry = self.journal.entries[self.next].clone();
            self.next += 1;
            match (&entry.act, self.disk) {
                (Act::Open(path), _) => {
                    self.names.insert(entry.file, path.clone());
                    self.durable.entry(entry.file).or_default();
                }
                (Act::Sync(begun), Disk::Honest) => {
                    let (file, begun) = (entry.file, *begun);
                    let (synced, pending) = std::mem::take(&mut self.pending)
                        .into_iter()
                        .partition(|one| one.file == file && one.place < begun);
                    self.pending = pending;
                    self.keep(synced);
                }
                (Act::Sync(_), Disk::Lying) => {}
                // SQLite syncs the folder right after it: nobody is answered in between.
                (Act::Remove, _) => {
                    self.pending.retain(|one| one.file != entry.file);
                    self.durable.remove(&entry.file);
                }
                _ => self.pending.push(entry),
            }
            if self.disk == Disk::Lying && self.pending.len() > 2 * LIE {
                let old = self.pending.drain(..LIE).collect();
                self.keep(old);
            }
        }
    }

    fn keep(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            apply(&mut self.durable, &entry, |_| true);
        }
    }

    /// The files when the power is cut here, by name: what is synced is there, the rest is kept, dropped or torn by chance.
    pub(crate) fn cut(&self, rng: &mut Rng) -> HashMap<&str, Vec<u8>> {
        let mut files = self.durable.clone();
        for entry in &self.pending {
            match rng.u32(0..4) {
                0 => {}
                1 => apply(&mut files, entry, |_| rng.bool()),
                _ => apply(&mut files, entry, |_| true),
            }
        }
        let named = |(file, content)| Some((self.names.get(&file)?.as_str(), content));
        files.into_iter().filter_map(named).collect()
    }
}

/// Applies a change, or those of its sectors that are kept.
fn apply(files: &mut HashMap<i64, Vec<u8>>, entry: &Entry, mut kept: impl FnMut(usize) -> bool) {
    match &entry.act {
        Act::Write(offset, bytes) => {
            let content = files.entry(entry.file).or_default();
            let mut done = 0;
            while done < bytes.len() {
                let at = offset + done;
                let end = bytes.len().min(done + SECTOR - at % SECTOR);
                if kept(at) {
                    if content.len() < offset + end {
                        content.resize(offset + end, 0);
                    }
                    content[at..offset + end].copy_from_slice(&bytes[done..end]);
                }
                done = end;
            }
        }
        Act::Truncate(size) => files.entry(entry.file).or_default().resize(*size, 0),
        Act::Remove | Act::Sync(_) | Act::Open(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn journal(acts: Vec<Act>) -> Journal {
        let entry = |(place, act)| Entry { place, file: 0, act, at: 0 };
        Journal { entries: acts.into_iter().enumerate().map(entry).collect() }
    }

    #[test]
    fn what_is_synced_is_there_and_the_rest_is_left_to_chance() {
        let two = |byte| Act::Write(0, vec![byte; 2 * SECTOR]);
        let journal = journal(vec![Act::Open("db".to_owned()), two(1), Act::Sync(2), two(2)]);
        let outcomes = |disk, place| {
            let mut replay = Replay::new(&journal, disk);
            replay.advance(place);
            let mut seen: Vec<Vec<u8>> = (0..200)
                .map(|seed| {
                    let content = replay.cut(&mut Rng::with_seed(seed)).remove("db").unwrap();
                    content.iter().step_by(SECTOR).copied().collect()
                })
                .collect();
            seen.sort();
            seen.dedup();
            seen
        };
        assert_eq!(outcomes(Disk::Honest, 3), [[1, 1]], "synced");
        assert_eq!(outcomes(Disk::Honest, 4), [[1, 1], [1, 2], [2, 1], [2, 2]], "kept, dropped, torn");
        assert!(outcomes(Disk::Lying, 3).contains(&Vec::new()), "nothing is sure");
        assert!(outcomes(Disk::Honest, 2).contains(&Vec::new()), "written, but not synced");
    }

    #[test]
    fn a_write_during_a_sync_is_not_synced() {
        let one = |byte| Act::Write(0, vec![byte; SECTOR]);
        let journal = journal(vec![Act::Open("db".to_owned()), one(1), one(2), Act::Sync(2)]);
        let mut replay = Replay::new(&journal, Disk::Honest);
        replay.advance(4);
        let first: Vec<u8> =
            (0..50).map(|seed| replay.cut(&mut Rng::with_seed(seed)).remove("db").unwrap()[0]).collect();
        assert!(first.contains(&1) && first.contains(&2) && !first.contains(&0));
    }
}
