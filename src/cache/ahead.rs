//! Listing ahead of a walk: the next directories of the tree, together with the one that is asked for.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::directory::{Directory, EndLoading, Loaded};
use super::listing::ListingCache;
use super::walks::Next;
use crate::ftp::RemotePath;
use crate::ftp::listing::EntryKind;
use crate::remote::RemoteError;

/// Listings that are not believed for this long are gone before they are asked for.
const LEAST_AGE: Duration = Duration::from_secs(1);
/// Entries of one batch, by the size of the directories in the last one.
const MAX_ENTRIES: usize = 8000;
/// How long a batch may keep the one who asked for its first directory waiting, by the pace of the last.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// A batch of so few is always allowed.
const FEW: usize = 8;
/// Directories looked at in memory to find the next ones.
const MAX_LOOKS: usize = 4096;

/// Directories to be listed on a guess, and what the last ones cost.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    queue: VecDeque<RemotePath>,
    max_age: Duration,
    running: usize,
    /// Entries of a directory, and time to list one in a batch.
    entries: usize,
    pace: Duration,
}

impl ListingCache {
    /// Somebody looks at a listing that was a guess.
    pub(super) fn guessed_right(&self, dir: &RemotePath) {
        self.walks.lock().used(dir, Instant::now());
    }

    /// Where `dir` is a step of a walk, or of a way that was gone before: lists it together with the next ones.
    /// `None` if it is still unknown. Where there is no listing of many at a time, the next ones go to other sessions.
    pub(super) fn load_with_next(
        &self,
        dir: &RemotePath,
        directory: &Directory,
        toward: Option<&[u8]>,
        max_age: Duration,
    ) -> Option<Result<Loaded, RemoteError>> {
        if max_age < LEAST_AGE {
            return None;
        }
        let now = Instant::now();
        let mut next = self.walks.lock().missed(dir, now);
        next.count = next.count.min(self.affordable());
        let mut next = self.next_unlisted(dir, next, max_age);
        let walks = !next.is_empty();
        // What is about to be too old is asked for with the rest: else each name of a path would expire by itself.
        let old = if walks { max_age } else { max_age / 2 };
        if !walks && let Some(name) = toward {
            next = self.way(dir, name, old).unwrap_or_default();
        }
        if next.is_empty() && !self.is_told_at_once(dir) {
            return None;
        }
        if !self.remote.lists_many() {
            self.walks.lock().listed(dir, next.clone(), now + max_age);
            self.guess(next, old);
            return None;
        }
        let claimed: Vec<_> = next
            .into_iter()
            .filter_map(|dir| self.claim(dir, old))
            .collect();
        let guards: Vec<_> = claimed.iter().map(|(_, d)| EndLoading(d)).collect();
        let dirs: Vec<_> = std::iter::once(dir)
            .chain(claimed.iter().map(|(dir, _)| dir))
            .cloned()
            .collect();
        let listings = match self.remote.list_many(&dirs) {
            Ok(listings) => listings,
            Err(error) => return Some(Err(error)),
        };
        let homes = std::iter::once(directory).chain(claimed.iter().map(|(_, d)| &**d));
        let mut loaded: Vec<Option<Loaded>> = listings
            .into_iter()
            .zip(homes)
            .map(|(listing, home)| Some(self.remembered(home, listing?)))
            .collect();
        let mut known: Vec<_> = dirs
            .iter()
            .zip(&mut loaded)
            .filter_map(|(dir, loaded)| Some((dir, &mut loaded.as_mut()?.0)))
            .collect();
        self.make_times_exact(&mut known);
        if walks {
            self.learn_cost(&loaded, now.elapsed());
        }
        let mut loaded = loaded.into_iter();
        let first = loaded.next().flatten();
        let mut listed = Vec::with_capacity(claimed.len());
        for (((dir, home), guard), loaded) in claimed.iter().zip(guards).zip(loaded) {
            if let Some(loaded) = loaded {
                std::mem::forget(guard);
                home.arrived(Ok(loaded), now, true);
                listed.push(dir.clone());
            }
        }
        log::debug!("{dir}: {} more directories listed ahead", listed.len());
        self.walks.lock().listed(dir, listed, now + max_age);
        first.map(Ok)
    }

    fn affordable(&self) -> usize {
        let guesses = self.guesses.lock();
        let by_size = MAX_ENTRIES / guesses.entries.max(1);
        let by_time = MAX_WAIT.as_micros() / guesses.pace.as_micros().max(1);
        by_size
            .min(usize::try_from(by_time).unwrap_or(usize::MAX))
            .max(FEW)
    }

    fn learn_cost(&self, loaded: &[Option<Loaded>], took: Duration) {
        let count = loaded.len().max(1);
        let entries: usize = loaded.iter().flatten().map(|(e, _)| e.len()).sum();
        let mut guesses = self.guesses.lock();
        guesses.entries = entries.div_ceil(count);
        guesses.pace = took / u32::try_from(count).unwrap_or(u32::MAX);
    }

