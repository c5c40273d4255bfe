//! What the vendors saw: every acceptance, with the message it carried, in memory and in a file.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use headlessly_communication::model::ids::MessageId;

use crate::{problem::Run, time};

/// What became of the vendor's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It was given: who asked knows, if he still lives.
    Given,
    /// It was lost on purpose: nobody can know.
    Lost,
}

/// An acceptance of a vendor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    /// The number in the message's id.
    pub(crate) id: i64,
    /// When, in microseconds since 1970.
    pub(crate) at: i64,
    /// The life of the service in which it happened: one more for each kill.
    pub(crate) life: u32,
    /// What became of the answer.
    pub(crate) reply: Reply,
}

struct Pages {
    handed: Vec<Handed>,
    file: BufWriter<File>,
    strange: u64,
}

/// The book that all vendors of a run share.
pub(crate) struct Book {
    pages: Mutex<Pages>,
    life: AtomicU32,
}

impl Book {
    /// An empty book that is written to this file too.
    pub(crate) fn new(file: &Path) -> Run<Arc<Self>> {
        let file = BufWriter::new(File::create(file)?);
        let pages = Mutex::new(Pages { handed: Vec::new(), file, strange: 0 });
        Ok(Arc::new(Self { pages, life: AtomicU32::new(0) }))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an acceptance, before it is answered. A request that tells no life is of the present one.
    pub(crate) fn accept(&self, id: &str, vendor: &str, life: Option<u32>, reply: Reply) {
        let life = life.unwrap_or_else(|| self.life.load(Ordering::SeqCst));
        let mut pages = self.pages();
        let at = time::now();
        writeln!(pages.file, "{at} {life} {vendor} {id} {reply:?}").ok();
        match id.parse::<MessageId>() {
            Ok(id) => pages.handed.push(Handed { id: id.0, at, life, reply }),
            Err(_) => pages.strange += 1,
        }
    }

    /// The service was killed: what comes from now on comes from another life. What a dead process left in a socket is still its own,
    /// which is why requests tell theirs where they can.
    pub(crate) fn next_life(&self) -> u32 {
        self.life.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Everything so far, in order, and how many carried no id of ours.
    pub(crate) fn read(&self) -> (Vec<Handed>, u64) {
        let mut pages = self.pages();
        pages.file.flush().ok();
        (pages.handed.clone(), pages.strange)
    }
}
