//! What clients asked for and what they were answered: kept in memory, and in a file that is synced.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use headlessly_communication::model::Channel;

use crate::{problem::Run, time};

/// A message that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Its channel.
    pub(crate) channel: Channel,
    /// Not to be handed off before; microseconds since 1970, 0 for at once.
    pub(crate) due: i64,
    /// When the acknowledgement came.
    pub(crate) at: i64,
    /// When the promise came that no provider saw it and none will.
    pub(crate) withdrawn_at: Option<i64>,
}

/// How a call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Done, and durable.
    Ok,
    /// Not done.
    Refused,
    /// Done or not: the answer did not come.
    Unknown,
}

#[derive(Default)]
struct Entries {
    asked: HashMap<i64, Asked>,
    replay_mismatches: u64,
    refused: u64,
    unknown: u64,
}

/// The clients' memory.
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
    file: Mutex<BufWriter<File>>,
}

/// What the ledger says in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Every acknowledged message.
    pub(crate) asked: HashMap<i64, Asked>,
    /// Repeated calls that were answered otherwise than the first time.
    pub(crate) replay_mismatches: u64,
    /// Messages that were refused.
    pub(crate) refused: u64,
    /// Calls whose answer did not come, and that were repeated.
    pub(crate) unknown: u64,
}

impl Ledger {
    /// An empty one that is written to this file too.
    pub(crate) fn new(file: &Path) -> Run<Self> {
        let file = Mutex::new(BufWriter::new(File::create(file)?));
        Ok(Self { entries: Mutex::default(), file })
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a call goes out.
    pub(crate) fn call(&self, request: &str) {
        self.line(&format!("{} call {request}", time::now()));
    }

    /// Notes how it was answered.
    pub(crate) fn answer(&self, request: &str, class: Class, detail: &str) {
        match class {
            Class::Ok => {}
            Class::Refused => self.entries().refused += 1,
            Class::Unknown => self.entries().unknown += 1,
        }
        self.line(&format!("{} {class:?} {request} {detail}", time::now()));
    }

    fn line(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").ok();
    }

    /// Notes a message that was acknowledged. Its withdrawal is noted apart.
    pub(crate) fn acknowledge(&self, id: i64, channel: Channel, due: i64) {
        let new = Asked { channel, due, at: time::now(), withdrawn_at: None };
        self.entries().asked.entry(id).or_insert(new);
    }

    /// Notes the promise that a message will not be seen by any provider.
    pub(crate) fn withdraw(&self, id: i64) {
        if let Some(asked) = self.entries().asked.get_mut(&id) {
            asked.withdrawn_at = Some(time::now());
        }
    }

    /// Notes that a repeated call was answered otherwise.
    pub(crate) fn replay_mismatch(&self, request: &str) {
        self.entries().replay_mismatches += 1;
        self.line(&format!("{} MISMATCH {request}", time::now()));
    }

    /// Brings everything to the disk.
    pub(crate) fn sync(&self) -> Run<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush()?;
        Ok(file.get_ref().sync_data()?)
    }

    /// What it says.
    pub(crate) fn account(&self) -> Account {
        let entries = self.entries();
        Account {
            asked: entries.asked.clone(),
            replay_mismatches: entries.replay_mismatches,
            refused: entries.refused,
            unknown: entries.unknown,
        }
    }
}