    /// Makes this thread the one that lists `dir`; `None` if it is known, or somebody else does.
    fn claim(&self, dir: RemotePath, max_age: Duration) -> Option<(RemotePath, Arc<Directory>)> {
        let directory = {
            let mut directories = self.directories.lock();
            Arc::clone(directories.get_or_insert(dir.clone(), Arc::default))
        };
        if !directory.claim(max_age) {
            return None;
        }
        Some((dir, directory))
    }

    /// The directories that come after `from` in the order of a walk, as far as they are in memory and
    /// their own listings are not.
    fn next_unlisted(&self, from: &RemotePath, next: Next, max_age: Duration) -> Vec<RemotePath> {
        let mut found = Vec::new();
        let mut looks = MAX_LOOKS;
        let mut here = from.clone();
        while found.len() < next.count
            && let Some(parent) = here.parent()
        {
            // The next one last.
            let Some(mut rest) = self.stack(&parent, Some(here.name()), next, looks) else {
                break;
            };
            while found.len() < next.count
                && looks > 0
                && let Some(dir) = rest.pop()
            {
                looks -= 1;
                if self.is_unlisted(&dir, max_age) {
                    found.push(dir);
                } else if let Some(mut inside) = self.stack(&dir, None, next, looks) {
                    rest.append(&mut inside);
                }
            }
            here = parent;
        }
        found
    }

    fn is_unlisted(&self, dir: &RemotePath, max_age: Duration) -> bool {
        let directory = self.directory(dir);
        directory.is_none_or(|directory| directory.is_unlisted(max_age))
    }

    /// Directories in the listing of `dir` that come after the name `after`, at most so many, the next
    /// one last.
    fn stack(
        &self,
        dir: &RemotePath,
        after: Option<&[u8]>,
        next: Next,
        most: usize,
    ) -> Option<Vec<RemotePath>> {
        let directory = self.directory(dir)?;
        let state = directory.state.lock();
        let bound = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = match next.backwards {
            false => (bound, Bound::Unbounded),
            true => (Bound::Unbounded, bound),
        };
        let names = state.known.as_ref()?.entries.range::<[u8], _>(range);
        let inside = names
            .filter(|(_, found)| found.entry.kind == EntryKind::Directory)
            .filter_map(|(name, _)| dir.join(name).ok());
        let mut inside: Vec<_> = match next.backwards {
            false => inside.take(most).collect(),
            true => inside.rev().take(most).collect(),
        };
        inside.reverse();
        Some(inside)
    }

    /// Lists these on sessions that nobody uses, one after the other, in the background.
    fn guess(&self, dirs: Vec<RemotePath>, max_age: Duration) {
        let jobs = self.remote.spare_sessions().min(dirs.len());
        let more = {
            let mut guesses = self.guesses.lock();
            guesses.queue = dirs.into();
            guesses.max_age = max_age;
            let more = jobs.saturating_sub(guesses.running);
            guesses.running += more;
            more
        };
        (0..more).for_each(|_| self.spawn_guess());
    }

    /// A job for each directory: others get their turn, and at the end of the mount none follows.
    fn spawn_guess(&self) {
        let this = Weak::clone(&self.this);
        self.workers.spawn(move || {
            let Some(this) = this.upgrade() else { return };
            let running = Running(&this);
            let next = {
                let mut guesses = this.guesses.lock();
                let max_age = guesses.max_age;
                guesses.queue.pop_front().map(|dir| (dir, max_age))
            };
            if let Some((dir, max_age)) = next.filter(|_| this.remote.spare_sessions() > 0) {
                let is_well = this.load_ahead(dir, max_age);
                if is_well && this.has_guesses() {
                    std::mem::forget(running);
                    this.spawn_guess();
                }
            }
        });
    }

    fn has_guesses(&self) -> bool {
        !self.guesses.lock().queue.is_empty()
    }

    /// Lists one directory on a guess. False if the server could not be asked.
    fn load_ahead(&self, dir: RemotePath, max_age: Duration) -> bool {
        let Some((dir, directory)) = self.claim(dir, max_age) else {
            return true;
        };
        let guard = EndLoading(&directory);
        let asked = Instant::now();
        match self.remote.list(&dir) {
            Ok(listing) => {
                let mut loaded = self.remembered(&directory, listing);
                self.make_times_exact(&mut [(&dir, &mut loaded.0)]);
                std::mem::forget(guard);
                directory.arrived(Ok(loaded), asked, true);
                self.evict(&dir);
                true
            }
            // Whoever wants to know why asks himself.
            Err(error) => {
                log::debug!("{dir}, ahead: {error}");
                !error.kind().is_transient()
            }
        }
    }
}

/// A job that lists guesses; counted until dropped.
struct Running<'a>(&'a ListingCache);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.guesses.lock().running -= 1;
    }
}
