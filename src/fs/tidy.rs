//! What happens beside the requests: sessions given back, free space looked up, the end.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::open_file::OpenFile;
use super::unsaved::Unsaved;
use super::{DrainReport, FsError, FtpFs, Space, UNKNOWN_SPACE};
use crate::cache::FileReader;
use crate::ftp::RemotePath;
use crate::pool::Reclaim;
use crate::writeback::FileWriter;

/// How often streams are looked after.
const TICK: Duration = Duration::from_secs(5);

/// A stream that rested this long gives its session back: servers end idle transfers after 60 s and
/// more, some without a word.
const REST: Duration = Duration::from_secs(30);

/// Between the attempts of the end, with `writeback`.
const DRAIN_PAUSE: Duration = Duration::from_millis(300);

/// Free space is asked for this often.
const SPACE_AGE: Duration = Duration::from_secs(300);

impl FtpFs {
    /// Free space, from memory. Never waits.
    pub fn statfs(&self) -> Space {
        let free = self.free_space.load(Ordering::Relaxed);
        Space {
            total: free.max(UNKNOWN_SPACE),
            free,
        }
    }

    /// Forgets listings and blocks, and asks the server anew (SIGHUP).
    pub fn drop_caches(&self) {
        self.listings.clear();
        self.reading.blocks.clear();
        self.small_files.clear();
    }

    /// Commits everything that is dirty, closed or not, ending when nothing has moved for `patience`.
    /// Called once, after the kernel is gone. Waits.
    pub fn drain(self: &Arc<Self>, patience: Duration) -> DrainReport {
        let (open, unsaved) = {
            let mut files = self.files.lock();
            let open: Vec<_> = files.by_inode.values().cloned().collect();
            (open, std::mem::take(&mut files.unsaved))
        };
        let mut waiting: Vec<_> = open
            .into_iter()
            .filter_map(|file| {
                let writer = file.writer().filter(|writer| writer.is_dirty())?;
                Some((self.path_of(file.ino)?, Unstored::Open(file, writer)))
            })
            .chain(
                unsaved
                    .into_iter()
                    .map(|unsaved| (unsaved.path.clone(), Unstored::Closed(unsaved))),
            )
            .collect();
        let mut report = DrainReport::default();
        let (tell, hear) = mpsc::channel();
        waiting.sort_by(|a, b| a.0.cmp(&b.0));
        let paths: Vec<RemotePath> = waiting.iter().map(|(path, _)| path.clone()).collect();
        let writers: Vec<_> = waiting
            .iter()
            .map(|(path, unstored)| (path.clone(), unstored.writer()))
            .collect();
        let fs = Arc::clone(self);
        let storing = std::thread::Builder::new()
            .name("ftpfs-drain".into())
            .spawn(move || {
                let mut last = Instant::now();
                for (path, unstored) in waiting {
                    let outcome = loop {
                        let outcome = match &unstored {
                            Unstored::Open(file, writer) => fs.commit_writer(file, writer),
                            Unstored::Closed(unsaved) => fs.store_unsaved(unsaved),
                        };
                        let passes = outcome.as_ref().is_err_and(FsError::may_pass);
                        if !passes || !fs.writes_back() || last.elapsed() > patience {
                            break outcome;
                        }
                        // Nobody waits for the answer of a close: the server may come back.
                        std::thread::sleep(DRAIN_PAUSE);
                    };
                    if outcome.is_ok() {
                        last = Instant::now();
                    }
                    let outcome = outcome.map_err(|error| error.to_string());
                    if tell.send((path, outcome)).is_err() {
                        return;
                    }
                }
            });
        if let Err(error) = storing {
            report
                .failed
                .extend(paths.into_iter().map(|path| (path, error.to_string())));
            return report;
        }
        let mut left = paths;
        let mut moved = (self.progress(), Instant::now());
        while !left.is_empty() {
            match hear.recv_timeout(Duration::from_millis(200)) {
                Ok((path, outcome)) => {
                    left.retain(|other| *other != path);
                    match outcome {
                        Ok(()) => report.stored += 1,
                        Err(why) => report.failed.push((path, why)),
                    }
                    moved.1 = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.progress();
                    if now != moved.0 {
                        moved = (now, Instant::now());
                    } else if moved.1.elapsed() > patience {
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let late = format!("the server did not take it within {} s", patience.as_secs());
        for (path, writer) in writers {
            if left.contains(&path) {
                writer.keep_unfinished(&late);
            }
        }
        report
            .failed
            .extend(left.into_iter().map(|path| (path, late.clone())));
        report
    }

    /// There is no time to bring anything to the server any more: what is dirty is kept here. Does not
    /// wait for the network.
    pub fn keep_dirty(&self, reason: &str) {
        for file in self.open_files() {
            if let Some(writer) = file.writer() {
                writer.keep_unfinished(reason);
            }
        }
    }

    pub(super) fn start_tidying(self: &Arc<Self>) {
        let reclaimer: Weak<dyn Reclaim> = Arc::downgrade(self) as Weak<dyn Reclaim>;
        self.remote.set_reclaimer(reclaimer);
        let fs = Arc::downgrade(self);
        let tidying = std::thread::Builder::new()
            .name("ftpfs-tidy".into())
            .spawn(move || {
                let mut asked: Option<Instant> = None;
                while let Some(fs) = fs.upgrade() {
                    fs.readers().iter().for_each(|reader| {
                        reader.reclaim_if_older(REST);
                    });
                    for file in fs.open_files() {
                        file.writer().into_iter().for_each(|writer| {
                            writer.reclaim_if_older(REST);
                        });
                    }
                    if asked.is_none_or(|asked| asked.elapsed() > SPACE_AGE) {
                        asked = Some(Instant::now());
                        let asking = Arc::clone(&fs);
                        fs.workers.spawn(move || asking.look_up_space());
                    }
                    drop(fs);
                    std::thread::sleep(TICK);
                }
            });
        if let Err(error) = tidying {
            log::warn!("idle transfers will keep their sessions: {error}");
        }
    }

    fn look_up_space(&self) {
        if let Some(free) = self.remote.available_space(&self.root) {
            self.free_space.store(free, Ordering::Relaxed);
        }
    }

    /// Those of open files, and those that handles have kept of older contents.
    fn readers(&self) -> Vec<Arc<FileReader>> {
        let files = self.files.lock();
        let kept = files.handles.values().filter_map(|handle| handle.reader());
        let kept: Vec<_> = kept.collect();
        drop(files);
        let present = self
            .open_files()
            .into_iter()
            .filter_map(|file| file.reader());
        present.chain(kept).collect()
    }

    pub(super) fn open_files(&self) -> Vec<Arc<OpenFile>> {
        self.files.lock().by_inode.values().cloned().collect()
    }
}

/// Something that the server does not have when the end comes.
enum Unstored {
    /// The writer by itself: a commit that fails meanwhile takes it away from the file.
    Open(Arc<OpenFile>, Arc<FileWriter>),
    /// Its last commit failed.
    Closed(Unsaved),
}

impl Unstored {
    fn writer(&self) -> Arc<FileWriter> {
        match self {
            Self::Open(_, writer) => Arc::clone(writer),
            Self::Closed(unsaved) => Arc::clone(&unsaved.writer),
        }
    }
}

impl Reclaim for FtpFs {
    /// Downloads first: what they have fetched is cached, while an upload has to be begun anew.
    fn reclaim(&self) -> bool {
        let files = self.open_files();
        self.readers().iter().any(|reader| reader.reclaim())
            || files
                .iter()
                .any(|file| file.writer().is_some_and(|writer| writer.reclaim()))
    }
}
