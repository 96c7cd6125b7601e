//! `ListingCache`: what the directories of the server hold, each asked for once until it expires.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;
use parking_lot::Mutex;

use super::ahead::Guesses;
use super::directory::{Change, Directory, Edit, EndLoading, Loaded};
use super::own_time::{OwnTime, keep_known_times, missing_times};
use super::walks::Walks;
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, Modified, Precision};
use crate::remote::{EXACT_TIMES, ErrorKind, Listing, Remote, RemoteError, TemporaryNames};
use crate::workers::Workers;

/// Entries of all listings together. About 30 MB; the directory used last is kept whatever its size.
const MAX_ENTRIES: usize = 200_000;

/// An entry as it is remembered.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// As the server listed it, or as our own change made it.
    pub entry: Entry,
    /// The time of our own write, shown as long as the server's listing does not contradict it.
    pub own: Option<OwnTime>,
}

/// The entries of a directory by name.
pub type Entries = BTreeMap<Vec<u8>, Remembered>;

/// Listings of directories, with expiry. Threads that want the same one at the same time share
/// one request; our own changes are edits, also of a listing that is on its way.
#[derive(Debug)]
pub struct ListingCache {
    pub(super) remote: Arc<Remote>,
    pub(super) workers: Arc<Workers>,
    /// For jobs of the workers.
    pub(super) this: Weak<Self>,
    temporary: Arc<TemporaryNames>,
    /// Guards the map of directories; held for a look-up only, never with a directory's own lock
    /// wanted inside, nor over the network.
    pub(super) directories: Mutex<LruCache<RemotePath, Arc<Directory>>>,
    /// Guards what is known of programs that walk; taken alone.
    pub(super) walks: Mutex<Walks>,
    /// Guards what is to be listed on a guess; taken alone.
    pub(super) guesses: Mutex<Guesses>,
}

/// See [`ListingCache::hold`].
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "it is there to be counted")] Arc<Directory>);

