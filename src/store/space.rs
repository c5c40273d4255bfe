//! How much room the disk of the store has. Below a watermark new work is refused, so that what was accepted can still be finished: its
//! results and receipts are written from the reserve.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

/// How often the disk is asked at most, in milliseconds.
const EVERY: u64 = 1_000;
/// What a trial writes: more than a page, less than anybody misses.
const TRIAL: usize = 64 * 1024;

/// What stays free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// So many bytes.
    pub bytes: u64,
    /// So much of the disk; the larger of the two counts.
    pub percent: u64,
}

/// The disk under a file.
#[derive(Debug)]
pub struct Space {
    file: PathBuf,
    folder: PathBuf,
    reserve: Reserve,
    began: Instant,
    /// When it was asked last, in milliseconds since `began`.
    asked: AtomicU64,
    low: AtomicBool,
}

impl Space {
    /// The disk on which this file lies.
    pub fn of(file: &Path, reserve: Reserve) -> Self {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let space = Self {
            file: file.to_owned(),
            folder: folder.to_owned(),
            reserve,
            began: Instant::now(),
            asked: AtomicU64::new(0),
            low: AtomicBool::new(false),
        };
        space.look();
        space
    }

    /// Whether less is free than is to stay free. Asks the disk once a second at most.
    pub fn is_low(&self) -> bool {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let asked = self.asked.load(Ordering::Relaxed);
        let due = now.saturating_sub(asked) >= EVERY;
        // Of several that find it due one asks; the others take what it found last time.
        if due && self.asked.compare_exchange(asked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.look();
        }
        self.low.load(Ordering::Relaxed)
    }

    fn look(&self) {
        let low = match rustix::fs::statvfs(&self.folder) {
            Ok(disk) => {
                let share = disk.f_blocks.saturating_mul(disk.f_frsize) / 100;
                let keep = self.reserve.bytes.max(share.saturating_mul(self.reserve.percent));
                disk.f_bavail.saturating_mul(disk.f_frsize) < keep
            }
            Err(error) => {
                tracing::warn!(%error, "the room on the store's disk is not known");
                false
            }
        };
        if self.low.swap(low, Ordering::Relaxed) != low {
            if low {
                tracing::error!("the store's disk is nearly full: new messages are refused");
            } else {
                tracing::info!("the store's disk has room again");
            }
        }
    }

    /// Whether a write fails because there is no room: the disk is full, a quota is used up, or a file may not grow. SQLite tells a
    /// full disk from a broken one only for the first of the three.
    pub fn is_out(&self) -> bool {
        let mut log = self.file.clone().into_os_string();
        log.push("-wal");
        let files = [self.file.clone(), PathBuf::from(log)];
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        let near = |file: &PathBuf, limit: u64| {
            std::fs::metadata(file).is_ok_and(|meta| meta.len().saturating_add(TRIAL as u64) >= limit)
        };
        if limit.is_some_and(|limit| files.iter().any(|file| near(file, limit))) {
            return true;
        }
        let path = self.folder.join(format!(".hly-room-{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&[0; TRIAL]));
        // Left behind it is an empty name; the next trial takes it.
        std::fs::remove_file(&path).ok();
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
        written.is_err_and(|error| full.contains(&error.kind()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_that_no_disk_has_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hly.db");
        assert!(!Space::of(&file, Reserve::default()).is_low());
        assert!(Space::of(&file, Reserve { bytes: u64::MAX, percent: 0 }).is_low());
        assert!(Space::of(&file, Reserve { bytes: 0, percent: 101 }).is_low());
        assert!(!Space::of(&file, Reserve::default()).is_out());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the trial leaves nothing");
    }
}
