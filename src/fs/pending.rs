//! `writeback`: files that are closed and that the server does not have yet, and who stores them.
//!
//! The close of such a file was answered when its bytes and the journal's note of them were on the local disk.
//! Workers store them in the order of their closes, several at a time, one upload per file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::open_file::{Handle, OpenFile};
use super::{FsError, FtpFs};
use crate::ftp::RemotePath;
use crate::writeback::FileWriter;

/// So many files wait at most: each may hold a descriptor of its staged bytes.
const MOST_FILES: usize = 500;

/// After a failure that may pass the next attempt comes after this, each further one after twice the time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long the thread that hands out the uploads sleeps at most.
const TICK: Duration = Duration::from_secs(1);

/// Failures that no program has been told of yet; the log has had them all.
const MOST_FAILURES: usize = 1000;

/// What is closed and not on the server.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Taken alone.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of each file that a close has left here, by inode.
    sizes: BTreeMap<u64, u64>,
    waiting: VecDeque<Waiting>,
    /// Inodes of those whose upload is under way.
    running: BTreeSet<u64>,
    failures: BTreeMap<RemotePath, FsError>,
    /// There may be something to hand out.
    awake: bool,
}

/// A file in the queue.
#[derive(Debug)]
struct Waiting {
    file: Arc<OpenFile>,
    /// Not before.
    due: Instant,
    failed: u32,
}

impl Pending {
    /// Counts a file of `size` bytes in; false if that would be more than `limit` bytes, or too many files.
    fn admit(&self, ino: u64, size: u64, limit: u64) -> bool {
        let mut state = self.state.lock();
        let others = state.sizes.iter().filter(|(other, _)| **other != ino);
        let (files, bytes) = others.fold((0, 0), |(files, bytes), (_, size)| {
            (files + 1, size.saturating_add(bytes))
        });
        let fits = files < MOST_FILES && size.saturating_add(bytes) <= limit;
        if fits {
            state.sizes.insert(ino, size);
        }
        fits
    }

    /// Puts a file at the end of the queue, unless it is there. One that is there may be the same file as it was
    /// opened before, with nothing left to be done.
    pub(super) fn queue(&self, file: &Arc<OpenFile>) {
        let mut state = self.state.lock();
        if !state
            .waiting
            .iter()
            .any(|other| Arc::ptr_eq(&other.file, file))
        {
            state.waiting.push_back(Waiting {
                file: Arc::clone(file),
                due: Instant::now(),
                failed: 0,
            });
        }
        self.wake(state);
    }

    /// The next one whose time has come, unless `at_once` are under way.
    fn next(&self, at_once: usize) -> Option<Waiting> {
        let mut state = self.state.lock();
        if state.running.len() >= at_once {
            return None;
        }
        let now = Instant::now();
        let ready =
            |waiting: &Waiting| waiting.due <= now && !state.running.contains(&waiting.file.ino);
        let at = state.waiting.iter().position(ready)?;
        let next = state.waiting.remove(at)?;
        state.running.insert(next.file.ino);
        Some(next)
    }

    /// The upload of a file is over, or it does not wait here after all.
    fn done(&self, ino: u64) {
        let mut state = self.state.lock();
        state.running.remove(&ino);
        if state.waiting.iter().all(|other| other.file.ino != ino) {
            state.sizes.remove(&ino);
        }
        self.wake(state);
    }

    /// Not admitted after all.
    fn withdraw(&self, ino: u64) {
        let mut state = self.state.lock();
        let is_here =
            state.running.contains(&ino) || state.waiting.iter().any(|other| other.file.ino == ino);
        if !is_here {
            state.sizes.remove(&ino);
        }
    }

    /// Once more, later. Tells when.
    fn again(&self, waiting: Waiting) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << waiting.failed.min(8));
        let pause = doubled.min(LONGEST_PAUSE);
        let mut state = self.state.lock();
        state.running.remove(&waiting.file.ino);
        state
            .waiting
            .retain(|other| !Arc::ptr_eq(&other.file, &waiting.file));
        state.waiting.push_back(Waiting {
            due: Instant::now() + pause,
            failed: waiting.failed + 1,
            ..waiting
        });
        self.wake(state);
        pause
    }

    fn failed(&self, path: RemotePath, error: FsError) {
        let mut state = self.state.lock();
        if state.failures.len() < MOST_FAILURES {
            state.failures.insert(path, error);
        }
    }

    /// The failure of an earlier upload to `path`: told once.
    fn take_failure(&self, path: &RemotePath) -> Option<FsError> {
        self.state.lock().failures.remove(path)
    }

    /// What is at or below `from` is at `to` now, and what was there is gone.
    pub(super) fn moved(&self, from: &RemotePath, to: &RemotePath) {
        let mut state = self.state.lock();
        for (path, error) in std::mem::take(&mut state.failures) {
            match path.moved(from, to) {
                Some(path) => drop(state.failures.insert(path, error)),
                None if path.starts_with(to) => {}
                None => drop(state.failures.entry(path).or_insert(error)),
            }
        }
    }

    /// Nothing is under `path` any more.
    pub(super) fn forget(&self, path: &RemotePath) {
        self.state.lock().failures.remove(path);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        state.awake = true;
        drop(state);
        self.changed.notify_one();
    }

    fn sleep(&self) {
        let mut state = self.state.lock();
        self.changed
            .wait_while_for(&mut state, |state| !state.awake, TICK);
        state.awake = false;
    }
}

/// A defect in an upload must not keep the file's later ones from beginning.
struct Running(Arc<Pending>, u64);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.done(self.1);
        }
    }
}

impl FtpFs {
    /// Whether a close may be answered before the server has the data.
    pub(super) fn writes_back(&self) -> bool {
        self.config.writeback.is_some()
    }