impl ListingCache {
    /// Asks `remote`; hides the names that `temporary` made. Guesses are listed on `workers`.
    pub fn new(
        remote: Arc<Remote>,
        temporary: Arc<TemporaryNames>,
        workers: Arc<Workers>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            remote,
            workers,
            this: Weak::clone(this),
            temporary,
            directories: Mutex::new(LruCache::unbounded()),
            walks: Mutex::default(),
            guesses: Mutex::default(),
        })
    }

    /// Looks at a listing that is at most `max_age` old, if there is one in memory. `look` is also
    /// told how old it is.
    pub fn peek<R>(
        &self,
        dir: &RemotePath,
        max_age: Duration,
        look: impl FnOnce(&Entries, Duration) -> R,
    ) -> Option<R> {
        let directory = Arc::clone(self.directories.lock().get(dir)?);
        let mut state = directory.state.lock();
        let known = state.known.as_mut().filter(|known| !known.expired)?;
        let age = known.asked.elapsed();
        if age > max_age {
            return None;
        }
        let first = std::mem::take(&mut known.ahead);
        let seen = look(&known.entries, age);
        drop(state);
        self.remote.board().listing_hits.one();
        if first {
            self.guessed_right(dir);
        }
        Some(seen)
    }

    /// Looks at a listing that is at most `max_age` old, asking the server if need be.
    ///
    /// # Errors
    /// What the server or the way to it said.
    pub fn get<R>(
        &self,
        dir: &RemotePath,
        max_age: Duration,
        look: impl FnOnce(&Entries, Duration) -> R,
    ) -> Result<R, Arc<RemoteError>> {
        self.get_toward(dir, None, max_age, look)
    }

    /// The same for one who goes on to the directory of this name, if there is a name: if that is to be listed again, it
    /// is asked for together with `dir`.
    ///
    /// # Errors
    /// As there.
    pub fn get_toward<R>(
        &self,
        dir: &RemotePath,
        toward: Option<&[u8]>,
        max_age: Duration,
        look: impl FnOnce(&Entries, Duration) -> R,
    ) -> Result<R, Arc<RemoteError>> {
        let oldest = Instant::now().checked_sub(max_age);
        let directory = Arc::clone(
            self.directories
                .lock()
                .get_or_insert(dir.clone(), Arc::default),
        );
        let mut state = directory.state.lock();
        let mut asked = false;
        loop {
            if let Some(known) = &mut state.known
                && !known.expired
                && oldest.is_none_or(|oldest| known.asked >= oldest)
            {
                let first = std::mem::take(&mut known.ahead);
                let seen = look(&known.entries, known.asked.elapsed());
                drop(state);
                if !asked {
                    self.remote.board().listing_hits.one();
                }
                if first {
                    self.guessed_right(dir);
                }
                return Ok(seen);
            }
            if state.loading.is_none() {
                state.loading = Some(Vec::new());
                drop(state);
                asked = true;
                self.remote.board().listing_misses.one();
                self.load(dir, &directory, toward, max_age);
                state = directory.state.lock();
            } else {
                let seen = state.requests;
                while state.requests == seen && state.loading.is_some() {
                    directory.loaded.wait(&mut state);
                }
            }
            if let Some(failure) = &state.failure {
                return Err(Arc::clone(failure));
            }
        }
    }

    /// What is known of a directory stays in memory as long as this lives, unless it is forgotten on purpose.
    pub fn hold(&self, dir: &RemotePath) -> Option<Held> {
        self.directory(dir).map(Held)
    }

    /// Looks at the last listing, however old. `look` is told how old it is: older than everything if the server has
    /// contradicted it since. Our own changes are in it.
    pub fn peek_last<R>(
        &self,
        dir: &RemotePath,
        look: impl FnOnce(&Entries, Duration) -> R,
    ) -> Option<R> {
        let directory = Arc::clone(self.directories.lock().get(dir)?);
        let state = directory.state.lock();
        let known = state.known.as_ref()?;
        let age = known.asked.elapsed();
        let age = if known.expired { Duration::MAX } else { age };
        Some(look(&known.entries, age))
    }

    /// Our own change: `entry` is there now, new or other than before. With `own`, its time is the
    /// one that was shown while it was written.
    pub fn put(&self, dir: &RemotePath, entry: Entry, own: Option<OwnTime>) {
        self.change(dir, Change::Put(Box::new(Remembered { entry, own })));
    }

    /// Our own change of an entry that is known: `edit` makes it what it is now, also in a listing that is on its way.
    pub fn edit(
        &self,
        dir: &RemotePath,
        name: &[u8],
        edit: impl Fn(&mut Remembered) + Send + Sync + 'static,
    ) {
        self.change(dir, Change::Edit(name.to_vec(), Edit(Arc::new(edit))));
    }

    /// Our own change: `name` is gone.
    pub fn remove(&self, dir: &RemotePath, name: &[u8]) {
        self.change(dir, Change::Remove(name.to_vec()));
    }

    /// Our own change: `dir` was just made, so it is empty.
    pub fn put_empty(&self, dir: &RemotePath) {
        let directory = Directory::empty();
        self.directories
            .lock()
            .put(dir.clone(), Arc::new(directory));
    }

    /// What is remembered of `dir`. In a function of its own, so that the map is free again when the directory's own lock
    /// is taken.
    pub(super) fn directory(&self, dir: &RemotePath) -> Option<Arc<Directory>> {
        self.directories.lock().peek(dir).cloned()
    }

    /// The server contradicted what we know of `dir`: ask it at the next look.
    pub fn expire(&self, dir: &RemotePath) {
        if let Some(directory) = self.directory(dir)
            && let Some(known) = &mut directory.state.lock().known
        {
            known.expired = true;
        }
    }

    /// Forgets a directory and everything below it.
    pub fn forget_tree(&self, path: &RemotePath) {
        let mut directories = self.directories.lock();
        let below: Vec<_> = directories
            .iter()
            .map(|(k, _)| k)
            .filter(|k| k.starts_with(path))
            .cloned()
            .collect();
        for key in below {
            directories.pop(&key);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.directories.lock().clear();
    }

    fn change(&self, dir: &RemotePath, change: Change) {
        let Some(directory) = self.directory(dir) else {
            return;
        };
        if directory.change(change) {
            self.changed_inside(dir);
        }
    }

    /// A name came or went: the directory itself has changed just now, as programs that set its time
    /// before they fill it have to see (rsync, tar).
    fn changed_inside(&self, dir: &RemotePath) {
        let Some(parent) = dir.parent() else { return };
        let Some(directory) = self.directory(&parent) else {
            return;
        };
        if let Some(known) = &mut directory.state.lock().known
            && let Some(found) = known.entries.get_mut(dir.name())
        {
            found.entry.modified = Some(Modified {
                time: SystemTime::now(),
                precision: Precision::Subsecond,
            });
            found.own = None;
        }
    }

    /// Asks the server, without any lock, and lets everybody know.
    fn load(
        &self,
        dir: &RemotePath,
        directory: &Directory,
        toward: Option<&[u8]>,
        max_age: Duration,
    ) {
        let guard = EndLoading(directory);
        let asked = Instant::now();
        let together = self.load_with_next(dir, directory, toward, max_age);
        let outcome = together.unwrap_or_else(|| {
            let listing = self.remote.list(dir)?;
            let mut loaded = self.remembered(directory, listing);
            self.make_times_exact(&mut [(dir, &mut loaded.0)]);
            Ok(loaded)
        });
        std::mem::forget(guard);
        directory.arrived(outcome, asked, false);
        self.evict(dir);
    }

    /// What is remembered of a listing, with what is known better from the last one.
    pub(super) fn remembered(&self, directory: &Directory, listing: Listing) -> Loaded {
        let mut entries: Entries = listing
            .entries
            .into_iter()
            .filter(|entry| !self.temporary.is_ours(&entry.name))
            .map(|entry| (entry.name.clone(), Remembered { entry, own: None }))
            .collect();
        if let Some(old) = &directory.state.lock().known {
            keep_known_times(&mut entries, &old.entries, old.fetched);
        }
        (entries, listing.fetched)
    }

    /// LIST tells minutes or days; where one batch can tell the seconds of all files, it is sent.
    pub(super) fn make_times_exact(&self, loaded: &mut [(&RemotePath, &mut Entries)]) {
        let mut paths = Vec::new();
        for (dir, entries) in loaded.iter() {
            let coarse = missing_times(entries);
            if coarse.len() <= EXACT_TIMES {
                paths.extend(coarse.iter().filter_map(|name| dir.join(name).ok()));
            }
        }
        if paths.is_empty() {
            return;
        }
        let times = match self.remote.modified_times(&paths) {
            Ok(times) => times,
            Err(error) if error.kind() == ErrorKind::Unsupported => return,
            Err(error) => {
                log::debug!("{}: exact times stay unknown: {error}", loaded[0].0);
                return;
            }
        };
        let mut told = paths.iter().zip(times).peekable();
        for (dir, entries) in loaded {
            while let Some((path, time)) = told.next_if(|(p, _)| p.parent().as_ref() == Some(*dir))
            {
                if let (Some(found), Some(time)) = (entries.get_mut(path.name()), time) {
                    found.entry.modified = Some(Modified {
                        time,
                        precision: Precision::Second,
                    });
                }
            }
        }
    }

    pub(super) fn evict(&self, keep: &RemotePath) {
        let mut directories = self.directories.lock();
        let size = |d: &Arc<Directory>| {
            d.state
                .lock()
                .known
                .as_ref()
                .map_or(1, |k| k.entries.len() + 1)
        };
        let mut total: usize = directories.iter().map(|(_, d)| size(d)).sum();
        while total > MAX_ENTRIES {
            let free = |(path, d): &(&RemotePath, &Arc<Directory>)| {
                *path != keep && Arc::strong_count(d) == 1
            };
            let oldest = directories.iter().rev().find(free);
            let Some(oldest) = oldest.map(|(path, _)| path.clone()) else {
                break;
            };
            total -= directories.pop(&oldest).map_or(0, |d| size(&d));
        }
    }
}