    /// Leaves a closed file to the workers, if that is allowed and the local disk has it. Does not wait for the
    /// network.
    pub(super) fn leaves_for_later(&self, file: &Arc<OpenFile>, writer: &FileWriter) -> bool {
        let Some(limit) = self.config.writeback else {
            return false;
        };
        if writer.is_conflicted() || !self.pending.admit(file.ino, writer.size(), limit) {
            return false;
        }
        let kept = writer.keep_until_stored();
        if kept {
            self.pending.queue(file);
        } else {
            self.pending.withdraw(file.ino);
        }
        kept
    }

    /// Mode or time of a file have changed, which may be closed and not stored.
    pub(super) fn keep_pending(&self, file: Option<&Arc<OpenFile>>) {
        if let Some(file) = file.filter(|_| self.writes_back())
            && let Some(writer) = file.writer()
        {
            writer.keep_attributes();
            if file.state.lock().is_unfinished() {
                self.pending.queue(file);
            }
        }
    }

    /// What an upload after an earlier close has failed with, told once, to who may have written it.
    ///
    /// # Errors
    /// That.
    pub(super) fn earlier_failure(&self, handle: &Handle) -> Result<(), FsError> {
        if !handle.writable || !self.writes_back() {
            return Ok(());
        }
        let path = self.path_of(handle.file.ino);
        match path.and_then(|path| self.pending.take_failure(&path)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Starts the thread that hands out the uploads; it ends with the file system.
    pub(super) fn start_writing_back(self: &Arc<Self>) {
        if !self.writes_back() {
            return;
        }
        let fs = Arc::downgrade(self);
        let handing_out = std::thread::Builder::new()
            .name("ftpfs-writeback".into())
            .spawn(move || {
                while let Some(fs) = fs.upgrade() {
                    fs.hand_out();
                    let pending = Arc::clone(&fs.pending);
                    drop(fs);
                    pending.sleep();
                }
            });
        if let Err(error) = handing_out {
            log::error!("closed files are stored only by fsync and at the end: {error}");
        }
    }

    fn hand_out(self: &Arc<Self>) {
        // One session stays for who looks around.
        let at_once = self.remote.connections().allowed.saturating_sub(1).max(1);
        while let Some(next) = self.pending.next(at_once) {
            let fs = Arc::clone(self);
            let guard = Running(Arc::clone(&self.pending), next.file.ino);
            self.workers.spawn(move || {
                let _ends_with_the_job = guard;
                fs.store(next);
            });
        }
    }

    /// A job: the upload of one closed file.
    fn store(&self, waiting: Waiting) {
        let file = Arc::clone(&waiting.file);
        let outcome = match file.writer() {
            Some(writer) => self.commit_writer_once(&file, &writer),
            None => Ok(()),
        };
        match outcome {
            Ok(()) => {
                if file.state.lock().is_unfinished() {
                    // It was changed by name while it was on its way.
                    self.pending.queue(&file);
                }
                self.pending.done(file.ino);
            }
            Err(error) if error.may_pass() => {
                let path = self.path_of(file.ino);
                let path = path.map_or_else(|| "a deleted file".into(), |path| path.to_string());
                let (first, number) = (waiting.failed == 0, waiting.failed + 1);
                let level = if first {
                    log::Level::Warn
                } else {
                    log::Level::Info
                };
                let pause = self.pending.again(waiting).as_secs();
                log::log!(
                    level,
                    "{path}: closed, and not on the server: {error}; attempt {number}, the next in {pause} s"
                );
            }
            Err(error) => {
                if let Some(path) = self.path_of(file.ino) {
                    let kept = self.writing.journal.own();
                    let kept = kept.iter().find(|kept| *kept.path() == path);
                    let copy = kept.map_or_else(
                        || "it is not kept".into(),
                        |kept| format!("it is kept in {}", kept.copy().display()),
                    );
                    log::error!("{path}: closed, and the server does not take it: {error}; {copy}");
                    self.pending.failed(path, error.clone());
                }
                self.keep_unsaved(&file, &error);
                self.pending.done(file.ino);
            }
        }
        self.retire(&file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::change::new_entry;
    use crate::ftp::listing::EntryKind;

    fn file(ino: u64) -> Arc<OpenFile> {
        OpenFile::new(ino, new_entry(b"name", EntryKind::File), None)
    }

    #[test]
    fn a_file_opened_anew_waits_beside_what_it_was() {
        let pending = Pending::default();
        let (before, now) = (file(7), file(7));
        pending.queue(&before);
        pending.queue(&before);
        pending.queue(&now);
        let first = pending.next(9).unwrap();
        assert!(Arc::ptr_eq(&first.file, &before));
        assert!(pending.next(9).is_none(), "one upload of a file at a time");
        pending.done(7);
        assert!(Arc::ptr_eq(&pending.next(9).unwrap().file, &now));
    }

    #[test]
    fn what_is_left_here_is_bounded() {
        let pending = Pending::default();
        assert!(pending.admit(1, 60, 100) && !pending.admit(2, 50, 100));
        assert!(pending.admit(1, 90, 100), "the same file, longer");
        pending.withdraw(1);
        assert!((1..=MOST_FILES as u64).all(|ino| pending.admit(ino, 0, 100)));
        assert!(!pending.admit(0, 0, 100));
    }

    #[test]
    fn what_failed_comes_again_later() {
        let pending = Pending::default();
        pending.queue(&file(1));
        let pauses = (0..6).map(|failed| {
            let waiting = Waiting {
                file: file(1),
                due: Instant::now(),
                failed,
            };
            pending.again(waiting).as_secs()
        });
        assert_eq!(pauses.collect::<Vec<_>>(), [1, 2, 4, 8, 15, 15]);
    }
}
